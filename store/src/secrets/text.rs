//! Looking at bytes as text.

/// How much of a file decides whether it is text.
const HEAD: usize = 8 << 10;

/// Whether bytes look like text: no zero near the beginning.
pub(super) fn is_text(content: &[u8]) -> bool {
    !content[..content.len().min(HEAD)].contains(&0)
}

/// The number, from 1, of the line that holds a position.
pub(super) fn line_of(content: &[u8], position: usize) -> u64 {
    let before = &content[..position.min(content.len())];
    1 + before.iter().filter(|byte| **byte == b'\n').count() as u64
}

pub(super) fn is_alnum(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

/// The characters of base64 in URLs.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

pub(super) fn is_hex(byte: u8) -> bool {
    byte.is_ascii_hexdigit()
}

/// The characters of plain base64, without the padding.
pub(super) fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
}

/// The bytes at the front of `bytes` that are of a class, `limit` at most.
pub(super) fn leading_run(bytes: &[u8], class: fn(u8) -> bool, limit: usize) -> &[u8] {
    let bytes = &bytes[..bytes.len().min(limit)];
    let length = bytes.iter().position(|byte| !class(*byte));
    &bytes[..length.unwrap_or(bytes.len())]
}

fn contains_bytes(content: &[u8], wanted: &[u8]) -> bool {
    content.windows(wanted.len()).any(|window| window == wanted)
}

/// Words of values that stand for a value to be filled in, lower case.
const STAND_INS: &[&[u8]] = &[
    b"example",
    b"xxxx",
    b"changeme",
    b"change_me",
    b"change-me",
    b"changeit",
    b"placeholder",
    b"dummy",
    b"redacted",
    b"your",
    b"****",
    b"....",
    b"1234567890",
    b"0123456789",
    b"abcdefgh",
    b"deadbeef",
    b"notasecret",
    b"not_a_secret",
    b"not-a-secret",
];

fn has_stand_in(value: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    STAND_INS.iter().any(|word| contains_bytes(&lower, word))
}

/// Whether a token's variable part could have been drawn at random.
pub(super) fn is_random(value: &[u8]) -> bool {
    let mut present = [false; 256];
    for byte in value {
        present[usize::from(*byte)] = true;
    }
    let different = present.iter().filter(|present| **present).count();
    let only_words = value
        .iter()
        .all(|byte| byte.is_ascii_lowercase() || *byte == b'-' || *byte == b'_');
    different >= 8.min(value.len() / 2) && !only_words && !has_stand_in(value)
}

/// Values of passwords that are none.
const NO_VALUES: &[&[u8]] = &[
    b"password",
    b"passwd",
    b"secret",
    b"token",
    b"none",
    b"null",
    b"nil",
    b"true",
    b"false",
    b"undefined",
    b"pass",
    b"test",
];

/// Whether a value in a credential file is not a credential: empty, masked, or a reference to a
/// variable. Any other value there is a credential, even one that looks like a sample.
pub(super) fn is_reference(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    let refers = [&b"${"[..], b"{{", b"$(", b"%(", b"<%"]
        .iter()
        .any(|mark| contains_bytes(value, mark));
    let brackets = matches!(
        (value.first(), value.last()),
        (Some(b'<'), Some(b'>')) | (Some(b'%'), Some(b'%'))
    );
    let variable = value.first() == Some(&b'$') && value[1..].iter().all(|byte| is_word(*byte));
    let masked = value.iter().all(|byte| matches!(byte, b'*' | b'.' | b'-'));
    refers || brackets || variable || masked
}

/// Whether the value of a setting whose name suggests a secret is obviously none: a reference, or
/// a sample.
pub(super) fn is_placeholder(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    let lower = value.to_ascii_lowercase();
    let one_character = value.iter().all(|byte| Some(byte) == value.first());
    is_reference(value) || one_character || NO_VALUES.contains(&&lower[..]) || has_stand_in(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_count_from_one() {
        assert_eq!(line_of(b"a\nb\nc", 0), 1);
        assert_eq!(line_of(b"a\nb\nc", 4), 3);
    }

    #[test]
    fn stand_ins_are_no_secrets() {
        for value in [
            "${env.PASSWORD}",
            "${NPM_TOKEN}",
            "$TOKEN",
            "<your token>",
            "%TOKEN%",
            "{{ token }}",
            "changeit",
            "********",
            "",
            "password",
            "YOUR_TOKEN",
            "null",
        ] {
            assert!(is_placeholder(value.as_bytes()), "{value}");
        }
        for value in ["hunter22", "pa$$w0rd", "{jSMOWnoPFgsHVpMvz5VrIt5kRbzGpI8u}"] {
            assert!(!is_placeholder(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn a_sample_is_not_a_reference() {
        for value in ["abc0123456789def", "changeit", "example-token", "password"] {
            assert!(!is_reference(value.as_bytes()), "{value}");
        }
        for value in ["", "${X}", "$TOKEN", "****", "<token>", "{{ token }}"] {
            assert!(is_reference(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn random_is_not_words_and_not_one_letter() {
        assert!(is_random(b"Zk3vQ9sLx81mN2pR7tWb"));
        assert!(!is_random(b"this-is-some-long-name"));
        assert!(!is_random(b"AAAAAAAAAAAAAAAAAAAA"));
        assert!(!is_random(b"0123456789abcdef0123"));
    }
}
