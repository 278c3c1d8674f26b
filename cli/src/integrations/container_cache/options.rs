//! Parses the options of a volume, or the annotations of a container, into a cache.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use clap::Args;

use super::bounds;
use crate::caches::ResolvedCache;
use crate::config::{DescribedCache, Vocabulary};
use crate::global::Global;
use crate::keys::{self, Author};
use crate::outputs::OutputArgs;

/// The option with the directory of the files in key templates.
const WORKSPACE: &str = "workspace";
/// The option with the path of a cache in the container.
const PATH: &str = "path";

/// Configuration shared by all caches of this process.
#[derive(Debug, Clone)]
pub(crate) struct Defaults {
    /// The accepted options.
    pub(crate) vocabulary: Vocabulary,
    /// The directories of the host in which templates may read files.
    pub(crate) workspaces: Vec<PathBuf>,
}

/// The option of services that says where templates may read files.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct WorkspaceArgs {
    /// Allow key templates to read files below this host directory, as the `workspace` of a cache
    /// (repeatable) [default: none]
    #[arg(long, value_name = "DIR")]
    pub(crate) allow_workspace: Vec<PathBuf>,
}

impl WorkspaceArgs {
    /// The directories, validated.
    ///
    /// # Errors
    ///
    /// A usage error for a path that is relative or contains `..`.
    pub(crate) fn checked(&self) -> Result<Vec<PathBuf>, cachefs::Error> {
        match self.allow_workspace.iter().find(|path| !is_plain(path)) {
            None => Ok(self.allow_workspace.clone()),
            Some(wrong) => Err(cachefs::Error::usage(
                format!(
                    "--allow-workspace {} is not an absolute path",
                    wrong.display()
                ),
                "use an absolute path, for example --allow-workspace /srv/builds",
            )),
        }
    }
}

/// The use of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A volume: the engine determines its path in the container.
    Volume,
    /// An annotated container: `path` is the path in the container.
    Container,
}

/// A cache, with its own global options.
#[derive(Debug, Clone)]
pub(crate) struct VolumeOptions {
    /// The global options, such as remote and scope.
    pub(crate) global: Global,
    /// The cache; its only path is its directory on the host.
    pub(crate) cache: ResolvedCache,
    /// Its path in the container; only for [`Purpose::Container`].
    pub(crate) inside: Option<PathBuf>,
}

impl Defaults {
    /// Parses the options of the cache `name`, which will be at `shown` on the host.
    ///
    /// # Errors
    ///
    /// A usage error for an unknown option, an invalid value, a missing key, a missing or misplaced
    /// path, and a key that reads files without a workspace.
    pub(crate) fn read(
        &self,
        purpose: Purpose,
        name: &str,
        options: &BTreeMap<String, String>,
        shown: &Path,
    ) -> anyhow::Result<VolumeOptions> {
        let inside = container_path(purpose, options)?;
        let told = self.vocabulary.describe(options, purpose.own())?;
        if let Some(name) = options.keys().find(|name| name.starts_with("secret-env")) {
            return Err(cachefs::Error::usage(
                format!(
                    "the option `{name}` is not allowed here: it refers to variables of the service"
                ),
                "set CACHEFS_SECRET_ENV for the service",
            )
            .into());
        }
        bounds::check(&self.vocabulary.describe(&BTreeMap::new(), &[])?, &told)?;
        let DescribedCache {
            mut global,
            key,
            restore_keys,
            mut common,
            restore,
            save,
        } = told;
        // CI outputs are only for steps of the CI system itself.
        global.outputs = OutputArgs::default();
        if key.is_none() {
            return Err(cachefs::Error::usage(
                "the option `key` is missing",
                "set the key of the cache, for example key=m2-main",
            )
            .into());
        }
        let workspace = options.get(WORKSPACE).map(PathBuf::from);
        let allowed = workspace.as_deref().map(|path| self.allowed(path));
        common.author = Author::Tenant {
            allowed: allowed.transpose()?,
        };
        let has_workspace = workspace.is_some();
        for template in key.iter().chain(&restore_keys) {
            if keys::reads_variables(template).map_err(anyhow::Error::from)? {
                return Err(cachefs::Error::usage(
                    format!("the key `{}` reads variables", template.escape_debug()),
                    "a service of the host expands the key, with the variables of the service: put the value into the key; os, arch and epoch can be used",
                )
                .into());
            }
        }
        let cache = ResolvedCache {
            name: Some(name.to_owned()),
            workspace: workspace.unwrap_or_else(|| shown.to_owned()),
            key,
            restore_keys,
            paths: vec![shown.to_owned()],
            layers: Vec::new(),
            only: None,
            common,
            restore,
            save,
        };
        // Files of a workspace can still appear; without one, the key can be checked now.
        if !has_workspace {
            cache.expand().map_err(|error| without_workspace(&error))?;
        }
        cache.save.existing()?;
        Ok(VolumeOptions {
            global,
            cache,
            inside,
        })
    }

