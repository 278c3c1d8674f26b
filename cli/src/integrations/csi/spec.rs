//! Converts the attributes of a pod to the arguments of `restore` and `save`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tonic::Status;

use super::attributes::{self, FALLBACK_SCOPES, KEY, REMOTE, RESTORE_KEYS, SCOPE, Takes};
use super::phase::Of;
use super::phase::Phase;
use crate::global::parse_duration;
use crate::keys;

/// Prefix of the attributes that Kubernetes adds.
const OF_KUBERNETES: &str = "csi.storage.k8s.io/";

/// Upper limit for the time limits of pods: each restore or save uses a thread and a process.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// The administrator's settings for all volumes of the node.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// The default scope of volumes.
    pub(super) scope: String,
    /// Whether scopes are prefixed with the namespace of the pod.
    pub(super) namespaced: bool,
    /// The command line of this program, which validates the attributes.
    pub(super) parser: clap::Command,
}

/// The specification of a volume. Contains no secrets, because it is written to disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spec {
    /// The attributes as set by the pod, without those of Kubernetes.
    pub(super) asked: BTreeMap<String, String>,
    /// The same attributes, with keys expanded and scopes prefixed by the rules of the node.
    resolved: BTreeMap<String, String>,
    /// Whether the pod has read-only access.
    pub(super) read_only: bool,
    /// Namespace and name of the pod, if Kubernetes passes them.
    pub(super) pod: Option<String>,
}

impl Spec {
    /// Parses and validates the attributes of a request.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT`, with the error and the fix.
    pub(super) fn read(
        context: &BTreeMap<String, String>,
        read_only: bool,
        rules: &Rules,
    ) -> Result<Self, Status> {
        let of_kubernetes = |name: &str| context.get(&format!("{OF_KUBERNETES}{name}"));
        if of_kubernetes("ephemeral").is_none_or(|value| value != "true") {
            return Err(invalid_argument(
                "caches are only inline volumes of pods: use `csi:` with this driver in the pod's volumes, and set podInfoOnMount in the CSIDriver object",
            ));
        }
        let namespace = of_kubernetes("pod.namespace");
        let name = of_kubernetes("pod.name");
        let asked: BTreeMap<_, _> = context
            .iter()
            .filter(|(name, _)| !name.starts_with(OF_KUBERNETES))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        check_attributes(&asked)?;
        let mut resolved = asked.clone();
        for name in [KEY, RESTORE_KEYS] {
            if let Some(value) = resolved.get_mut(name) {
                *value = expand_templates(name, value)?;
            }
        }
        resolved
            .entry(SCOPE.to_owned())
            .or_insert_with(|| rules.scope.clone());
        if rules.namespaced {
            let namespace = namespace.ok_or_else(|| {
                invalid_argument(
                    "the pod's namespace is not known: set podInfoOnMount in the CSIDriver object",
                )
            })?;
            for name in [SCOPE, FALLBACK_SCOPES] {
                if let Some(value) = resolved.get_mut(name) {
                    *value = own_scopes(namespace, value);
                }
            }
        }
        let spec = Self {
            asked,
            resolved,
            read_only,
            pod: namespace
                .zip(name)
                .map(|(namespace, name)| format!("{namespace}/{name}")),
        };
        spec.check_values(&rules.parser)?;
        Ok(spec)
    }

    /// The expanded key.
    pub(super) fn key(&self) -> &str {
        self.resolved.get(KEY).map_or("", String::as_str)
    }

    /// Whether the pod names its own remote.
    pub(super) fn names_remote(&self) -> bool {
        self.resolved.contains_key(REMOTE)
    }

    /// Whether a switch is on.
    pub(super) fn is_on(&self, name: &str) -> bool {
        let value = self.resolved.get(name);
        value.and_then(|value| attributes::parse_switch(value)) == Some(true)
    }

