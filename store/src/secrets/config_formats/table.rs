//! The table of credential files.

use super::super::secret_kind::SecretKind;
use super::CredentialReader;
use super::CredentialReader::{Json, Lines, Netrc, Urls, Whole, Xml};
use super::lines::{is_one_of, is_secret_name};

/// A file that is known to hold secrets.
pub(in super::super) struct CredentialFile {
    names: &'static [&'static str],
    /// The directory it must be in; any when empty.
    directories: &'static [&'static str],
    pub(in super::super) kind: SecretKind,
    certain: Certain,
    pub(super) reader: CredentialReader,
}

/// Where a file of some name exists to hold credentials.
enum Certain {
    Everywhere,
    /// Directly in a directory of one of these names only; elsewhere projects have files of that name,
    /// such as samples and the data of tests.
    In(&'static [&'static str]),
    Nowhere,
}

impl CredentialFile {
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
pub(in super::super) fn find_credential_file(
    directory: &[u8],
    name: &[u8],
) -> Option<&'static CredentialFile> {
    // Nearly every file is ruled out by the first letter and the length of its name.
    PLACES.iter().find(|place| {
        place.names.iter().any(|known| known.as_bytes() == name)
            && (place.directories.is_empty()
                || place
                    .directories
                    .iter()
                    .any(|known| known.as_bytes() == directory))
    })
}

const fn credential_file(
    names: &'static [&'static str],
    directories: &'static [&'static str],
    kind: SecretKind,
    reader: CredentialReader,
) -> CredentialFile {
    CredentialFile {
        names,
        directories,
        kind,
        certain: Certain::Everywhere,
        reader,
    }
}

/// A file that projects and packages have too, as a build setting, a sample or a lock file.
const fn common_file(
    names: &'static [&'static str],
    certain: Certain,
    kind: SecretKind,
    reader: CredentialReader,
) -> CredentialFile {
    CredentialFile {
        names,
        directories: &[],
        kind,
        certain,
        reader,
    }
}

const MAVEN: SecretKind = SecretKind::new("maven-password", "password in Maven settings");
const NPM: SecretKind = SecretKind::new("npmrc", "npm credential");
const YARN: SecretKind = SecretKind::new("yarnrc", "Yarn credential");
const NETRC: SecretKind = SecretKind::new("netrc", "password in .netrc");
const DOCKER: SecretKind = SecretKind::new("registry-auth", "container registry credential");
const COMPOSER: SecretKind = SecretKind::new("composer-auth", "Composer credential");
const PYTHON: SecretKind = SecretKind::new("python-index", "Python index password");
const CARGO: SecretKind = SecretKind::new("cargo-token", "cargo registry token");
const GRADLE: SecretKind = SecretKind::new("gradle-properties", "Gradle password or token");
const GIT: SecretKind = SecretKind::new("git-credentials", "git credential");
const AWS: SecretKind = SecretKind::new("aws-credentials", "AWS credential");
const KUBE: SecretKind = SecretKind::new("kubeconfig", "Kubernetes credential");
const GOOGLE: SecretKind = SecretKind::new("gcloud-credentials", "Google Cloud credential");
const AZURE: SecretKind = SecretKind::new("azure-credentials", "Azure credential");
const NUGET: SecretKind = SecretKind::new("nuget-password", "NuGet source password");
const GEM: SecretKind = SecretKind::new("gem-credentials", "RubyGems credential");
const SBT: SecretKind = SecretKind::new("sbt-credentials", "sbt password");
const TOOL: SecretKind = SecretKind::new("tool-token", "command-line tool token");
const DATABASE: SecretKind = SecretKind::new("database-password", "database password");
const STORAGE: SecretKind = SecretKind::new("storage-credentials", "object store credential");
const DOTENV: SecretKind = SecretKind::new("dotenv", "secret in an environment file");
const URL: SecretKind = SecretKind::new("url-password", "password in a URL");

