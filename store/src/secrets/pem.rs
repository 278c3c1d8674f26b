//! Private keys as text: PEM, OpenSSH, PGP, PuTTY and age; encrypted ones too, as a passphrase is
//! all that is between the key and a reader.

use std::ops::Range;

use super::text::{is_alnum, is_base64, is_random, run};

/// So far behind the first line the key itself is looked for.
const REACH: usize = 1200;
/// The shortest key, an Ed25519 key, has so many characters.
const SHORTEST: usize = 60;
/// The first line of a key is longer than names and words are.
const FIRST_LINE: usize = 40;

/// Whether a private key begins where `PRIVATE KEY` was found.
///
/// Programs contain the line as a constant, and documents with dots behind it; only where enough
/// base64 follows there is a key. It may be in a string with `\n` for the ends of lines.
pub(super) fn is_key(content: &[u8], at: Range<usize>) -> bool {
    let line = &content[at.start.saturating_sub(40)..at.start];
    let Some(begin) = line.windows(6).rposition(|word| word == b"BEGIN ") else {
        return false;
    };
    let type_name = &line[begin + 6..];
    if !line[..begin].trim_ascii_end().ends_with(b"----")
        || !type_name
            .iter()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ')
    {
        return false;
    }
    let rest = &content[at.end..content.len().min(at.end + REACH)];
    let rest = rest.strip_prefix(b" BLOCK").unwrap_or(rest);
    let rest = rest.trim_ascii_start();
    if !rest.starts_with(b"----") {
        return false;
    }
    let rest = &rest[run(rest, |byte| byte == b'-', 5).len()..];
    let end = rest
        .windows(4)
        .position(|word| word == b"END ")
        .unwrap_or(rest.len());
    has_key_lines(&rest[..end])
}

/// Whether the lines of a key follow, after headers perhaps.
fn has_key_lines(mut bytes: &[u8]) -> bool {
    let mut length = 0;
    while !bytes.is_empty() {
        // The end of a line within a string is no part of the next.
        if let Some(rest) = bytes.strip_prefix(b"\\n").or(bytes.strip_prefix(b"\\r")) {
            bytes = rest;
            continue;
        }
        let run = run(bytes, is_base64, usize::MAX);
        let is_first = length == 0;
        if run.len() >= FIRST_LINE || (!is_first && run.len() >= 16) {
            if is_first && !is_key_line(run) {
                return false;
            }
            length += run.len();
            if length >= SHORTEST {
                return true;
            }
        }
        bytes = &bytes[run.len().max(1)..];
    }
    false
}

/// A line of a key, rather than `AAAA` or a name.
fn is_key_line(line: &[u8]) -> bool {
    line.iter().any(u8::is_ascii_uppercase)
        && line.iter().any(u8::is_ascii_lowercase)
        && line.iter().any(u8::is_ascii_digit)
}

/// Whether a PuTTY key begins here: its private part is in the same file.
pub(super) fn is_putty_key(content: &[u8], at: Range<usize>) -> bool {
    const PRIVATE: &[u8] = b"Private-Lines: ";
    let rest = &content[at.end..content.len().min(at.end + 8 * REACH)];
    let lines = rest.windows(PRIVATE.len()).position(|word| word == PRIVATE);
    lines.is_some_and(|lines| {
        let rest = &rest[lines + PRIVATE.len()..];
        let number = run(rest, |byte| byte.is_ascii_digit(), 4);
        let line = run(rest[number.len()..].trim_ascii_start(), is_base64, 65);
        !number.is_empty() && line.len() >= 24 && is_key_line(line)
    })
}

/// Whether an age identity begins here: 58 characters of bech32 follow.
pub(super) fn is_age_key(content: &[u8], at: Range<usize>) -> bool {
    let body = run(&content[at.end..], is_alnum, 59);
    body.len() == 58 && !body.iter().any(u8::is_ascii_lowercase) && is_random(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj";

    fn found(text: &str) -> bool {
        text.match_indices("PRIVATE KEY")
            .any(|(at, found)| is_key(text.as_bytes(), at..at + found.len()))
    }

    fn block(name: &str, separator: &str, body: &str) -> String {
        format!("-----BEGIN {name}-----{separator}{body}{separator}-----END {name}-----")
    }

    #[test]
    fn keys_of_every_kind() {
        let key = format!("{}{}", "PRIVATE", " KEY");
        for name in [
            key.clone(),
            format!("RSA {key}"),
            format!("OPENSSH {key}"),
            format!("ENCRYPTED {key}"),
            format!("PGP {key} BLOCK"),
        ] {
            assert!(found(&block(&name, "\n", LINE)), "{name}");
            assert!(found(&block(&name, "\\n", LINE)), "{name} in a string");
            assert!(found(&block(&name, "\r\n", LINE)), "{name} with CRLF");
        }
        let headers = format!("Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n{LINE}");
        assert!(found(&block(&format!("EC {key}"), "\n", &headers)));
        assert!(found(&format!("'-----BEGIN {key}-----\\n' +\n  '{LINE}'")));
    }

    #[test]
    fn putty_keys() {
        let file = format!("PuTTY-User-Key-File-2: ssh-rsa\r\nPrivate-Lines: 1\r\n{LINE}\r\n");
        assert!(is_putty_key(file.as_bytes(), 0..20));
        let code = b"'PuTTY-User-Key-File-2: ' + name; lines = 'Private-Lines: ' + aVeryLongNameOfAnIdentifier1;";
        assert!(!is_putty_key(code, 1..21));
    }

    #[test]
    fn lines_without_a_key() {
        let key = format!("{}{}", "PRIVATE", " KEY");
        assert!(!found(&block(&key, "\n", "...")));
        assert!(!found(&block(&key, "\n", &"A".repeat(64))));
        assert!(!found(&format!(
            "const BEGIN = \"-----BEGIN {key}-----\"; decode(theBytesOfTheKeyThatFollow)"
        )));
        assert!(!found("the PRIVATE KEY of a user"));
        assert!(!found(&block("PUBLIC KEY", "\n", LINE)));
    }
}
