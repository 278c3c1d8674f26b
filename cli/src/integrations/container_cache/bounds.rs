//! Limits for the options that a tenant passes to a service of the host.
//!
//! The authors of volume options and annotations may have no access to the host, but the service
//! acts on them with its own privileges and credentials. So these options can narrow the service's
//! configuration, but never widen it.

use std::time::Duration;

use cachefs::Error;
use cachefs_store::refs::Scope;

use crate::caches::{ModeArg, PolicyArg, SaveHow, SecretsArg};
use crate::config::DescribedCache;

/// Checks a tenant's options (`told`) against the service's configuration (`host`).
///
/// # Errors
///
/// A usage error that names the option that only the service may set.
pub(super) fn check(host: &DescribedCache, told: &DescribedCache) -> Result<(), Error> {
    if told.global.remote != host.global.remote {
        return Err(Error::usage(
            "options of a cache cannot set the remote or its credentials: those of the service are used",
            "set --remote and its options for the service; run another service for another remote",
        ));
    }
    if told.restore.allow_privileged && !host.restore.allow_privileged {
        return Err(Error::usage(
            "options of a cache cannot allow setuid files and devices",
            "define the cache in a file on the host, and use it as a device: `cachefs cdi`",
        ));
    }
    if told.restore.mode == ModeArg::Copy && host.restore.mode != ModeArg::Copy {
        return Err(Error::usage(
            "options of a cache cannot request a copy on the host's disk",
            "remove `mode`: a mount has the same files and needs no disk space",
        ));
    }
    if host.common.read_only && !told.common.read_only {
        return Err(service_says("read-only"));
    }
    if host.common.policy != PolicyArg::PullPush && told.common.policy != host.common.policy {
        return Err(service_says("policy"));
    }
    check_secrets(&host.save, &told.save)?;
    for (name, host, told) in [
        ("timeout", host.global.timeout, told.global.timeout),
        (
            "restore-timeout",
            host.restore.restore_timeout,
            told.restore.restore_timeout,
        ),
        (
            "save-timeout",
            host.save.save_timeout,
            told.save.save_timeout,
        ),
    ] {
        check_time(name, host, told)?;
    }
    check_scopes(host, told)
}

/// Confines tenants to the scope of the service and those below it. Without one, they can choose
/// any.
fn check_scopes(host: &DescribedCache, told: &DescribedCache) -> Result<(), Error> {
    let Some(own) = &host.global.scope else {
        return Ok(());
    };
    let own = Scope::new(own.as_str())?.to_string();
    let is_own = |name: &str| -> Result<bool, Error> {
        let scope = Scope::new(name)?.to_string();
        let below = scope.strip_prefix(&own);
        Ok(below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    };
    let refused = |name: &str| {
        Error::usage(
            format!("the scope `{name}` is outside of the scope `{own}` of this service"),
            format!("use `{own}` or a scope below it, such as `{own}/x`"),
        )
    };
    if let Some(name) = &told.global.scope
        && !is_own(name)?
    {
        return Err(refused(name));
    }
    for name in &told.restore.fallback_scope {
        if !host.restore.fallback_scope.contains(name) && !is_own(name)? {
            return Err(refused(name));
        }
    }
    Ok(())
}

/// If the service's policy for secrets is stricter than the default, tenants cannot relax it.
fn check_secrets(host: &SaveHow, told: &SaveHow) -> Result<(), Error> {
    let strictness = |policy| match policy {
        SecretsArg::Off => 0,
        SecretsArg::Allow => 1,
        SecretsArg::Credentials => 2,
        SecretsArg::Skip => 3,
        SecretsArg::Fail => 4,
    };
    let is_strict = strictness(host.secrets) > strictness(SecretsArg::default());
    if is_strict && strictness(told.secrets) < strictness(host.secrets) {
        return Err(service_says("secrets"));
    }
    if is_strict && told.secrets_allow != host.secrets_allow {
        return Err(service_says("secrets-allow"));
    }
    Ok(())
}

fn check_time(name: &str, host: Option<Duration>, told: Option<Duration>) -> Result<(), Error> {
    match (host, told) {
        (Some(host), Some(told)) if told > host => Err(service_says(name)),
        _ => Ok(()),
    }
}

fn service_says(name: &str) -> Error {
    Error::usage(
        format!("the option `{name}` is less strict than the service"),
        "remove it, or use a stricter value",
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[track_caller]
    fn checked(service: &[&str], options: &[(&str, &str)]) -> Result<(), Error> {
        let args = ["cachefs", "--no-config", "--remote=file:///r"];
        let args = args.iter().chain(service).map(Into::into).collect();
        let (_, config) = crate::config::parse_arguments::<crate::args::Cli>(args).unwrap();
        let vocabulary = config.vocabulary();
        let options = options
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let host = vocabulary.describe(&BTreeMap::new(), &[]).unwrap();
        check(&host, &vocabulary.describe(&options, &[]).unwrap())
    }

    #[test]
    fn a_tenant_stays_in_the_scope_of_the_service() {
        let service = ["--scope", "pr/7", "stats"];
        for scope in ["pr/7", "pr/7/x"] {
            checked(&service, &[("scope", scope)]).unwrap();
            checked(&service, &[("fallback-scopes", scope)]).unwrap();
        }
        for scope in ["pr/8", "pr/77", "branch/main", "default"] {
            assert!(checked(&service, &[("scope", scope)]).is_err(), "{scope}");
            let refused = checked(&service, &[("fallback-scopes", scope)]);
            assert!(refused.is_err(), "{scope}");
        }
        checked(&["stats"], &[("scope", "anything")]).unwrap();
    }

    #[test]
    fn a_tenant_only_narrows_what_the_service_allows() {
        let timeout = ["--timeout", "5s", "stats"];
        assert!(checked(&timeout, &[("timeout", "1h")]).is_err());
        checked(&timeout, &[("timeout", "1s")]).unwrap();
        checked(&["stats"], &[("timeout", "1h"), ("read-only", "true")]).unwrap();
        let own = [("policy", "pull"), ("secrets", "off"), ("ttl", "1h")];
        checked(&["stats"], &own).unwrap();
    }

    #[test]
    fn what_the_service_forbids_stays_forbidden() {
        let described = |options: &[(&str, &str)]| {
            let args = ["cachefs", "--no-config", "stats"].map(Into::into).to_vec();
            let (_, config) = crate::config::parse_arguments::<crate::args::Cli>(args).unwrap();
            let options = options
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            config.vocabulary().describe(&options, &[]).unwrap()
        };
        for (host, told) in [
            (("read-only", "true"), ("read-only", "false")),
            (("policy", "pull"), ("policy", "pull-push")),
            (("policy", "push"), ("policy", "pull")),
            (("secrets", "fail"), ("secrets", "off")),
            (("secrets", "skip"), ("secrets", "credentials")),
            (("restore-timeout", "1m"), ("restore-timeout", "2m")),
            (("save-timeout", "1m"), ("save-timeout", "1h")),
        ] {
            let host = described(&[host]);
            assert!(check(&host, &described(&[told])).is_err(), "{told:?}");
            check(&host, &host).unwrap();
        }
        let strict = described(&[("secrets", "fail")]);
        let pierced = described(&[("secrets", "fail"), ("secrets-allow", "*")]);
        assert!(check(&strict, &pierced).is_err());
        let stricter = described(&[("secrets", "fail"), ("policy", "pull")]);
        check(&described(&[("secrets", "skip")]), &stricter).unwrap();
    }
}
