//! Variables of an Azure Pipelines job.

use super::result::{CacheResult, KeyMatch, cache_identifier, overall_match};

/// The logging commands that set the variables. Each is set twice: for later steps of the job, and
/// as an output of the step for other jobs.
pub(super) fn azure_variables(results: &[&CacheResult]) -> Vec<String> {
    let mut commands = Vec::new();
    let mut put = |name: &str, value: &str| {
        let value = escape_command(value);
        commands.push(format!("##vso[task.setvariable variable={name}]{value}"));
        commands.push(format!(
            "##vso[task.setvariable variable={name};isOutput=true]{value}"
        ));
    };
    put("CACHE_HIT", azure_word(overall_match(results)));
    if let [result] = results {
        put("CACHE_PRIMARY_KEY", &result.key);
        put(
            "CACHE_MATCHED_KEY",
            result.matched_key.as_deref().unwrap_or(""),
        );
    }
    for result in results {
        let Some(name) = &result.name else { continue };
        let name = cache_identifier(name, '_').to_uppercase();
        let hit = result.hit.unwrap_or(KeyMatch::Miss);
        put(&format!("CACHE_HIT_{name}"), azure_word(hit));
        put(&format!("CACHE_PRIMARY_KEY_{name}"), &result.key);
        let matched = result.matched_key.as_deref().unwrap_or("");
        put(&format!("CACHE_MATCHED_KEY_{name}"), matched);
    }
    commands
}

/// The value in the terms of the `Cache@2` task.
fn azure_word(hit: KeyMatch) -> &'static str {
    match hit {
        KeyMatch::Exact => "true",
        KeyMatch::Partial => "inexact",
        KeyMatch::Miss => "false",
    }
}

/// Escapes the text after the bracket of a logging command.
pub(super) fn escape_command(text: &str) -> String {
    text.replace('%', "%AZP25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::super::testing::restored_result;
    use super::*;

    #[test]
    fn variables_for_the_job_and_for_others() {
        let commands = azure_variables(&[&restored_result("m2\n##vso[x]100%", KeyMatch::Partial)]);
        assert_eq!(
            commands[0],
            "##vso[task.setvariable variable=CACHE_HIT]inexact"
        );
        assert_eq!(
            commands[1],
            "##vso[task.setvariable variable=CACHE_HIT;isOutput=true]inexact"
        );
        assert_eq!(
            commands[2],
            "##vso[task.setvariable variable=CACHE_PRIMARY_KEY]m2%0A##vso[x]100%AZP25"
        );
        assert!(commands.iter().all(|command| !command.contains('\n')));
    }
}