    /// The allowed directory that contains a workspace.
    ///
    /// Compares only the text: a tenant must not learn whether a directory outside of it exists.
    fn allowed(&self, workspace: &Path) -> Result<PathBuf, cachefs::Error> {
        let mut allowed = self.workspaces.iter();
        let allowed = allowed.find(|allowed| workspace.starts_with(allowed));
        match allowed.filter(|_| is_plain(workspace)) {
            Some(allowed) => Ok(allowed.clone()),
            None if !workspace.is_absolute() => Err(cachefs::Error::usage(
                "`workspace` is not an absolute path",
                "use the path on the host, for example workspace=/srv/build",
            )),
            None => Err(cachefs::Error::usage(
                format!("the workspace {} is not allowed", workspace.display()),
                "allow it with --allow-workspace DIR of the service, or pass an expanded key",
            )),
        }
    }
}

impl VolumeOptions {
    /// Makes options for a cache of a file, to be at `shown` on the host; its path in the file is
    /// the path in the container.
    ///
    /// # Errors
    ///
    /// Those of [`only_path`].
    pub(crate) fn of(
        global: &Global,
        cache: &ResolvedCache,
        shown: &Path,
    ) -> Result<Self, cachefs::Error> {
        let inside = only_path(cache)?;
        let mut global = global.clone();
        global.outputs = OutputArgs::default();
        let cache = ResolvedCache {
            paths: vec![shown.to_owned()],
            ..cache.clone()
        };
        Ok(Self {
            global,
            cache,
            inside: Some(inside),
        })
    }
}

/// Whether a path is absolute and has no `.` or `..`.
fn is_plain(path: &Path) -> bool {
    let mut parts = path.components();
    path.is_absolute()
        && parts.all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

/// The only path of a cache of a file, which is its path in a container.
///
/// # Errors
///
/// A usage error for several paths, patterns and exclusions.
pub(crate) fn only_path(cache: &ResolvedCache) -> Result<PathBuf, cachefs::Error> {
    match &cache.paths[..] {
        [path] if path.is_absolute() && !path.to_string_lossy().contains(['*', '?', '[', '{']) => {
            Ok(path.clone())
        }
        _ => {
            let name = cache.name.as_deref().unwrap_or_default();
            Err(cachefs::Error::usage(
                format!("the cache `{name}` does not have exactly one plain path"),
                "a cache of a container has one path without patterns, for example path = \"/root/.m2\"",
            ))
        }
    }
}

impl Purpose {
    /// The options about paths, which `restore` and `save` do not have in this form.
    fn own(self) -> &'static [&'static str] {
        match self {
            Self::Volume => &[WORKSPACE],
            Self::Container => &[WORKSPACE, PATH],
        }
    }
}

/// The path of the cache in the container.
fn container_path(
    purpose: Purpose,
    options: &BTreeMap<String, String>,
) -> Result<Option<PathBuf>, cachefs::Error> {
    match (purpose, options.get(PATH)) {
        (Purpose::Volume, None) => Ok(None),
        (Purpose::Volume, Some(_)) => Err(cachefs::Error::usage(
            "a volume has no `path`",
            "set its mount point for the container, for example dst=/root/.m2",
        )),
        (Purpose::Container, Some(path)) if path.starts_with('/') => Ok(Some(path.into())),
        (Purpose::Container, Some(path)) => Err(cachefs::Error::usage(
            format!("`{path}` is not an absolute path"),
            "use the path in the container, for example /root/.m2",
        )),
        (Purpose::Container, None) => Err(cachefs::Error::usage(
            "the option `path` is missing",
            "set the path of the cache in the container, for example /root/.m2",
        )),
    }
}

