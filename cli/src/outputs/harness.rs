//! Outputs of a Harness or Drone step.

use serde::Serialize;

use super::result::{CacheAction, CacheResult, KeyMatch, cache_identifier, overall_match};

/// The lines for `$DRONE_OUTPUT`: names and values in the format of an environment file.
pub(super) fn harness_outputs(results: &[&CacheResult]) -> String {
    let mut text = String::new();
    let mut put = |name: &str, value: &str| {
        text.push_str(&format!("{name}={}\n", quote_value(value)));
    };
    let hit = overall_match(results);
    put("cache_hit", found_word(hit));
    put("cacheHit", found_word(hit));
    put("cache_state", state_word(hit));
    for result in results {
        let Some(name) = &result.name else { continue };
        let name = cache_identifier(name, '_');
        let hit = result.hit.unwrap_or(KeyMatch::Miss);
        put(&format!("{name}_cache_hit"), found_word(hit));
        put(&format!("{name}_cache_state"), state_word(hit));
        put(&format!("{name}_cache_key"), &result.key);
        let matched = result.matched_key.as_deref().unwrap_or("");
        put(&format!("{name}_cache_matched_key"), matched);
    }
    if let [result] = results {
        put("cache_key", &result.key);
        let matched = result.matched_key.as_deref().unwrap_or("");
        put("cache_matched_key", matched);
    }
    text
}

fn found_word(hit: KeyMatch) -> &'static str {
    match hit {
        KeyMatch::Exact | KeyMatch::Partial => "true",
        KeyMatch::Miss => "false",
    }
}

fn state_word(hit: KeyMatch) -> &'static str {
    match hit {
        KeyMatch::Exact => "complete",
        KeyMatch::Partial => "partial",
        KeyMatch::Miss => "",
    }
}

/// Quotes characters that are syntax in an environment file.
fn quote_value(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._/@:+,-".contains(c);
    if value.chars().all(is_plain) {
        return value.to_owned();
    }
    let mut text = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' | '$' | '`' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[derive(Serialize)]
struct Cached<'a> {
    cache_size_bytes: u64,
    dst_path: &'a str,
}

/// The file from which Harness' Cache Intelligence reads sizes.
pub(super) fn cache_intelligence(results: &[CacheResult]) -> String {
    let cached: Vec<_> = results
        .iter()
        .filter(|result| result.is_found() || result.action == CacheAction::Save)
        .filter_map(|result| {
            Some(Cached {
                cache_size_bytes: result.tree?.bytes,
                dst_path: &result.path,
            })
        })
        .collect();
    super::metrics::json_line(&cached)
}

#[cfg(test)]
mod tests {
    use super::super::testing::restored_result;
    use super::*;

    #[test]
    fn hits_and_states() {
        let text = harness_outputs(&[&restored_result("m2-1", KeyMatch::Exact)]);
        assert_eq!(
            text,
            "cache_hit=true\ncacheHit=true\ncache_state=complete\ncache_key=m2-1\n\
             cache_matched_key=m2-1\n"
        );
        let text = harness_outputs(&[&restored_result("m2-1", KeyMatch::Partial)]);
        assert!(text.starts_with("cache_hit=true\ncacheHit=true\ncache_state=partial\n"));
        let text = harness_outputs(&[&restored_result("m2-1", KeyMatch::Miss)]);
        assert!(text.starts_with("cache_hit=false\ncacheHit=false\ncache_state=\n"));
        let both = [
            &restored_result("a", KeyMatch::Exact),
            &restored_result("b", KeyMatch::Miss),
        ];
        assert!(harness_outputs(&both).contains("cache_state=partial\n"));
    }

    #[test]
    fn values_are_no_syntax() {
        let text = harness_outputs(&[&restored_result(
            "a\ncache_hit=x $HOME \"q\" #",
            KeyMatch::Miss,
        )]);
        let line = "cache_key=\"a\\ncache_hit=x \\$HOME \\\"q\\\" #\"";
        assert!(text.lines().any(|given| given == line), "{text}");
    }

    #[test]
    fn sizes_for_cache_intelligence() {
        let results = [
            restored_result("a", KeyMatch::Exact),
            restored_result("b", KeyMatch::Miss),
        ];
        assert_eq!(
            cache_intelligence(&results).trim(),
            r#"[{"cache_size_bytes":1000,"dst_path":"/builds/a"}]"#
        );
    }
}
