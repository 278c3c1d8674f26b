//! Writes a file of `NAME=value` lines: GitLab's dotenv report, or properties for Jenkins.

use std::io;
use std::path::Path;

use super::result::{CacheResult, KeyMatch, cache_identifier, overall_match};
use crate::output_file;

/// Writes the results to the file. Keeps the lines of other commands, except those with the same
/// names: GitLab rejects duplicate names.
pub(super) fn update_dotenv(path: &Path, results: &[&CacheResult]) -> io::Result<()> {
    let old = output_file::read_text(path)?;
    output_file::replace_text(path, &merge_lines(&old, results))
}

fn merge_lines(old: &str, results: &[&CacheResult]) -> String {
    let new = dotenv_variables(results);
    let is_replaced = |line: &&str| {
        let name = line.split('=').next().unwrap_or("").trim();
        new.iter().any(|(given, _)| given == name)
    };
    let mut text = String::new();
    for line in old.lines().filter(|line| !is_replaced(line)) {
        text.push_str(line);
        text.push('\n');
    }
    for (name, value) in &new {
        // The format cannot represent newlines.
        let value: String = value.chars().filter(|c| !c.is_control()).collect();
        text.push_str(&format!("{name}={value}\n"));
    }
    text
}

/// The names and values for this file and for Azure Pipelines.
fn dotenv_variables(results: &[&CacheResult]) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    let mut put = |suffix: &str, hit, key: &str, matched: Option<&str>| {
        variables.push((format!("CACHE_HIT{suffix}"), dotenv_word(hit).to_owned()));
        variables.push((format!("CACHE_PRIMARY_KEY{suffix}"), key.to_owned()));
        variables.push((
            format!("CACHE_MATCHED_KEY{suffix}"),
            matched.unwrap_or("").to_owned(),
        ));
    };
    let first = |part: fn(&CacheResult) -> Option<&str>| results.iter().find_map(|it| part(it));
    let key = first(|result| Some(&result.key)).unwrap_or("");
    let matched = first(|result| result.matched_key.as_deref());
    put("", overall_match(results), key, matched);
    for result in results {
        if let Some(name) = &result.name {
            let suffix = format!("_{}", cache_identifier(name, '_').to_uppercase());
            let hit = result.hit.unwrap_or(KeyMatch::Miss);
            put(&suffix, hit, &result.key, result.matched_key.as_deref());
        }
    }
    variables
}

fn dotenv_word(hit: KeyMatch) -> &'static str {
    match hit {
        KeyMatch::Exact => "true",
        KeyMatch::Partial => "partial",
        KeyMatch::Miss => "false",
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::restored_result;
    use super::*;

    #[test]
    fn own_lines_are_replaced_and_others_stay() {
        let old = "VERSION=1.2\nCACHE_HIT=false\nCACHE_HITS=7\n";
        let text = merge_lines(old, &[&restored_result("m2-1", KeyMatch::Exact)]);
        assert_eq!(
            text,
            "VERSION=1.2\nCACHE_HITS=7\nCACHE_HIT=true\nCACHE_PRIMARY_KEY=m2-1\n\
             CACHE_MATCHED_KEY=m2-1\n"
        );
        let again = merge_lines(&text, &[&restored_result("m2-2", KeyMatch::Miss)]);
        assert!(again.contains("CACHE_HIT=false\n") && again.contains("CACHE_MATCHED_KEY=\n"));
        assert_eq!(again.lines().count(), text.lines().count());
    }

    #[test]
    fn a_name_makes_a_suffix_and_no_value_a_line() {
        let mut result = restored_result("a\nPATH=/tmp", KeyMatch::Partial);
        result.name = Some("my cache".to_owned());
        let text = merge_lines("", &[&result]);
        assert!(text.contains("CACHE_HIT_MY_CACHE=partial\n"), "{text}");
        assert!(text.contains("CACHE_PRIMARY_KEY=aPATH=/tmp\n"), "{text}");
        assert!(!text.lines().any(|line| line.starts_with("PATH=")));
    }
}