/// Extends the error of a key that cannot be expanded: the user may expect it to see the
/// container's files.
fn without_workspace(error: &anyhow::Error) -> anyhow::Error {
    let failure = crate::failure::describe_failure(error, false);
    let hint = failure.hint.unwrap_or_default();
    cachefs::Error::usage(
        format!("the key cannot be expanded: {}", failure.message),
        format!(
            "the host expands keys, without the files of the container: pass an expanded key, or set workspace=/DIR to their directory on the host, which --allow-workspace of the service allows; {hint}"
        ),
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(purpose: Purpose, options: &[(&str, &str)]) -> anyhow::Result<VolumeOptions> {
        let args = ["cachefs", "--no-config", "--remote=file:///r", "stats"];
        let (_, config) =
            crate::config::parse_arguments::<crate::args::Cli>(args.map(Into::into).to_vec())
                .unwrap();
        let defaults = Defaults {
            vocabulary: config.vocabulary(),
            workspaces: vec!["/srv".into()],
        };
        let options = options
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
        defaults.read(purpose, "m2", &options.collect(), Path::new("/store/m2"))
    }

    #[track_caller]
    fn refused(purpose: Purpose, options: &[(&str, &str)], why: &str) {
        let refused = read(purpose, options).unwrap_err().to_string();
        assert!(refused.contains(why), "{options:?}: {refused}");
    }

    #[test]
    fn volumes_have_no_path_and_containers_do() {
        let request = read(Purpose::Volume, &[("key", "a"), ("scope", "s")]).unwrap();
        assert_eq!(request.cache.paths, [Path::new("/store/m2")]);
        assert_eq!(request.global.scope.as_deref(), Some("s"));
        assert_eq!(request.global.remote.remote.as_deref(), Some("file:///r"));
        refused(
            Purpose::Volume,
            &[("key", "a"), ("path", "/x")],
            "no `path`",
        );
        refused(Purpose::Volume, &[], "`key` is missing");
        refused(Purpose::Container, &[("key", "a")], "`path` is missing");
        refused(
            Purpose::Container,
            &[("key", "a"), ("path", "x")],
            "not an absolute path",
        );
        let request = read(Purpose::Container, &[("key", "a"), ("path", "/x")]).unwrap();
        assert_eq!(request.inside.as_deref(), Some(Path::new("/x")));
    }

    #[test]
    fn volumes_and_annotations_do_not_speak_for_the_host() {
        let kept = "cannot set the remote";
        for (option, why) in [
            (("remote", "s3://theirs"), kept),
            (("remote", "file:///r/refs"), kept),
            (("endpoint", "https://theirs"), kept),
            (("region", "theirs.example/"), kept),
            (("account", "theirs"), kept),
            (("role-arn", "arn:aws:iam::1:role/theirs"), kept),
            (("external-id", "x"), kept),
            (("role-session-name", "x"), kept),
            (("path-style", "true"), kept),
            (("anonymous", "true"), kept),
            (("sse", "aws:kms:theirs"), kept),
            (("acl", "public-read"), kept),
            (("storage-class", "GLACIER"), kept),
            (("no-sync", "true"), kept),
            (("allow-privileged", "true"), "setuid"),
            (("mode", "copy"), "a copy on the host"),
            (("daemon", "/run/theirs.sock"), "unknown option `daemon`"),
            (("store", "/theirs"), "unknown option `store`"),
            (("metrics-file", "/theirs"), "unknown option `metrics-file`"),
        ] {
            refused(Purpose::Volume, &[("key", "a"), option], why);
            let own = [("key", "a"), ("path", "/x"), option];
            refused(Purpose::Container, &own, why);
        }
        let same = [("key", "a"), ("remote", "file:///r"), ("mode", "mount")];
        read(Purpose::Volume, &same).unwrap();
    }

    #[test]
    fn keys_of_files_need_a_workspace() {
        let template = "{{ checksum \"pom.xml\" }}";
        refused(Purpose::Volume, &[("key", template)], "cannot be expanded");
        refused(
            Purpose::Volume,
            &[("key", "{{ oops }}")],
            "cannot be expanded",
        );
        read(Purpose::Volume, &[("key", template), ("workspace", "/srv")]).unwrap();
        refused(
            Purpose::Volume,
            &[("key", "a"), ("workspace", "srv")],
            "absolute path",
        );
        read(Purpose::Volume, &[("key", "m2-{{ arch }}")]).unwrap();
    }

    #[test]
    fn templates_and_options_stay_clear_of_the_host() {
        for key in [
            "k-{{ env \"AWS_SECRET_ACCESS_KEY\" }}",
            "{{ .Environment.HOME }}",
            "${{ env.HOME }}",
            "{{ .Branch }}",
        ] {
            for more in [
                &[][..],
                &[("workspace", "/srv/x"), ("allow-missing", "true")],
            ] {
                let main: Vec<_> = more.iter().copied().chain([("key", key)]).collect();
                refused(Purpose::Volume, &main, "reads variables");
                let prefix = more.iter().copied();
                let prefix = prefix.chain([("key", "k"), ("restore-keys", key)]);
                // White space splits the template into several, which are invalid as well.
                assert!(read(Purpose::Volume, &prefix.collect::<Vec<_>>()).is_err());
            }
        }
        for workspace in ["/", "/etc", "/srv/../etc", "/srvx", "/srv/./../root"] {
            let options = [("key", "{{ checksum \"x\" }}"), ("workspace", workspace)];
            refused(Purpose::Volume, &options, "is not allowed");
            let options = [options[0], options[1], ("path", "/x")];
            refused(Purpose::Container, &options, "is not allowed");
        }
        for remote in ["file:///etc", "FILE:///etc", " file:///etc", "/etc"] {
            let options = [("key", "k"), ("remote", remote)];
            assert!(read(Purpose::Volume, &options).is_err(), "{remote}");
        }
        read(Purpose::Volume, &[("key", "k"), ("remote", "file:///r")]).unwrap();
        let options = [("key", "k"), ("secret-env", "AWS_SECRET_ACCESS_KEY")];
        refused(Purpose::Volume, &options, "variables of the service");
    }

    #[test]
    fn contradictions_are_found_at_once() {
        let options = [("key", "a"), ("save-if", "missing"), ("override", "true")];
        refused(Purpose::Volume, &options, "--override");
    }
}