static PLACES: &[CredentialFile] = &[
    common_file(
        &["settings.xml", "settings-security.xml"],
        Certain::In(&[".m2", "conf"]),
        MAVEN,
        Xml,
    ),
    credential_file(
        &[".npmrc", "npmrc"],
        &[],
        NPM,
        Lines(b"=", |name| {
            [&b"_authToken"[..], b"_auth", b"_password"]
                .iter()
                .any(|end| name.ends_with(end))
        }),
    ),
    credential_file(
        &[".yarnrc.yml"],
        &[],
        YARN,
        Lines(b":", |name| {
            is_one_of(name, &["npmAuthToken", "npmAuthIdent"])
        }),
    ),
    credential_file(&[".netrc", "_netrc"], &[], NETRC, Netrc),
    credential_file(
        &["config.json"],
        &[".docker"],
        DOCKER,
        Json(
            &["auth", "identitytoken", "registrytoken", "password"],
            &["HttpHeaders"],
        ),
    ),
    credential_file(
        &[".dockercfg", ".dockerconfigjson"],
        &[],
        DOCKER,
        Json(&["auth", "identitytoken", "password"], &[]),
    ),
    credential_file(
        &["auth.json"],
        &["containers"],
        DOCKER,
        Json(&["auth", "identitytoken", "password"], &[]),
    ),
    credential_file(
        // Of the user, and of a project beside its `composer.json`.
        &["auth.json"],
        &[],
        COMPOSER,
        Json(
            &[],
            &[
                "http-basic",
                "bearer",
                "github-oauth",
                "gitlab-oauth",
                "gitlab-token",
                "bitbucket-oauth",
                "forgejo-token",
                "custom-headers",
            ],
        ),
    ),
    credential_file(
        &[".pypirc"],
        &[],
        PYTHON,
        Lines(b"=:", |name| is_one_of(name, &["password", "token"])),
    ),
    common_file(
        &["pip.conf", "pip.ini"],
        Certain::In(&["pip", ".pip"]),
        PYTHON,
        Urls,
    ),
    common_file(
        &["credentials.toml"],
        Certain::In(&[".cargo", "cargo"]),
        CARGO,
        Lines(b"=", |name| is_one_of(name, &["token", "secret-key"])),
    ),
    credential_file(
        &["credentials"],
        &[".cargo"],
        CARGO,
        Lines(b"=", |name| is_one_of(name, &["token"])),
    ),
    common_file(
        &["gradle.properties"],
        Certain::In(&[".gradle"]),
        GRADLE,
        Lines(b"=:", is_secret_name),
    ),
    credential_file(&[".git-credentials"], &[], GIT, Urls),
    credential_file(&[".gitconfig"], &[], GIT, Urls),
    credential_file(&["config"], &[".git"], GIT, Urls),
    credential_file(
        &["credentials", "config"],
        &[".aws"],
        AWS,
        Lines(b"=", |name| {
            is_one_of(name, &["aws_secret_access_key", "aws_session_token"])
        }),
    ),
    credential_file(&["config"], &[".kube"], KUBE, Lines(b":", is_kube_secret)),
    common_file(
        &["kubeconfig", "kubeconfig.yaml", "kubeconfig.yml"],
        Certain::In(&[".kube"]),
        KUBE,
        Lines(b":", is_kube_secret),
    ),
    credential_file(
        &["application_default_credentials.json"],
        &[],
        GOOGLE,
        Json(&["refresh_token", "client_secret", "private_key"], &[]),
    ),
    credential_file(
        &["credentials.db", "access_tokens.db"],
        &["gcloud"],
        GOOGLE,
        Whole,
    ),
    credential_file(
        &[
            "accessTokens.json",
            "msal_token_cache.json",
            "service_principal_entries.json",
        ],
        &[".azure"],
        AZURE,
        Json(
            &["accessToken", "refreshToken", "secret", "client_secret"],
            &[],
        ),
    ),
    common_file(
        &["nuget.config", "NuGet.Config", "NuGet.config"],
        Certain::In(&["NuGet", ".nuget"]),
        NUGET,
        Xml,
    ),
    credential_file(
        &["credentials"],
        &[".gem", "gem"],
        GEM,
        Lines(b" ", |name| name.ends_with(b":")),
    ),
    credential_file(
        &[".credentials", "credentials"],
        &[".sbt", ".ivy2"],
        SBT,
        Lines(b"=", |name| is_one_of(name, &["password"])),
    ),
    credential_file(&["credentials.tfrc.json"], &[], TOOL, Json(&["token"], &[])),
    credential_file(&[".vault-token"], &[], TOOL, Whole),
    credential_file(
        &["hosts.yml"],
        &["gh"],
        TOOL,
        Lines(b":", |name| is_one_of(name, &["oauth_token"])),
    ),
    credential_file(&["token"], &["huggingface"], TOOL, Whole),
    credential_file(&[".pgpass"], &[], DATABASE, Whole),
    credential_file(
        &[".my.cnf"],
        &[],
        DATABASE,
        Lines(b"=", |name| is_one_of(name, &["password"])),
    ),
    credential_file(
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
    common_file(
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
    common_file(
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
        assert!(find_credential_file(b".m2", b"settings.xml").is_some());
        assert!(find_credential_file(b".docker", b"config.json").is_some());
        assert!(find_credential_file(b"src", b"config.json").is_none());
        assert_eq!(
            find_credential_file(b".cargo", b"credentials")
                .unwrap()
                .kind,
            CARGO
        );
        assert_eq!(
            find_credential_file(b".aws", b"credentials").unwrap().kind,
            AWS
        );
        assert!(find_credential_file(b"src", b"credentials").is_none());
    }

    #[test]
    fn files_that_projects_have_too_are_not_certain() {
        let certain = |directory: &[u8], name: &[u8]| {
            find_credential_file(directory, name).is_some_and(|place| place.is_certain(directory))
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
            assert!(
                find_credential_file(b"testdata", name).is_some(),
                "{name:?}"
            );
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
