//! Outputs of a Harness or drone step.

use serde::Serialize;

use super::result::{Action, CacheResult, Hit, identifier, overall};

/// The lines for `$DRONE_OUTPUT`: names and values as in an environment file.
pub(super) fn outputs(results: &[&CacheResult]) -> String {
    let mut text = String::new();
    let mut put = |name: &str, value: &str| {
        text.push_str(&format!("{name}={}\n", quoted(value)));
    };
    let hit = overall(results);
    put("cache_hit", found(hit));
    put("cacheHit", found(hit));
    put("cache_state", state(hit));
    for result in results {
        let Some(name) = &result.name else { continue };
        let name = identifier(name, '_');
        let hit = result.hit.unwrap_or(Hit::Miss);
        put(&format!("{name}_cache_hit"), found(hit));
        put(&format!("{name}_cache_state"), state(hit));
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

fn found(hit: Hit) -> &'static str {
    match hit {
        Hit::Exact | Hit::Partial => "true",
        Hit::Miss => "false",
    }
}

fn state(hit: Hit) -> &'static str {
    match hit {
        Hit::Exact => "complete",
        Hit::Partial => "partial",
        Hit::Miss => "",
    }
}

/// Quotes what an environment file would take for syntax.
fn quoted(value: &str) -> String {
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

/// The file that Harness' Cache Intelligence reads sizes from.
pub(super) fn cache_intelligence(results: &[CacheResult]) -> String {
    let cached: Vec<_> = results
        .iter()
        .filter(|result| result.is_found() || result.action == Action::Save)
        .filter_map(|result| {
            Some(Cached {
                cache_size_bytes: result.tree?.bytes,
                dst_path: &result.path,
            })
        })
        .collect();
    super::metrics::encode(&cached)
}

#[cfg(test)]
mod tests {
    use super::super::testing::restored;
    use super::*;

    #[test]
    fn hits_and_states() {
        let text = outputs(&[&restored("m2-1", Hit::Exact)]);
        assert_eq!(
            text,
            "cache_hit=true\ncacheHit=true\ncache_state=complete\ncache_key=m2-1\n\
             cache_matched_key=m2-1\n"
        );
        let text = outputs(&[&restored("m2-1", Hit::Partial)]);
        assert!(text.starts_with("cache_hit=true\ncacheHit=true\ncache_state=partial\n"));
        let text = outputs(&[&restored("m2-1", Hit::Miss)]);
        assert!(text.starts_with("cache_hit=false\ncacheHit=false\ncache_state=\n"));
        let both = [&restored("a", Hit::Exact), &restored("b", Hit::Miss)];
        assert!(outputs(&both).contains("cache_state=partial\n"));
    }

    #[test]
    fn values_are_no_syntax() {
        let text = outputs(&[&restored("a\ncache_hit=x $HOME \"q\" #", Hit::Miss)]);
        let line = "cache_key=\"a\\ncache_hit=x \\$HOME \\\"q\\\" #\"";
        assert!(text.lines().any(|given| given == line), "{text}");
    }

    #[test]
    fn sizes_for_cache_intelligence() {
        let results = [restored("a", Hit::Exact), restored("b", Hit::Miss)];
        assert_eq!(
            cache_intelligence(&results).trim(),
            r#"[{"cache_size_bytes":1000,"dst_path":"/builds/a"}]"#
        );
    }
}
