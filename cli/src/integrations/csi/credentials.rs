//! Credentials for the restore and save of a volume.
//!
//! A pod that names its own remote, or that has secrets, gets none of the node's credentials: no
//! variables, no files, and no access to the machine's metadata service. Secrets become environment
//! variables of the one process that restores or saves; otherwise they stay in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use cachefs_store::remote::NO_MACHINE_IDENTITY;
use tonic::Status;

use super::spec::Spec;

/// The allowed names of secrets: credentials, and variables that belong to them. None names a file
/// or a program, because that would be one of the node's.
const SECRETS: [&str; 15] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_OAUTH_ACCESS_TOKEN",
    "AZURE_STORAGE_ACCOUNT",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
];
/// Secrets that identify an account. The others only add to an identity.
const DECISIVE: [&str; 8] = [
    "AWS_SECRET_ACCESS_KEY",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_OAUTH_ACCESS_TOKEN",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_CLIENT_SECRET",
];
/// Prefixes of the node's own variables for remotes.
const OF_THE_NODE: [&str; 9] = [
    "AWS_",
    "AZURE_",
    "CLOUDSDK_",
    "GOOGLE_",
    "HOME",
    "IDENTITY_",
    "GCE_METADATA_HOST",
    "STORAGE_EMULATOR_HOST",
    "SSL_CERT_",
];
/// Settings of the node that apply only to its own credentials.
const HOW_THE_NODE_SIGNS_IN: [&str; 4] = [
    "CACHEFS_ANONYMOUS",
    "CACHEFS_EXTERNAL_ID",
    "CACHEFS_ROLE_ARN",
    "CACHEFS_ROLE_SESSION_NAME",
];
/// Variables that every run of this program needs.
const GENERAL: [&str; 8] = [
    "PATH",
    "TZ",
    "NO_COLOR",
    "CACHEFS_LOG",
    "RUST_BACKTRACE",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
];
/// Minimum length of values to mask: shorter ones would match unrelated text.
const MASKED: usize = 8;

/// The secrets of one pod. `Debug` shows only their names.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Secrets(BTreeMap<String, String>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Secrets {
    /// Validates the secrets of a request.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for unknown names, and if no secret identifies an account.
    pub(super) fn read(secrets: BTreeMap<String, String>) -> Result<Self, Status> {
        if let Some(unknown) = secrets
            .keys()
            .find(|name| !SECRETS.contains(&name.as_str()))
        {
            return Err(Status::invalid_argument(format!(
                "unknown secret `{unknown}`; there are: {}",
                SECRETS.join(", ")
            )));
        }
        let is_decisive = |name: &String| DECISIVE.contains(&name.as_str());
        if !secrets.is_empty() && !secrets.keys().any(is_decisive) {
            return Err(Status::invalid_argument(format!(
                "the secret has no credentials in it; it needs one of: {}",
                DECISIVE.join(", ")
            )));
        }
        Ok(Self(secrets))
    }

    /// Whether the pod has no secrets.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Replaces all secret values in a text.
    pub(super) fn mask(&self, text: &str) -> String {
        let values = self.0.values().filter(|value| value.len() >= MASKED);
        values.fold(text.to_owned(), |text, value| text.replace(value, "***"))
    }
}

