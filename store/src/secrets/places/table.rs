//! The places.

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
    /// Whether it counts in a published package too.
    pub(in super::super) everywhere: bool,
    pub(super) reader: Reader,
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
        everywhere: true,
        reader,
    }
}

/// A file that packages contain as a sample, or that others generate.
const fn common(names: &'static [&'static str], kind: Kind, reader: Reader) -> Place {
    Place {
        names,
        directories: &[],
        kind,
        everywhere: false,
        reader,
    }
}

const MAVEN: Kind = Kind::new("maven-password", "password in settings of Maven");
const NPM: Kind = Kind::new("npmrc", "credential of npm");
const YARN: Kind = Kind::new("yarnrc", "credential of Yarn");
const NETRC: Kind = Kind::new("netrc", "password of .netrc");
const DOCKER: Kind = Kind::new("registry-auth", "credential of a container registry");
const COMPOSER: Kind = Kind::new("composer-auth", "credential of Composer");
const PYTHON: Kind = Kind::new("python-index", "password of a Python index");
const CARGO: Kind = Kind::new("cargo-token", "token of a cargo registry");
const GRADLE: Kind = Kind::new("gradle-properties", "password or token of Gradle");
const GIT: Kind = Kind::new("git-credentials", "credential of git");
const AWS: Kind = Kind::new("aws-credentials", "credential of AWS");
const KUBE: Kind = Kind::new("kubeconfig", "credential of a Kubernetes cluster");
const GOOGLE: Kind = Kind::new("gcloud-credentials", "credential of Google Cloud");
const AZURE: Kind = Kind::new("azure-credentials", "credential of Azure");
const NUGET: Kind = Kind::new("nuget-password", "password of a NuGet source");
const GEM: Kind = Kind::new("gem-credentials", "credential of RubyGems");
const SBT: Kind = Kind::new("sbt-credentials", "password of sbt");
const TOOL: Kind = Kind::new("tool-token", "token of a command-line tool");
const DATABASE: Kind = Kind::new("database-password", "password of a database");
const STORAGE: Kind = Kind::new("storage-credentials", "credential of an object store");
const DOTENV: Kind = Kind::new("dotenv", "secret in an environment file");
const URL: Kind = Kind::new("url-password", "password in a URL");

static PLACES: &[Place] = &[
    place(&["settings.xml", "settings-security.xml"], &[], MAVEN, Xml),
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
    place(&["pip.conf", "pip.ini"], &[], PYTHON, Urls),
    place(
        &["credentials.toml"],
        &[],
        CARGO,
        Lines(b"=", |name| is_one_of(name, &["token", "secret-key"])),
    ),
    place(
        &["credentials"],
        &[".cargo"],
        CARGO,
        Lines(b"=", |name| is_one_of(name, &["token"])),
    ),
    place(
        &["gradle.properties"],
        &[],
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
    place(
        &["kubeconfig", "kubeconfig.yaml", "kubeconfig.yml"],
        &[],
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
    place(
        &["nuget.config", "NuGet.Config", "NuGet.config"],
        &[],
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
}
