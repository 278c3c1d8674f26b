//! Outputs of a GitHub step, with the names of `actions/cache`.

use std::io::{self, Read as _};

use super::result::{CacheResult, KeyMatch, cache_identifier, overall_match};

/// The lines for `$GITHUB_OUTPUT`.
///
/// # Errors
/// If the machine has no random numbers: with a predictable delimiter, a key could define outputs.
pub(super) fn github_outputs(results: &[&CacheResult]) -> io::Result<String> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let random: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(with_delimiter(results, &format!("cachefs_{random}")))
}

fn with_delimiter(results: &[&CacheResult], delimiter: &str) -> String {
    let mut text = String::new();
    let mut put = |name: &str, value: &str| {
        text.push_str(&format!("{name}<<{delimiter}\n{value}\n{delimiter}\n"));
    };
    let joined = |part: fn(&CacheResult) -> Option<&str>| {
        let parts: Vec<_> = results.iter().filter_map(|result| part(result)).collect();
        parts.join("\n")
    };
    put("cache-hit", github_word(overall_match(results)));
    put("cache-primary-key", &joined(|result| Some(&result.key)));
    put(
        "cache-matched-key",
        &joined(|result| result.matched_key.as_deref()),
    );
    for result in results {
        let Some(name) = &result.name else { continue };
        let name = cache_identifier(name, '-');
        put(
            &format!("{name}-cache-hit"),
            result.hit.map_or("", github_word),
        );
        put(&format!("{name}-cache-primary-key"), &result.key);
        let matched = result.matched_key.as_deref().unwrap_or("");
        put(&format!("{name}-cache-matched-key"), matched);
    }
    text
}

/// `actions/cache` sets an empty output on a miss, and pipelines test for that.
fn github_word(hit: KeyMatch) -> &'static str {
    match hit {
        KeyMatch::Exact => "true",
        KeyMatch::Partial => "false",
        KeyMatch::Miss => "",
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::restored_result;
    use super::*;

    /// Parses outputs like the runner: `name<<D`, lines, `D`.
    fn read(text: &str) -> Vec<(String, String)> {
        let mut lines = text.lines();
        let mut read = Vec::new();
        while let Some(line) = lines.next() {
            let (name, delimiter) = line.split_once("<<").unwrap();
            let value: Vec<_> = lines
                .by_ref()
                .take_while(|line| *line != delimiter)
                .collect();
            read.push((name.to_owned(), value.join("\n")));
        }
        read
    }

    fn value(text: &str, name: &str) -> String {
        let found = read(text).into_iter().find(|(given, _)| given == name);
        found.unwrap_or_else(|| panic!("no {name} in {text}")).1
    }

    #[test]
    fn hits_as_actions_cache_has_them() {
        for (hit, word) in [
            (KeyMatch::Exact, "true"),
            (KeyMatch::Partial, "false"),
            (KeyMatch::Miss, ""),
        ] {
            let text = github_outputs(&[&restored_result("m2-1", hit)]).unwrap();
            assert_eq!(value(&text, "cache-hit"), word);
            assert_eq!(value(&text, "cache-primary-key"), "m2-1");
            let matched = if hit == KeyMatch::Miss { "" } else { "m2-1" };
            assert_eq!(value(&text, "cache-matched-key"), matched);
        }
    }

    #[test]
    fn no_value_can_define_another_output() {
        let mut result = restored_result("a", KeyMatch::Exact);
        result.key = "x\ncachefs_0\ncache-hit<<D\nfalse\nD".to_owned();
        let text = github_outputs(&[&result]).unwrap();
        assert_eq!(read(&text).len(), 3, "{text}");
        assert_eq!(value(&text, "cache-primary-key"), result.key);
        let other = github_outputs(&[&result]).unwrap();
        assert_ne!(text, other, "the delimiter is not random");
    }

    #[test]
    fn several_caches_have_outputs_of_their_own() {
        let mut maven = restored_result("m2-1", KeyMatch::Exact);
        maven.name = Some("maven repo".to_owned());
        let mut npm = restored_result("npm-1", KeyMatch::Miss);
        npm.name = Some("npm".to_owned());
        let text = github_outputs(&[&maven, &npm]).unwrap();
        assert_eq!(value(&text, "cache-hit"), "false");
        assert_eq!(value(&text, "cache-primary-key"), "m2-1\nnpm-1");
        assert_eq!(value(&text, "cache-matched-key"), "m2-1");
        assert_eq!(value(&text, "maven-repo-cache-hit"), "true");
        assert_eq!(value(&text, "npm-cache-hit"), "");
    }
}
