//! The table of credential files.

use super::super::kind::Kind;
use super::Reader;
use super::Reader::{Json, Lines, Netrc, Urls, Whole, Xml};
use super::lines::{is_one_of, is_secret_name};

/// A file that is known to hold secrets.
pub(in super::super) struct Place {
    names: &'static [&'static str],
    /// The directory it must be in; any when empty.
    directories: &'static [&'static str],
    pub(in super::super) kind: Kind,
    certain: Certain,
    pub(super) reader: Reader,
}

/// Where a file of some name exists to hold credentials.
enum Certain {
    Everywhere,
    /// Directly in a directory of one of these names only; elsewhere projects have files of that name,
    /// such as samples and the data of tests.
    In(&'static [&'static str]),
    Nowhere,
}

impl Place {
    /// Whether a finding in a file in a directory of this name is a credential for certain, rather
    /// than a setting of a project whose name suggests one.
    pub(in super::super) fn is_certain(&self, directory: &[u8]) -> bool {
        match self.certain {
            Certain::Everywhere => true,
            Certain::In(names) => names.iter().any(|name| name.as_bytes() == directory),
            Certain::Nowhere => false,
        }
    }
}

/// The place that a file is, if it is one.
pub(in super::super) fn find(directory: &[u8], name: &[u8]) -> Option<&'static Place> {
    // Nearly every file is told apart by a look at its first letter and length.
    PLACES.iter().find(|place| {
        place.names.iter().any(|known| known.as_bytes() == name)
            && (place.directories.is_empty()
                || place
                    .directories
                    .iter()
                    .any(|known| known.as_bytes() == directory))
    })
}

const fn place(
    names: &'static [&'static str],
    directories: &'static [&'static str],
    kind: Kind,
    reader: Reader,
) -> Place {
    Place {
        names,
        directories,
        kind,
        certain: Certain::Everywhere,
        reader,
    }
}

/// A file that projects and packages have too, as a build setting, a sample or a lock file.
const fn common(
    names: &'static [&'static str],
    certain: Certain,
    kind: Kind,
    reader: Reader,
) -> Place {
    Place {
        names,
        directories: &[],
        kind,
        certain,
        reader,
    }
}

const MAVEN: Kind = Kind::new("maven-password", "password in Maven settings");
const NPM: Kind = Kind::new("npmrc", "npm credential");
const YARN: Kind = Kind::new("yarnrc", "Yarn credential");
const NETRC: Kind = Kind::new("netrc", "password in .netrc");
const DOCKER: Kind = Kind::new("registry-auth", "container registry credential");
const COMPOSER: Kind = Kind::new("composer-auth", "Composer credential");
const PYTHON: Kind = Kind::new("python-index", "Python index password");
const CARGO: Kind = Kind::new("cargo-token", "cargo registry token");
const GRADLE: Kind = Kind::new("gradle-properties", "Gradle password or token");
const GIT: Kind = Kind::new("git-credentials", "git credential");
const AWS: Kind = Kind::new("aws-credentials", "AWS credential");
const KUBE: Kind = Kind::new("kubeconfig", "Kubernetes credential");
const GOOGLE: Kind = Kind::new("gcloud-credentials", "Google Cloud credential");
const AZURE: Kind = Kind::new("azure-credentials", "Azure credential");
const NUGET: Kind = Kind::new("nuget-password", "NuGet source password");
const GEM: Kind = Kind::new("gem-credentials", "RubyGems credential");
const SBT: Kind = Kind::new("sbt-credentials", "sbt password");
const TOOL: Kind = Kind::new("tool-token", "command-line tool token");
const DATABASE: Kind = Kind::new("database-password", "database password");
const STORAGE: Kind = Kind::new("storage-credentials", "object store credential");
const DOTENV: Kind = Kind::new("dotenv", "secret in an environment file");
const URL: Kind = Kind::new("url-password", "password in a URL");

