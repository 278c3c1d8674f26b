//! Private keys as text: PEM, OpenSSH, PGP, PuTTY and age; encrypted ones too, as a passphrase is
//! all that is between the key and a reader.

use std::ops::Range;

use super::text::{is_alnum, is_base64, is_random, run};

/// So far behind the first line the key itself is looked for.
const REACH: usize = 1200;
/// The shortest key, an Ed25519 key, has so many characters.
const SHORTEST: usize = 60;

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
    has_base64(&rest[..end], SHORTEST)
}

/// Whether there are `least` characters of base64 in long runs.
fn has_base64(mut bytes: &[u8], least: usize) -> bool {
    let mut length = 0;
    let mut all_random = true;
    while !bytes.is_empty() {
        // The end of a line within a string is no part of the next.
        if let Some(rest) = bytes.strip_prefix(b"\\n").or(bytes.strip_prefix(b"\\r")) {
            bytes = rest;
            continue;
        }
        let run = run(bytes, is_base64, usize::MAX);
        if run.len() >= 16 {
            length += run.len();
            all_random &= is_key_line(run);
            if length >= least {
                return all_random;
            }
        }
        bytes = &bytes[run.len().max(1)..];
    }
    false
}

/// A line of a key, rather than of `AAAA` or of prose without spaces.
fn is_key_line(line: &[u8]) -> bool {
    let mut present = [false; 256];
    line.iter()
        .for_each(|byte| present[usize::from(*byte)] = true);
    present.iter().filter(|present| **present).count() >= 8.min(line.len() / 2)
}

/// Whether a PuTTY key begins here: its private part is in the same file.
pub(super) fn is_putty_key(content: &[u8], at: Range<usize>) -> bool {
    let rest = &content[at.end..content.len().min(at.end + 8 * REACH)];
    rest.windows(14)
        .position(|word| word == b"Private-Lines:")
        .is_some_and(|lines| has_base64(&rest[lines..], 24))
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
