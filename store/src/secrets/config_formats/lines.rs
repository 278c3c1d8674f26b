//! Settings, one a line.

use super::Ignore;

/// Whether a name is one of these.
pub(super) fn is_one_of(name: &[u8], names: &[&str]) -> bool {
    names.iter().any(|known| known.as_bytes() == name)
}

/// Ends of the names of secret settings, in lower case and without separators.
const SECRET: &[&[u8]] = &[
    b"password",
    b"passwd",
    b"passphrase",
    b"secret",
    b"token",
    b"apikey",
    b"secretkey",
    b"accesskey",
    b"privatekey",
];

/// Whether the name of a setting suggests a secret, whatever the tool.
pub(super) fn is_secret_name(name: &[u8]) -> bool {
    let plain: Vec<u8> = name
        .iter()
        .filter(|byte| byte.is_ascii_alphanumeric())
        .map(u8::to_ascii_lowercase)
        .collect();
    SECRET.iter().any(|end| plain.ends_with(end))
}

/// Where secret values begin, in files whose settings are one a line.
pub(super) fn find_line_secrets(
    content: &[u8],
    separators: &[u8],
    is_secret: fn(&[u8]) -> bool,
    ignore: Ignore,
) -> Vec<usize> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        let at = start;
        start += line.len();
        let line = line.trim_ascii();
        let line = line.strip_prefix(b"export ").unwrap_or(line);
        let line = line.strip_prefix(b"- ").unwrap_or(line);
        if matches!(line.first(), Some(b'#' | b';' | b'!') | None) {
            continue;
        }
        let Some(split) = line.iter().position(|byte| separators.contains(byte)) else {
            continue;
        };
        let (name, value) = (strip_quotes(&line[..split]), value_of(&line[split + 1..]));
        if is_secret(name) && !ignore(value) {
            found.push(at);
        }
    }
    found
}

/// The value of a setting without its quotes and a comment behind it.
fn value_of(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii();
    if let [quote @ (b'"' | b'\''), rest @ ..] = text
        && let Some(end) = rest.iter().position(|byte| byte == quote)
        && (rest[end + 1..].is_empty() || comment_at(&rest[end + 1..]) == Some(0))
    {
        return &rest[..end];
    }
    text[..comment_at(text).unwrap_or(text.len())].trim_ascii()
}

/// Where a blank and the sign of a comment begin.
fn comment_at(text: &[u8]) -> Option<usize> {
    text.windows(2)
        .position(|it| it[0].is_ascii_whitespace() && matches!(it[1], b'#' | b';'))
}

fn strip_quotes(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii();
    match text {
        [b'"', inner @ .., b'"'] | [b'\'', inner @ .., b'\''] => inner,
        _ => text,
    }
}

/// Where lines with a password begin.
pub(super) fn find_netrc_passwords(content: &[u8], ignore: Ignore) -> Vec<usize> {
    let mut found = Vec::new();
    let mut expects = false;
    let mut start = 0;
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        if line.trim_ascii_start().first() != Some(&b'#') {
            for word in line
                .split(u8::is_ascii_whitespace)
                .filter(|word| !word.is_empty())
            {
                if expects && !ignore(word) {
                    found.push(start);
                }
                expects = !expects && word == b"password";
            }
        }
        start += line.len();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::find_credential_file;

    /// The lines with a finding.
    fn lines(directory: &str, name: &str, text: &str) -> Vec<u64> {
        let place = find_credential_file(directory.as_bytes(), name.as_bytes()).unwrap();
        let found = place.read(directory.as_bytes(), text.as_bytes());
        found
            .into_iter()
            .map(|at| super::super::super::text_encoding::line_of(text.as_bytes(), at))
            .collect()
    }

    #[test]
    fn settings_of_package_managers() {
        let npmrc = "registry=https://r.test/\n//r.test/:_authToken=abcDEF123\n//s.test/:_authToken=${NPM_TOKEN}\n_auth = dXNlcjpodW50ZXI=\n# _password=x\n";
        assert_eq!(lines("", ".npmrc", npmrc), [2, 4]);
        let sample = "//r.test/:_authToken=abc0123456789example\n";
        assert_eq!(lines("", ".npmrc", sample), [1], "whatever it looks like");
        assert_eq!(
            lines(
                "",
                ".yarnrc.yml",
                "npmScopes:\n  a:\n    npmAuthToken: \"abc-17\"\n"
            ),
            [3]
        );
        let yarnrc = "npmAuthToken: \"abc\" # ${X}\nnpmAuthToken: abc${X}\nnpmAuthToken: \"${T-real}\"\nnpmAuthToken: \"${X}\" # of the job\nnpmAuthToken: ${X} # of the job\n";
        assert_eq!(lines("", ".yarnrc.yml", yarnrc), [1, 2, 3]);
        assert_eq!(
            lines(
                ".cargo",
                "credentials.toml",
                "[registry]\ntoken = \"cio17\"\n"
            ),
            [2]
        );
        assert_eq!(
            lines(
                "",
                ".pypirc",
                "[pypi]\nusername = me\npassword = hunter22\n"
            ),
            [3]
        );
        assert_eq!(
            lines(
                ".gradle",
                "gradle.properties",
                "org.gradle.daemon=true\nnexusPassword=hunter22\nsigning.key-id=1\napi_token: ${x}\n"
            ),
            [2]
        );
    }

    #[test]
    fn settings_of_clouds_and_machines() {
        assert_eq!(
            lines(
                ".aws",
                "credentials",
                "[default]\naws_access_key_id = A\naws_secret_access_key = b17\n"
            ),
            [3]
        );
        assert_eq!(
            lines(
                ".kube",
                "config",
                "users:\n- name: a\n  user:\n    client-key-data: LS0tLS1C\n"
            ),
            [4]
        );
        assert_eq!(
            lines(
                "",
                ".netrc",
                "machine a.test login me password hunter22\nmachine b\n  password\n  other22\n"
            ),
            [1, 4]
        );
        assert_eq!(
            lines(".gem", "credentials", "---\n:rubygems_api_key: abc17\n"),
            [2]
        );
        assert_eq!(
            lines(
                "",
                ".env",
                "export DB_PASSWORD='hunter22'\nPORT=80\nAPI_TOKEN=\n"
            ),
            [1]
        );
    }
}
