//! URLs with a password in them.

use super::Ignore;

/// A name before `@` without a password is a token from this length on.
const TOKEN: usize = 20;
/// With letters and digits, from this length on; shorter ones are names of users.
const MIXED_TOKEN: usize = 8;

/// Where URLs with a password begin, and headers that git sends.
pub(super) fn find_url_passwords(content: &[u8], ignore: Ignore) -> Vec<usize> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        let setting = line.trim_ascii().to_ascii_lowercase();
        // This is how CI systems give git a token.
        let is_header = setting.starts_with(b"extraheader")
            && setting.windows(14).any(|word| word == b"authorization:");
        if is_header || has_password(line, ignore) {
            found.push(start);
        }
        start += line.len();
    }
    found
}

fn has_password(line: &[u8], ignore: Ignore) -> bool {
    let mut rest = line;
    while let Some(at) = rest.windows(3).position(|mark| mark == b"://") {
        rest = &rest[at + 3..];
        let end = rest
            .iter()
            .position(|byte| {
                byte.is_ascii_whitespace()
                    || matches!(byte, b'/' | b'"' | b'\'' | b'<' | b'>' | b'?' | b'#')
            })
            .unwrap_or(rest.len());
        let Some(host) = rest[..end].iter().rposition(|byte| *byte == b'@') else {
            continue;
        };
        let user = &rest[..host];
        let is_secret = match user.iter().position(|byte| *byte == b':') {
            Some(colon) => !ignore(&user[colon + 1..]),
            None => is_token(user) && !ignore(user),
        };
        if is_secret {
            return true;
        }
    }
    false
}

fn is_token(user: &[u8]) -> bool {
    let has = |is: fn(&u8) -> bool| user.iter().any(is);
    let is_mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
    user.len() >= TOKEN || (user.len() >= MIXED_TOKEN && is_mixed)
}

#[cfg(test)]
mod tests {
    use super::super::super::text_encoding::is_reference;
    use super::*;

    #[test]
    fn passwords_and_tokens_before_the_host() {
        let found = |text: &str| find_url_passwords(text.as_bytes(), is_reference).len();
        assert_eq!(found("https://me:hunter22@git.test\n"), 1);
        assert_eq!(
            found("[global]\nindex-url = https://me:hunter22@pypi.test/simple\n"),
            1
        );
        assert_eq!(found("https://Zk3vQ9sLx81mN2pR7tWb@git.test\n"), 1);
        assert_eq!(found("https://tk17Zk3vQ9s@git.test\n"), 1);
        assert_eq!(found("https://git@git.test/a:b\n"), 0);
        assert_eq!(found("https://some.developer@git.test\n"), 0);
        assert_eq!(found("https://me:${TOKEN}@git.test\n"), 0);
        assert_eq!(found("https://r.test/@scope/package/-/package-1.tgz\n"), 0);
        assert_eq!(
            found("[http]\n\textraheader = AUTHORIZATION: basic eHg=\n"),
            1
        );
    }
}