static PLACES: &[Place] = &[
    common(
        &["settings.xml", "settings-security.xml"],
        Certain::In(&[".m2", "conf"]),
        MAVEN,
        Xml,
    ),
    place(
        &[".npmrc", "npmrc"],
        &[],
        NPM,
        Lines(b"=", |name| {
            [&b"_authToken"[..], b"_auth", b"_password"]
                .iter()
                .any(|end| name.ends_with(end))
        }),
    ),
    place(
        &[".yarnrc.yml"],
        &[],
        YARN,
        Lines(b":", |name| {
            is_one_of(name, &["npmAuthToken", "npmAuthIdent"])
        }),
    ),
    place(&[".netrc", "_netrc"], &[], NETRC, Netrc),
    place(
        &["config.json"],
        &[".docker"],
        DOCKER,
        Json(&["auth", "identitytoken", "registrytoken", "password"]),
    ),
    place(
        &[".dockercfg", ".dockerconfigjson"],
        &[],
        DOCKER,
        Json(&["auth", "identitytoken", "password"]),
    ),
    place(
        &["auth.json"],
        &["containers"],
        DOCKER,
        Json(&["auth", "identitytoken", "password"]),
    ),
    place(
        &["auth.json"],
        &[".composer", "composer"],
        COMPOSER,
        Json(&["password", "token", "github.com", "gitlab.com"]),
    ),
    place(
        &[".pypirc"],
        &[],
        PYTHON,
        Lines(b"=:", |name| is_one_of(name, &["password", "token"])),
    ),
    common(
        &["pip.conf", "pip.ini"],
        Certain::In(&["pip", ".pip"]),
        PYTHON,
        Urls,
    ),
    common(
        &["credentials.toml"],
        Certain::In(&[".cargo", "cargo"]),
        CARGO,
        Lines(b"=", |name| is_one_of(name, &["token", "secret-key"])),
    ),
    place(
        &["credentials"],
        &[".cargo"],
        CARGO,
        Lines(b"=", |name| is_one_of(name, &["token"])),
    ),
    common(
        &["gradle.properties"],
        Certain::In(&[".gradle"]),
        GRADLE,
        Lines(b"=:", is_secret_name),
    ),
    place(&[".git-credentials"], &[], GIT, Urls),
    place(&[".gitconfig"], &[], GIT, Urls),
    place(&["config"], &[".git"], GIT, Urls),
    place(
        &["credentials", "config"],
        &[".aws"],
        AWS,
        Lines(b"=", |name| {
            is_one_of(name, &["aws_secret_access_key", "aws_session_token"])
        }),
    ),
    place(&["config"], &[".kube"], KUBE, Lines(b":", is_kube_secret)),
    common(
        &["kubeconfig", "kubeconfig.yaml", "kubeconfig.yml"],
        Certain::In(&[".kube"]),
        KUBE,
        Lines(b":", is_kube_secret),
    ),
    place(
        &["application_default_credentials.json"],
        &[],
        GOOGLE,
        Json(&["refresh_token", "client_secret", "private_key"]),
    ),
    place(
        &["credentials.db", "access_tokens.db"],
        &["gcloud"],
        GOOGLE,
        Whole,
    ),
    place(
        &[
            "accessTokens.json",
            "msal_token_cache.json",
            "service_principal_entries.json",
        ],
        &[".azure"],
        AZURE,
        Json(&["accessToken", "refreshToken", "secret", "client_secret"]),
    ),
    common(
        &["nuget.config", "NuGet.Config", "NuGet.config"],
        Certain::In(&["NuGet", ".nuget"]),
        NUGET,
        Xml,
    ),
    place(
        &["credentials"],
        &[".gem", "gem"],
        GEM,
        Lines(b" ", |name| name.ends_with(b":")),
    ),
    place(
        &[".credentials", "credentials"],
        &[".sbt", ".ivy2"],
        SBT,
        Lines(b"=", |name| is_one_of(name, &["password"])),
    ),
    place(&["credentials.tfrc.json"], &[], TOOL, Json(&["token"])),
    place(&[".vault-token"], &[], TOOL, Whole),
    place(
        &["hosts.yml"],
        &["gh"],
        TOOL,
        Lines(b":", |name| is_one_of(name, &["oauth_token"])),
    ),
    place(&["token"], &["huggingface"], TOOL, Whole),
    place(&[".pgpass"], &[], DATABASE, Whole),
    place(
        &[".my.cnf"],
        &[],
        DATABASE,
        Lines(b"=", |name| is_one_of(name, &["password"])),
    ),
    place(
        &[".s3cfg", "rclone.conf"],
        &[],
        STORAGE,
        Lines(b"=", |name| {
            is_one_of(
                name,
                &[
                    "secret_key",
                    "secret_access_key",
                    "pass",
                    "token",
                    "client_secret",
                ],
            )
        }),
    ),
    common(
        &[
            ".env",
            ".env.local",
            ".env.development",
            ".env.production",
            ".env.staging",
            ".env.test",
        ],
        Certain::Nowhere,
        DOTENV,
        Lines(b"=", is_secret_name),
    ),
    common(
        &[
            "package-lock.json",
            ".package-lock.json",
            "yarn.lock",
            "pnpm-lock.yaml",
        ],
        Certain::Nowhere,
        URL,
        Urls,
    ),
];

fn is_kube_secret(name: &[u8]) -> bool {
    is_one_of(
        name,
        &[
            "token",
            "client-key-data",
            "password",
            "id-token",
            "refresh-token",
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_need_its_directory() {
        assert!(find(b".m2", b"settings.xml").is_some());
        assert!(find(b".docker", b"config.json").is_some());
        assert!(find(b"src", b"config.json").is_none());
        assert_eq!(find(b".cargo", b"credentials").unwrap().kind, CARGO);
        assert_eq!(find(b".aws", b"credentials").unwrap().kind, AWS);
        assert!(find(b"src", b"credentials").is_none());
    }

    #[test]
    fn files_that_projects_have_too_are_not_certain() {
        let certain = |directory: &[u8], name: &[u8]| {
            find(directory, name).is_some_and(|place| place.is_certain(directory))
        };
        assert!(certain(b".gradle", b"gradle.properties"));
        assert!(!certain(b"android", b"gradle.properties"));
        assert!(!certain(b"app", b".env"));
        assert!(!certain(b"", b"package-lock.json"));
        assert!(certain(b"app", b".npmrc"));
        // Data of tests in the source of a package, and the file that a tool reads.
        for (directory, name) in [
            (&b".m2"[..], &b"settings.xml"[..]),
            (b".cargo", b"credentials.toml"),
            (b".kube", b"kubeconfig.yaml"),
            (b"NuGet", b"NuGet.Config"),
            (b"pip", b"pip.conf"),
        ] {
            assert!(certain(directory, name), "{name:?}");
            assert!(find(b"testdata", name).is_some(), "{name:?}");
            assert!(!certain(b"testdata", name), "{name:?}");
        }
        for (directory, name) in [
            (&b"runner"[..], &b".npmrc"[..]),
            (b"runner", b".netrc"),
            (b".docker", b"config.json"),
            (b".kube", b"config"),
        ] {
            assert!(certain(directory, name), "{name:?}");
        }
    }
}