    /// The reason to skip the save, if any.
    pub(super) fn no_save(&self) -> Option<&'static str> {
        if self.read_only {
            Some("the volume is read-only")
        } else if self.is_on("readOnly") {
            Some("the attribute readOnly is set")
        } else if self.resolved.get("policy").is_some_and(|it| it == "pull") {
            Some("the policy is pull")
        } else {
            None
        }
    }

    /// The time limit of a command: the pod's, up to [`LONGEST`], or else the default.
    pub(super) fn limit(&self, phase: Phase, default: Duration) -> Duration {
        let name = match phase {
            Phase::Restore => "restoreTimeout",
            Phase::Save => "saveTimeout",
        };
        let given = self.resolved.get(name);
        given
            .and_then(|time| parse_duration(time).ok())
            .map_or(default, |time| time.min(LONGEST.max(default)))
    }

    /// The arguments of a command for this volume, with `limit` as its time limit.
    pub(super) fn arguments(&self, phase: Phase, path: &Path, limit: Duration) -> Vec<String> {
        let mut resolved = self.resolved.clone();
        let time = format!("{}ms", limit.as_millis());
        match phase {
            Phase::Restore => resolved.insert("restoreTimeout".to_owned(), time),
            Phase::Save => resolved.insert("saveTimeout".to_owned(), time),
        };
        let mut arguments = vec![phase.command().to_owned(), "--no-config".to_owned()];
        arguments.push(format!("--path={}", path.display()));
        arguments.extend(attributes::command_options(&resolved, phase));
        arguments
    }

    /// Validates all values with the parser of the commands.
    fn check_values(&self, parser: &clap::Command) -> Result<(), Status> {
        for phase in [Phase::Restore, Phase::Save] {
            let parse = |attributes: &BTreeMap<String, String>| {
                let words = ["cachefs", phase.command(), "--key=k", "--path=/"];
                let options = attributes::command_options(attributes, phase);
                let own = options
                    .into_iter()
                    .filter(|option| !option.starts_with("--key="));
                let words = words.map(str::to_owned).into_iter().chain(own);
                parser.clone().try_get_matches_from(words)
            };
            if parse(&self.resolved).is_ok() {
                continue;
            }
            for (name, value) in &self.asked {
                let alone = BTreeMap::from([(name.clone(), value.clone())]);
                if let Err(error) = parse(&alone) {
                    return Err(invalid_argument(&format!(
                        "attribute {name}: invalid value `{value}`{}",
                        possible_values(&error)
                    )));
                }
            }
        }
        Ok(())
    }
}

/// The valid values of the option, if the parser knows them.
fn possible_values(error: &clap::Error) -> String {
    use clap::error::{ContextKind, ContextValue};
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if !values.is_empty() => {
            format!(": use one of {}", values.join(", "))
        }
        _ => std::error::Error::source(error)
            .map(|source| format!(": {source}"))
            .unwrap_or_default(),
    }
}

/// Checks the names of attributes, and the values that a pod must not set.
fn check_attributes(asked: &BTreeMap<String, String>) -> Result<(), Status> {
    if let Some(unknown) = asked
        .keys()
        .find(|name| attributes::find_attribute(name).is_none())
    {
        return Err(invalid_argument(&format!(
            "unknown attribute `{unknown}`; there are: {}",
            attributes::attribute_names()
        )));
    }
    if asked.get(KEY).is_none_or(|key| key.trim().is_empty()) {
        return Err(invalid_argument(
            "the attribute `key` is missing: set the key of the cache, for example m2-main",
        ));
    }
    for (name, value) in asked {
        let known = attributes::find_attribute(name);
        let takes = known.map(|known| known.takes);
        if takes == Some(Takes::Switch) && attributes::parse_switch(value).is_none() {
            return Err(invalid_argument(&format!(
                "attribute {name}: invalid value `{value}`: use true or false"
            )));
        }
        if known.is_some_and(|known| known.of == Of::Remote) && !asked.contains_key(REMOTE) {
            return Err(invalid_argument(&format!(
                "attribute {name} belongs to a remote: set `remote`, too, or remove it to use the node's remote"
            )));
        }
    }
    if asked.get("mode").is_some_and(|mode| mode.trim() == "copy") {
        return Err(invalid_argument(
            "attribute mode: a pod cannot copy its cache to the node's disk: remove `mode`, or restore with `--mode copy` in the pod, into an emptyDir with a sizeLimit",
        ));
    }
    let is_local = |remote: &String| {
        remote
            .trim_start()
            .to_ascii_lowercase()
            .starts_with("file:")
    };
    if asked.get(REMOTE).is_some_and(is_local) {
        return Err(invalid_argument(
            "a pod cannot use a directory of the node as its remote: use s3://, gs:// or az://",
        ));
    }
    Ok(())
}

/// Expands the templates of an attribute, one per line. Templates of a pod must not see the node,
/// so they have no files and no variables.
fn expand_templates(name: &str, templates: &str) -> Result<String, Status> {
    let refused = |error: keys::KeyError| {
        invalid_argument(&format!(
            "attribute {name}: {error}; hint: {}",
            error.hint()
        ))
    };
    let nothing = BTreeMap::new();
    let context = keys::KeyContext {
        workspace: Path::new("/"),
        env: &nothing,
        now: SystemTime::now(),
        allow_missing: false,
        skip: &|_| true,
        reach: &keys::Reach::Beneath(None),
    };
    let mut expanded = Vec::new();
    let lines: Vec<_> = match name {
        RESTORE_KEYS => attributes::list_items(templates).collect(),
        _ => vec![templates.trim()],
    };
    for template in lines {
        if keys::reads_files(template).map_err(refused)? {
            return Err(invalid_argument(&format!(
                "attribute {name}: `{template}` reads files, but the pod's files do not exist yet: put the hash into the pod's manifest when you generate it"
            )));
        }
        expanded.push(
            keys::expand_template(template, &context)
                .map_err(refused)?
                .key,
        );
    }
    Ok(expanded.join("\n"))
}

