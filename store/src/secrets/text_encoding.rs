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

/// Whether a value in a credential file is not a credential: empty, masked, or nothing but references
/// to variables. Any other value there is a credential, even one that looks like a sample.
///
/// A default is a part of the value: `${TOKEN-abc}` is a credential, `${TOKEN}` and `${TOKEN:-}` are not.
pub(super) fn is_reference(value: &[u8]) -> bool {
    is_reference_by(value, |name| {
        name.iter().position(|byte| b"-=:".contains(byte))
    })
}

/// As [`is_reference`], where names of variables have `-` in them, as in Maven's settings.
pub(super) fn is_property(value: &[u8]) -> bool {
    is_reference_by(value, |name| name.iter().position(|byte| *byte == b':'))
}

/// `default_at` finds where the default begins in the text between the braces.
fn is_reference_by(value: &[u8], default_at: fn(&[u8]) -> Option<usize>) -> bool {
    let value = without_scheme(value.trim_ascii());
    let is_stand_in = matches!(
        (value.first(), value.last()),
        (Some(b'<'), Some(b'>')) | (Some(b'%'), Some(b'%'))
    );
    let is_masked = value.iter().all(|byte| matches!(byte, b'*' | b'.' | b'-'));
    let mut rest = value;
    while let Some(&first) = rest.first() {
        let Some(after) = after_reference(rest, default_at) else {
            // Text that joins references, as in `${USER}:${PASSWORD}`, is not a credential.
            if first.is_ascii_alphanumeric() || !first.is_ascii() {
                return is_stand_in || is_masked;
            }
            rest = &rest[1..];
            continue;
        };
        rest = after;
    }
    let has_reference = value.iter().any(|byte| b"$%{<".contains(byte));
    is_stand_in || is_masked || has_reference
}

/// The value of a header without the word that says how it is meant.
fn without_scheme(value: &[u8]) -> &[u8] {
    let schemes: [&[u8]; 3] = [b"bearer ", b"basic ", b"token "];
    let scheme = schemes.iter().find(|scheme| {
        let start = value.get(..scheme.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    scheme.map_or(value, |scheme| value[scheme.len()..].trim_ascii_start())
}

/// The text after the reference that `text` begins with, if it does.
fn after_reference(text: &[u8], default_at: fn(&[u8]) -> Option<usize>) -> Option<&[u8]> {
    const FORMS: [(&[u8], &[u8]); 5] = [
        (b"${{", b"}}"),
        (b"{{", b"}}"),
        (b"$(", b")"),
        (b"%(", b")s"),
        (b"<%", b"%>"),
    ];
    for (open, close) in FORMS {
        if let Some(inner) = text.strip_prefix(open) {
            let end = inner.windows(close.len()).position(|it| it == close)?;
            return Some(&inner[end + close.len()..]);
        }
    }
    let Some(inner) = text.strip_prefix(b"${") else {
        let name = text.strip_prefix(b"$")?;
        let length = name.iter().take_while(|byte| is_word(**byte)).count();
        return (length > 0).then(|| &name[length..]);
    };
    let mut depth = 1;
    let end = inner.iter().position(|byte| {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        depth == 0
    })?;
    let (name, after) = (&inner[..end], &inner[end + 1..]);
    if let Some(at) = default_at(name) {
        let default = name[at..].trim_ascii_start();
        let default = default.strip_prefix(b":").unwrap_or(default);
        let default = match default {
            // `${NAME:?message}` fails, and `${NAME:-value}` is a default.
            [b'?', ..] => &[],
            [b'-' | b'=' | b'+', value @ ..] => value,
            value => value,
        };
        if !default.is_empty() && !is_reference_by(default, default_at) {
            return None;
        }
    }
    Some(after)
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
        assert!(is_property(b"${repo.pass-word}") && !is_property(b"${repo.pass:hunter22}"));
    }

    #[test]
    fn a_reference_is_one_only_as_a_whole() {
        for value in [
            "abc${X}",
            "${X}abc",
            "${T-real}",
            "${T:-real}",
            "${T:=real}",
            "$(cat x)real",
            "{{ a }}real",
            "hunter-22",
            "%(pass)sword",
        ] {
            assert!(!is_reference(value.as_bytes()), "{value}");
        }
        for value in [
            "Bearer ${TOKEN}",
            "${USER}:${PASSWORD}",
            "$USER:$PASSWORD",
            "${T-}",
            "${T:-}",
            "${A:-${B}}",
            "${T:?must be set}",
            "${{ secrets.TOKEN }}",
            "%(password)s",
            "$(cat /run/token)",
            "<%= token %>",
        ] {
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
