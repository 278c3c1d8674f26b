//! Configures the search for secrets from the options.

use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

use cachefs_store::secrets::{Scanner, SetupError, Variable};

use super::options::SaveHow;

/// A scanner configured from the options, with notes about it.
pub(super) struct Search {
    pub(super) scanner: Arc<Scanner>,
    /// Variables of `--secret-env` that are not set, so there is no value to search for.
    pub(super) unset: Vec<String>,
}

/// Creates a scanner from the options.
///
/// # Errors
///
/// A usage error for a value that is too short, and for an invalid pattern.
pub(super) fn prepare_search(how: &SaveHow) -> Result<Search, cachefs::Error> {
    let mut variables = Vec::new();
    let mut unset = Vec::new();
    for name in &how.secret_env {
        match std::env::var_os(name).filter(|value| !value.is_empty()) {
            Some(value) => variables.push(Variable {
                name: name.clone(),
                value: value.into_vec(),
            }),
            None => unset.push(name.clone()),
        }
    }
    let scanner = Scanner::new(how.secrets.into(), variables, &how.secrets_allow);
    Ok(Search {
        scanner: Arc::new(scanner.map_err(usage_error)?),
        unset,
    })
}

fn usage_error(error: SetupError) -> cachefs::Error {
    let hint = match &error {
        SetupError::Short { name } => format!("remove {name} from --secret-env"),
        SetupError::TooMuch => "pass fewer variables with --secret-env".to_owned(),
        SetupError::Pattern { .. } => {
            "--secrets-allow takes a path with `*`, `**` and `?`, such as 'test/keys/*.pem'"
                .to_owned()
        }
    };
    cachefs::Error::usage(error.to_string(), hint)
}
