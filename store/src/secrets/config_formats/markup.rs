//! Settings in XML and JSON, searched without a parser: the names are known, reports need line
//! numbers, and a malformed file may still contain a secret.

use super::Ignore;

/// Elements whose text is a secret.
const SECRET: &[&[u8]] = &[b"password", b"passphrase", b"master"];
/// Names of headers and settings whose `<value>` is a secret, in lower case.
const SECRET_HEADERS: &[&[u8]] = &[
    b"authorization",
    b"private-token",
    b"job-token",
    b"deploy-token",
];

/// Where passwords begin in settings of Maven and NuGet. Those that Maven encrypted count: the key is a
/// file next to them, and how that is encrypted is known to everybody.
pub(super) fn find_xml_passwords(content: &[u8], ignore: Ignore) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut in_secret_header = false;
    while let Some(open) = find_from(content, at, b"<") {
        if content[open..].starts_with(b"<!--") {
            at = find_from(content, open, b"-->").map_or(content.len(), |end| end + 3);
            continue;
        }
        let Some(close) = find_from(content, open, b">") else {
            break;
        };
        let tag = &content[open + 1..close];
        at = close + 1;
        let name = tag
            .split(|byte| byte.is_ascii_whitespace() || *byte == b'/')
            .next()
            .unwrap_or_default();
        let text = text_at(content, at);
        let is_secret = match name {
            b"name" => {
                in_secret_header = SECRET_HEADERS.contains(&&text.to_ascii_lowercase()[..]);
                false
            }
            b"value" => std::mem::take(&mut in_secret_header) && !ignore(text),
            b"add" => {
                let key = tag_attribute(tag, b"key")
                    .unwrap_or_default()
                    .to_ascii_lowercase();
                key.ends_with(b"password")
                    && tag_attribute(tag, b"value").is_some_and(|value| !ignore(value))
            }
            _ => SECRET.contains(&name) && !ignore(text),
        };
        if is_secret {
            found.push(open);
        }
    }
    found
}

/// The text from here to the next tag, or the content of the CDATA section that begins here.
fn text_at(content: &[u8], at: usize) -> &[u8] {
    let rest = content[at..].trim_ascii_start();
    let (rest, end): (&[u8], &[u8]) = match rest.strip_prefix(b"<![CDATA[") {
        Some(section) => (section, b"]]>"),
        None => (rest, b"<"),
    };
    let end = find_from(rest, 0, end).unwrap_or(rest.len());
    rest[..end].trim_ascii()
}

/// The value of an attribute, in quotes of either kind and with blanks where XML allows them.
fn tag_attribute<'a>(tag: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut at = 0;
    while let Some(start) = find_from(tag, at, name) {
        at = start + name.len();
        let follows_blank = start > 0 && tag[start - 1].is_ascii_whitespace();
        let Some(value) = tag[at..].trim_ascii_start().strip_prefix(b"=") else {
            continue;
        };
        if let (true, [quote @ (b'"' | b'\''), value @ ..]) =
            (follows_blank, value.trim_ascii_start())
        {
            let end = value.iter().position(|byte| byte == quote)?;
            return Some(&value[..end]);
        }
    }
    None
}

fn find_from(content: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    let found = content
        .get(from..)?
        .windows(what.len())
        .position(|window| window == what)?;
    Some(from + found)
}

/// Values in the objects of credentials that are not secret.
const HARMLESS: &[&[u8]] = &[
    b"username",
    b"user-agent",
    b"consumer-key",
    b"access-token-expiration",
    b"expires-at",
];

/// Where strings begin that are the value of one of these names, or anywhere in the value of one of
/// `objects`.
pub(super) fn find_json_secrets(
    content: &[u8],
    names: &[&str],
    objects: &[&str],
    ignore: Ignore,
) -> Vec<usize> {
    let mut found = Vec::new();
    for (start, value) in values_of(content, names) {
        let value = &content[value..];
        if value.first() == Some(&b'"') && !ignore(string(value)) {
            found.push(start);
        }
    }
    for (_, value) in values_of(content, objects) {
        found.extend(strings_in(content, value, ignore));
    }
    found.sort_unstable();
    found
}

/// Where these names and their values begin.
fn values_of(content: &[u8], names: &[&str]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for name in names {
        let quoted = format!("\"{name}\"");
        let mut at = 0;
        while let Some(start) = find_from(content, at, quoted.as_bytes()) {
            at = start + quoted.len();
            if let Some(value) = content[at..].trim_ascii_start().strip_prefix(b":") {
                let value = value.trim_ascii_start();
                found.push((start, content.len() - value.len()));
            }
        }
    }
    found
}