/// The environment for a run of this program for a volume. `node` has the node's settings of its
/// remote; `nowhere` is an empty directory.
pub(super) fn run_environment(
    spec: &Spec,
    secrets: &Secrets,
    node: &[(&'static str, String)],
    nowhere: &Path,
) -> Vec<(String, String)> {
    let is_own = |name: &str| OF_THE_NODE.iter().any(|start| name.starts_with(start));
    let from_node = !spec.names_remote() && secrets.is_empty();
    let mut variables: Vec<_> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| GENERAL.contains(&name.as_str()) || from_node && is_own(name))
        .collect();
    let mut set = |name: &str, value: &str| variables.push((name.to_owned(), value.to_owned()));
    if !spec.names_remote() {
        for (name, value) in node {
            if from_node || !HOW_THE_NODE_SIGNS_IN.contains(name) {
                set(name, value);
            }
        }
    } else if secrets.is_empty() {
        set("CACHEFS_ANONYMOUS", "true");
    }
    if !from_node {
        set("HOME", &nowhere.to_string_lossy());
        set("AWS_EC2_METADATA_DISABLED", "true");
        set(NO_MACHINE_IDENTITY, "true");
    }
    for (name, value) in &secrets.0 {
        set(name, value);
    }
    if let Some(pod) = &spec.pod {
        set("CACHEFS_JOB", pod);
    }
    variables
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Cli;
    use crate::integrations::csi::spec::Rules;

    fn spec(more: &[(&str, &str)]) -> Spec {
        let mut context = BTreeMap::from([
            ("csi.storage.k8s.io/ephemeral".to_owned(), "true".to_owned()),
            ("key".to_owned(), "k".to_owned()),
        ]);
        context.extend(more.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())));
        let rules = Rules {
            scope: "default".to_owned(),
            namespaced: false,
            parser: Cli::command(),
        };
        Spec::read(&context, false, &rules).unwrap()
    }

    fn secrets(pairs: &[(&str, &str)]) -> Result<Secrets, Status> {
        let pairs = pairs
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
        Secrets::read(pairs.collect())
    }

    fn value(variables: &[(String, String)], name: &str) -> Option<String> {
        let found = variables.iter().rfind(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    }

    #[test]
    fn a_pod_with_a_remote_of_its_own_gets_nothing_of_the_nodes() {
        let node = [
            ("CACHEFS_REMOTE", "s3://node".to_owned()),
            ("CACHEFS_SSE", "AES256".to_owned()),
        ];
        let nowhere = Path::new("/nowhere");
        let none = Secrets::default();
        let own = run_environment(&spec(&[]), &none, &node, nowhere);
        assert_eq!(value(&own, "CACHEFS_REMOTE").unwrap(), "s3://node");
        assert_eq!(value(&own, "HOME"), std::env::var("HOME").ok());
        let theirs = run_environment(&spec(&[("remote", "s3://pod")]), &none, &node, nowhere);
        assert_eq!(value(&theirs, "CACHEFS_REMOTE"), None);
        assert_eq!(value(&theirs, "CACHEFS_SSE"), None);
        assert_eq!(value(&theirs, "HOME").unwrap(), "/nowhere");
        assert_eq!(value(&theirs, "CACHEFS_ANONYMOUS").unwrap(), "true");
        // Even if the secrets do not fit the remote, the machine's identity must not be used.
        let incomplete = secrets(&[("AZURE_CLIENT_SECRET", "x")]).unwrap();
        for spec in [spec(&[]), spec(&[("remote", "gs://pod")])] {
            let variables = run_environment(&spec, &incomplete, &node, nowhere);
            assert_eq!(value(&variables, NO_MACHINE_IDENTITY).unwrap(), "true");
        }
        assert_eq!(value(&own, NO_MACHINE_IDENTITY), None);
    }

    #[test]
    fn secrets_take_the_place_of_the_nodes_credentials() {
        let node = [
            ("CACHEFS_REMOTE", "s3://node".to_owned()),
            ("CACHEFS_ROLE_ARN", "arn".to_owned()),
        ];
        let secrets = secrets(&[
            ("AWS_ACCESS_KEY_ID", "a"),
            ("AWS_SECRET_ACCESS_KEY", "hunter22"),
        ]);
        let secrets = secrets.unwrap();
        let variables = run_environment(&spec(&[]), &secrets, &node, Path::new("/nowhere"));
        assert_eq!(value(&variables, "CACHEFS_REMOTE").unwrap(), "s3://node");
        assert_eq!(
            value(&variables, "AWS_SECRET_ACCESS_KEY").unwrap(),
            "hunter22"
        );
        assert_eq!(value(&variables, "CACHEFS_ROLE_ARN"), None);
        assert_eq!(value(&variables, "HOME").unwrap(), "/nowhere");
        assert_eq!(secrets.mask("key hunter22 is bad"), "key *** is bad");
        assert!(!format!("{secrets:?}").contains("hunter22"));
    }

    #[test]
    fn a_secret_names_no_files_and_has_credentials() {
        let refused = secrets(&[("AWS_CONFIG_FILE", "/etc/x")]).unwrap_err();
        assert!(
            refused
                .message()
                .starts_with("unknown secret `AWS_CONFIG_FILE`")
        );
        let refused = secrets(&[("AWS_REGION", "eu-central-1")]).unwrap_err();
        assert!(refused.message().contains("no credentials"), "{refused}");
        assert!(secrets(&[]).unwrap().is_empty());
    }
}
