//! `cachefs promote`.

use cachefs_store::gc::Condemned;
use cachefs_store::refs::{Promotion, RefName, list_keys, list_parts, promote_key};
use cachefs_store::{Error as StoreError, ErrorKind};
use clap::Args;
use serde::Serialize;

use super::key_scope::missing_key_error;
use crate::global::{Global, OutputFormat};
use crate::hints::word_hint;
use crate::{exit, machine_identity, output, setup};

/// Options of `promote`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  cachefs promote --all --from pr/12 --to branch/main")]
pub(crate) struct PromoteArgs {
    /// The keys
    #[arg(value_name = "KEY", required_unless_present = "all")]
    keys: Vec<String>,
    /// Promote all keys of the scope
    #[arg(long, conflicts_with = "keys")]
    all: bool,
    /// Source scope, for example pr/12
    #[arg(long, value_name = "SCOPE")]
    from: String,
    /// Target scope, for example branch/main
    #[arg(long, value_name = "SCOPE")]
    to: String,
    /// Only report what would be promoted
    #[arg(long)]
    dry_run: bool,
}

/// Hint for a key that is refused.
const REFUSED: &str = "nothing was written; the stored data does not match the key's layers: delete the key, and save it again in a trusted job";

/// A key in the output of `--format json`.
#[derive(Debug, Serialize)]
struct PromotedKey {
    key: String,
    result: &'static str,
    layers: usize,
}

/// Output of `--format json`.
#[derive(Debug, Serialize)]
struct PrintedPromote<'a> {
    from: &'a str,
    to: &'a str,
    keys: Vec<PromotedKey>,
}

pub(crate) fn run_promote(global: &Global, args: &PromoteArgs) -> anyhow::Result<u8> {
    let (from, to) = (
        setup::scope_named(&args.from)?,
        setup::scope_named(&args.to)?,
    );
    if from == to {
        return Err(cachefs::Error::usage(
            format!("--from and --to are both {from}"),
            "use the scope of the merged branch, and the scope that it was merged into",
        )
        .into());
    }
    let (runtime, remote) = setup::connect_remote(global)?;
    let remote = &remote.remote;
    let names: Vec<RefName> = if args.all {
        let listed = runtime.block_on(async { list_keys(remote, &from, "").await });
        let listed = listed.map_err(cachefs::Error::from)?;
        listed.into_iter().map(|listed| listed.name).collect()
    } else {
        let workspace = setup::workspace_directory()?;
        let mut names = Vec::new();
        for key in &args.keys {
            let (key, _) = setup::key_in(&workspace, key, &[])?;
            let parts = runtime.block_on(async { list_parts(remote, &from, &key).await });
            let parts = parts.map_err(cachefs::Error::from)?;
            if parts.is_empty() {
                names.push(RefName::new(from.clone(), key));
            }
            names.extend(parts.into_iter().map(|listed| listed.name));
        }
        names
    };
    if names.is_empty() {
        output::log_text(&format!("no keys in scope {from}: nothing to promote"));
    }
    let creator = machine_identity::current_creator();
    let mut code = exit::SUCCESS;
    let mut keys = Vec::new();
    for name in names {
        let promoted = runtime.block_on(async {
            let condemned = Condemned::read(remote).await?;
            promote_key(remote, &name, &to, &creator, &condemned, args.dry_run).await
        });
        let key = &name.key;
        let promoted = match promoted {
            // Skip a corrupt key and promote the others.
            Err(error) if error.kind() == ErrorKind::Integrity => {
                let is_newer = matches!(error, StoreError::Unsupported { .. });
                let error = cachefs::Error::from(error);
                let newer = error.hint().filter(|_| is_newer);
                let why = cachefs::describe_chain(&error);
                let newer = newer.as_ref().map(word_hint);
                output::print_error(
                    "error",
                    &format!("{name} is not promoted: {why}"),
                    Some(newer.as_deref().unwrap_or(REFUSED)),
                );
                code = exit::worse_code(code, exit::INTEGRITY);
                keys.push(PromotedKey {
                    key: key.to_string(),
                    result: "refused",
                    layers: 0,
                });
                continue;
            }
            other => other.map_err(cachefs::Error::from)?,
        };
        let (result, layers) = match promoted {
            // Deleted while we promoted all keys.
            Promotion::Absent if args.all => continue,
            Promotion::Absent => {
                let why = missing_key_error(remote, std::slice::from_ref(&from), key);
                output::print_error("error", &runtime.block_on(why).to_string(), None);
                code = exit::worse_code(code, exit::MISS);
                ("absent", 0)
            }
            Promotion::AlreadyThere => {
                output::log_text(&format!("{key}: scope {to} already has it"));
                ("already_there", 0)
            }
            Promotion::Promoted(layers) => {
                let verb = if args.dry_run {
                    "would promote"
                } else {
                    "promoted"
                };
                let count = output::format_count(layers.len() as u64, "layer");
                output::log_text(&format!(
                    "{verb} {key} from {from} to {to} ({count}, no data moved)"
                ));
                let result = match args.dry_run {
                    true => "would_promote",
                    false => "promoted",
                };
                (result, layers.len())
            }
        };
        keys.push(PromotedKey {
            key: key.to_string(),
            result,
            layers,
        });
    }
    if global.format == OutputFormat::Json {
        output::print_json(&PrintedPromote {
            from: from.as_str(),
            to: to.as_str(),
            keys,
        })?;
    }
    Ok(code)
}