/// The string that begins here with its quote, up to the next quote that is not escaped.
fn string(text: &[u8]) -> &[u8] {
    let inner = text.get(1..).unwrap_or_default();
    let mut is_escaped = false;
    let end = inner.iter().position(|byte| {
        let ends = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        ends
    });
    &inner[..end.unwrap_or(inner.len())]
}

/// Where strings begin that are values in the object, the list or the string at `start`.
fn strings_in(content: &[u8], start: usize, ignore: Ignore) -> Vec<usize> {
    let mut found = Vec::new();
    let (mut at, mut depth, mut is_harmless) = (start, 0_usize, false);
    while let Some(byte) = content.get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let text = string(&content[at..]);
                let end = (at + text.len() + 2).min(content.len());
                if content[end..].trim_ascii_start().first() == Some(&b':') {
                    is_harmless = HARMLESS.contains(&&text.to_ascii_lowercase()[..]);
                } else if !is_harmless && !ignore(text) {
                    found.push(at);
                }
                at = end - 1;
            }
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::super::text_encoding::is_reference;
    use super::*;

    #[test]
    fn settings_of_maven() {
        let found = |text: &str| find_xml_passwords(text.as_bytes(), is_reference).len();
        assert_eq!(
            found("<server><username>u</username><password>hunter22</password></server>"),
            1
        );
        assert_eq!(
            found("<server><password>{COQLCE6DU6GtcS5P=}</password></server>"),
            1
        );
        assert_eq!(
            found("<server><password>${env.PASSWORD}</password></server>"),
            0
        );
        assert_eq!(found("<!-- <password>repopwd</password> -->"), 0);
        let section = "<password>\n  <![CDATA[a<b&17]]></password><username>u</username>";
        assert_eq!(found(section), 1);
        assert_eq!(found(&section.replace("a<b&17", "${env.PASSWORD}")), 0);
        assert_eq!(
            found(
                "<settingsSecurity><master>{jSMOWnoPFgsHVpMvz5VrIt5kRbzGpI8u}</master></settingsSecurity>"
            ),
            1
        );
        let header = "<property><name>Job-Token</name><value>V4LUE17x</value></property>";
        assert_eq!(found(header), 1);
        assert_eq!(found(&header.replace("Job-Token", "Accept")), 0);
    }

    #[test]
    fn sources_of_nuget() {
        let text = br#"<add key="Username" value="me" /> <add key="ClearTextPassword" value="hunter22" />"#;
        assert_eq!(find_xml_passwords(text, is_reference).len(), 1);
        let text = b"<add\n\tvalue = 'hunter22'\n\tkey='ClearTextPassword' />";
        assert_eq!(find_xml_passwords(text, is_reference).len(), 1);
    }

    #[test]
    fn values_in_json() {
        let found = |text: &str| {
            find_json_secrets(text.as_bytes(), &["auth"], &["bearer"], is_reference).len()
        };
        let text = r#"{"auths": {"r.test": {"auth": "bWU6aHVudGVy"}, "s.test": {"auth": ""}}}"#;
        assert_eq!(found(text), 1);
        assert_eq!(found(r#"{"credsStore": "pass"}"#), 0);
        let text = r#"{"bearer": {"a.test": "x\"y17", "b.test": {"username": "me", "token": "t17"}, "c.test": "${C}", "d": ["Key: h17"]}, "other": "o"}"#;
        assert_eq!(found(text), 3);
        assert_eq!(found(r#"{"bearer": {"a.test": "cut"#), 1);
        assert_eq!(found(r#"{"bearer": {}, "other": {"a": "b"}}"#), 0);
    }

    #[test]
    fn credentials_of_docker_and_composer() {
        let found = |directory: &str, name: &str, text: &str| {
            let place =
                super::super::find_credential_file(directory.as_bytes(), name.as_bytes()).unwrap();
            place.read(directory.as_bytes(), text.as_bytes()).len()
        };
        let docker = r#"{"HttpHeaders": {"User-Agent": "Docker/1", "X-Meta-Auth": "h17"}}"#;
        assert_eq!(found(".docker", "config.json", docker), 1);
        let composer = r#"{"bearer": {"r.test": "b17"}, "gitlab-token": {"g.test": "g17"},
            "http-basic": {"h.test": {"username": "me", "password": "p17"}},
            "github-oauth": {"github.com": "o17"}}"#;
        for directory in [".composer", "composer", "app"] {
            assert_eq!(found(directory, "auth.json", composer), 4, "{directory}");
        }
        assert_eq!(
            found("app", "auth.json", r#"{"token": "of another program"}"#),
            0
        );
    }
}