/// Prefixes scopes with the scope of a namespace.
fn own_scopes(namespace: &str, scopes: &str) -> String {
    let own = attributes::list_items(scopes).map(|scope| format!("namespace/{namespace}/{scope}"));
    own.collect::<Vec<_>>().join("\n")
}

fn invalid_argument(message: &str) -> Status {
    Status::invalid_argument(message)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Cli;

    fn read(attributes: &[(&str, &str)], namespaced: bool) -> Result<Spec, Status> {
        let of_kubernetes = [
            ("csi.storage.k8s.io/ephemeral", "true"),
            ("csi.storage.k8s.io/pod.namespace", "ci"),
            ("csi.storage.k8s.io/serviceAccount.tokens", "hunter2"),
        ];
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let context = of_kubernetes.iter().chain(attributes).map(pair).collect();
        let rules = Rules {
            scope: "default".to_owned(),
            namespaced,
            parser: Cli::command(),
        };
        Spec::read(&context, false, &rules)
    }

    #[test]
    fn attributes_become_options_of_their_commands() {
        let attributes = [
            ("key", "--m2-{{ os }}"),
            ("restoreKeys", "--m2-\n\nm3-, m4-\n"),
            ("strictKey", "false"),
            ("override", "true"),
            ("ttl", "7d"),
            ("prefetch", "none"),
        ];
        let spec = read(&attributes, false).unwrap();
        let arguments = |phase| spec.arguments(phase, Path::new("/x"), Duration::from_secs(2));
        assert_eq!(
            arguments(Phase::Restore),
            [
                "restore",
                "--no-config",
                "--path=/x",
                "--key=--m2-linux",
                "--restore-key=--m2-",
                "--restore-key=m3-",
                "--restore-key=m4-",
                "--scope=default",
                "--prefetch=none",
                "--restore-timeout=2000ms",
            ]
        );
        assert_eq!(
            arguments(Phase::Save),
            [
                "save",
                "--no-config",
                "--path=/x",
                "--key=--m2-linux",
                "--scope=default",
                "--override",
                "--ttl=7d",
                "--save-timeout=2000ms",
            ]
        );
        let written = serde_json::to_string(&spec).unwrap();
        assert!(!written.contains("hunter2"), "{written}");
    }

    #[test]
    fn scopes_are_those_of_the_namespace_where_the_node_says_so() {
        let attributes = [("key", "k"), ("fallbackScopes", "a,namespace/other/b")];
        let spec = read(&attributes, true).unwrap();
        let arguments = spec.arguments(Phase::Restore, Path::new("/x"), Duration::from_secs(2));
        for option in [
            "--scope=namespace/ci/default",
            "--fallback-scope=namespace/ci/a",
            "--fallback-scope=namespace/ci/namespace/other/b",
        ] {
            assert!(arguments.contains(&option.to_owned()), "{arguments:?}");
        }
    }

    #[test]
    fn a_pod_has_nothing_copied_to_the_node_and_keeps_it_busy_for_an_hour_at_most() {
        let refused = read(&[("key", "k"), ("mode", "copy")], false).unwrap_err();
        assert!(refused.message().contains("disk"), "{refused}");
        read(&[("key", "k"), ("mode", "mount")], false).unwrap();
        let times = [("restoreTimeout", "100000h"), ("saveTimeout", "30m")];
        let spec = read(&[&[("key", "k")], &times[..]].concat(), false).unwrap();
        let node = Duration::from_secs(9);
        assert_eq!(spec.limit(Phase::Restore, node), LONGEST);
        assert_eq!(spec.limit(Phase::Save, node), Duration::from_secs(30 * 60));
        let spec = read(&[("key", "k")], false).unwrap();
        assert_eq!(spec.limit(Phase::Save, LONGEST * 2), LONGEST * 2);
    }

    #[test]
    fn nothing_is_saved_where_the_pod_may_not_write() {
        let saved = |attribute| read(&[("key", "k"), attribute], false).unwrap().no_save();
        assert_eq!(saved(("policy", "pull-push")), None);
        assert_eq!(saved(("readOnly", "false")), None);
        assert!(saved(("policy", "pull")).is_some());
        assert!(saved(("readOnly", "true")).is_some());
    }
}
