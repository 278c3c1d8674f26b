//! The options for the location of the remote and its credentials.

use cachefs_store::remote::{Environment, RemoteSpec};
use clap::builder::BoolishValueParser;
use clap::{Args, Command};

/// The heading of the remote's options. Short help has only the first of them.
pub(crate) const REMOTE_HEADING: &str =
    "Remote (options of S3, Google Cloud Storage and Azure: `cachefs help remote`)";

/// Where caches are kept.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = REMOTE_HEADING)]
pub(crate) struct RemoteArgs {
    /// Remote URL: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or file:///DIR
    /// [default: a directory in the store]
    #[arg(long, global = true, value_name = "URL", env = "CACHEFS_REMOTE")]
    pub(crate) remote: Option<String>,
    /// URL of a server that is compatible with S3, Google Cloud Storage or Azure
    #[arg(long, global = true, value_name = "URL", env = "CACHEFS_ENDPOINT")]
    pub(crate) endpoint: Option<String>,
    /// S3: region of the bucket
    #[arg(long, global = true, value_name = "NAME", env = "CACHEFS_REGION")]
    pub(crate) region: Option<String>,
    /// S3: use path-style requests [default: true with --endpoint]
    #[arg(long, global = true, env = "CACHEFS_PATH_STYLE", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) path_style: Option<bool>,
    /// Send unsigned requests
    #[arg(long, global = true, env = "CACHEFS_ANONYMOUS", value_parser = BoolishValueParser::new())]
    pub(crate) anonymous: bool,
    /// S3: ARN of the role to assume, with the credentials or a web identity token
    #[arg(long, global = true, value_name = "ARN", env = "CACHEFS_ROLE_ARN")]
    pub(crate) role_arn: Option<String>,
    /// S3: external ID for the assumed role
    #[arg(long, global = true, value_name = "ID", env = "CACHEFS_EXTERNAL_ID")]
    pub(crate) external_id: Option<String>,
    /// S3: session name of the assumed role [default: cachefs]
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "CACHEFS_ROLE_SESSION_NAME"
    )]
    pub(crate) role_session_name: Option<String>,
    /// S3: server-side encryption of new objects: AES256, aws:kms or aws:kms:KEY
    #[arg(long, global = true, value_name = "ALGORITHM", env = "CACHEFS_SSE")]
    pub(crate) sse: Option<String>,
    /// S3: canned ACL of new objects, for example bucket-owner-full-control
    #[arg(long, global = true, value_name = "NAME", env = "CACHEFS_ACL")]
    pub(crate) acl: Option<String>,
    /// S3: storage class of new objects, for example STANDARD_IA
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "CACHEFS_STORAGE_CLASS"
    )]
    pub(crate) storage_class: Option<String>,
    /// Azure: storage account of the container
    #[arg(long, global = true, value_name = "NAME", env = "CACHEFS_ACCOUNT")]
    pub(crate) account: Option<String>,
    /// file://: do not sync writes to disk; a power failure can lose the newest saves
    #[arg(long, global = true, env = "CACHEFS_NO_SYNC", value_parser = BoolishValueParser::new())]
    pub(crate) no_sync: bool,
}

impl RemoteArgs {
    /// The options that are set, as environment variables for another run of this program.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let text = [
            ("CACHEFS_REMOTE", &self.remote),
            ("CACHEFS_ENDPOINT", &self.endpoint),
            ("CACHEFS_REGION", &self.region),
            ("CACHEFS_ROLE_ARN", &self.role_arn),
            ("CACHEFS_EXTERNAL_ID", &self.external_id),
            ("CACHEFS_ROLE_SESSION_NAME", &self.role_session_name),
            ("CACHEFS_SSE", &self.sse),
            ("CACHEFS_ACL", &self.acl),
            ("CACHEFS_STORAGE_CLASS", &self.storage_class),
            ("CACHEFS_ACCOUNT", &self.account),
        ];
        let given = |(name, value): (_, &Option<String>)| Some((name, value.clone()?));
        let mut variables: Vec<_> = text.into_iter().filter_map(given).collect();
        if let Some(path_style) = self.path_style {
            variables.push(("CACHEFS_PATH_STYLE", path_style.to_string()));
        }
        if self.anonymous {
            variables.push(("CACHEFS_ANONYMOUS", true.to_string()));
        }
        if self.no_sync {
            variables.push(("CACHEFS_NO_SYNC", true.to_string()));
        }
        variables
    }

    /// The specification of the remote at `url`, with credentials from `env`.
    pub(crate) fn spec(&self, url: String, env: Environment) -> RemoteSpec {
        RemoteSpec {
            url,
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            path_style: self.path_style,
            anonymous: self.anonymous,
            account: self.account.clone(),
            role_arn: self.role_arn.clone(),
            external_id: self.external_id.clone(),
            role_session_name: self.role_session_name.clone(),
            sse: self.sse.clone(),
            acl: self.acl.clone(),
            storage_class: self.storage_class.clone(),
            no_sync: self.no_sync,
            env,
        }
    }
}

/// The page of `cachefs help remote`, with only the options of a remote.
pub(crate) fn remote_help() -> Command {
    RemoteArgs::augment_args(Command::new("remote"))
        .mut_args(|arg| arg.help_heading(None).hide_env_values(true))
        .disable_help_flag(true)
        .max_term_width(100)
        .about("Options of the remote, for all commands")
        .help_template("{about}\n\n{all-args}{after-help}")
        .after_help(
            "\
Examples:
  cachefs list --remote s3://ci/caches --region eu-central-1
  cachefs list --remote s3://caches --endpoint http://minio:9000
  cachefs list --remote gs://ci-caches/app
  cachefs list --remote az://caches/app --account mystorage
  cachefs list --remote file:///srv/caches

Credentials come from the variables and files of the AWS, Google and Azure tools: docs/remotes.md.
`cachefs doctor` tests them.",
        )
}
