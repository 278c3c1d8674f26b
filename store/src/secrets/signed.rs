//! Keys and URLs with a signature in them, which work for whoever has them.

use std::ops::Range;

use super::text::{around, contains, is_alnum, is_base64, is_hex, is_random, run};

/// Whether the secret half of an AWS key lies next to its identifier. The identifier alone opens
/// nothing.
pub(super) fn is_aws_pair(content: &[u8], at: Range<usize>) -> bool {
    let id = run(&content[at.end..], is_alnum, 17);
    let shape = id.len() == 16
        && id
            .iter()
            .all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7'));
    if !shape || !is_random(id) || preceded_by(content, at.start, is_alnum) {
        return false;
    }
    let near = around(content, at.start..at.end + 16, 400);
    let mut rest = near;
    while !rest.is_empty() {
        let word = run(rest, is_base64, usize::MAX);
        if word.len() == 40 && is_aws_secret(word) {
            return true;
        }
        rest = &rest[word.len().max(1)..];
    }
    false
}

fn is_aws_secret(word: &[u8]) -> bool {
    // Hashes are of this length too, but have one case only; paths have more slashes.
    word.iter().any(u8::is_ascii_uppercase)
        && word.iter().any(u8::is_ascii_lowercase)
        && word.iter().any(u8::is_ascii_digit)
        && word.iter().filter(|byte| **byte == b'/').count() <= 4
        && is_random(word)
}

pub(super) fn preceded_by(content: &[u8], at: usize, class: fn(u8) -> bool) -> bool {
    at > 0 && class(content[at - 1])
}

/// The bytes of the URL that holds `at`, without what is not ASCII graphic.
fn url_around(content: &[u8], at: Range<usize>) -> &[u8] {
    let is_end =
        |byte: &u8| !byte.is_ascii_graphic() || matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'`');
    let near = around(content, at.clone(), 2000);
    let offset = at.start.min(2000);
    let start = near[..offset]
        .iter()
        .rposition(is_end)
        .map_or(0, |at| at + 1);
    let end = near[offset..]
        .iter()
        .position(is_end)
        .map_or(near.len(), |at| offset + at);
    &near[start..end]
}

/// Whether this is the signature of a shared access signature of Azure.
pub(super) fn is_azure_sas(content: &[u8], at: Range<usize>) -> bool {
    let value = &content[at.end..];
    let mut signature = Vec::with_capacity(44);
    let mut bytes = value;
    while signature.len() < 44 {
        let (byte, length) = match bytes {
            [b'%', high, low, ..] => {
                match u8::from_str_radix(&format!("{}{}", *high as char, *low as char), 16) {
                    Ok(byte) => (byte, 3),
                    Err(_) => return false,
                }
            }
            [byte, ..] => (*byte, 1),
            [] => return false,
        };
        if !is_base64(byte) && byte != b'=' {
            break;
        }
        signature.push(byte);
        bytes = &bytes[length..];
    }
    let url = url_around(content, at);
    signature.len() == 44
        && signature.iter().position(|byte| *byte == b'=') == Some(43)
        && is_random(&signature[..43])
        && contains(url, b"sv=")
        && contains(url, b"se=")
}

/// Whether this is the signature of a presigned URL of S3.
pub(super) fn is_amz_signature(content: &[u8], at: Range<usize>) -> bool {
    let signature = run(&content[at.end..], is_hex, 65);
    signature.len() == 64
        && is_random_hex(signature)
        && contains(url_around(content, at), b"X-Amz-Credential=")
}

/// Whether this is the signature of a signed URL of Google Cloud Storage.
pub(super) fn is_goog_signature(content: &[u8], at: Range<usize>) -> bool {
    let signature = run(&content[at.end..], is_hex, 1025);
    signature.len() >= 64
        && is_random_hex(signature)
        && contains(url_around(content, at), b"X-Goog-Credential=")
}

fn is_random_hex(digits: &[u8]) -> bool {
    digits.iter().any(u8::is_ascii_digit)
        && digits.iter().any(u8::is_ascii_alphabetic)
        && is_random(digits)
}

/// Whether this is the second half of a URL to post to a Slack channel.
pub(super) fn is_slack_webhook(content: &[u8], at: Range<usize>) -> bool {
    let mut parts = content[at.end..content.len().min(at.end + 80)].split(|byte| *byte == b'/');
    let (Some(team), Some(app), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let key = run(key, is_alnum, 40);
    team.starts_with(b"T") && app.starts_with(b"B") && key.len() >= 20 && is_random(key)
}

/// Whether this is in the middle of an API key of OpenAI, which all have these letters there.
pub(super) fn is_openai_key(content: &[u8], at: Range<usize>) -> bool {
    let before = &content[at.start.saturating_sub(120)..at.start];
    let start = before
        .iter()
        .rposition(|byte| !super::text::is_word(*byte))
        .map_or(0, |at| at + 1);
    let before = &before[start..];
    let after = run(&content[at.end..], super::text::is_word, 100);
    before.starts_with(b"sk-") && before.len() >= 20 && after.len() >= 20 && is_random(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "q8Zr1TnVb0Yw/3KcXs7LmPdEuGhJ2o5Ai9fR+BtW";

    fn aws(text: &str) -> bool {
        let at = text.find("AKIA").unwrap();
        is_aws_pair(text.as_bytes(), at..at + 4)
    }

    #[test]
    fn an_aws_key_needs_its_secret() {
        let id = format!("AKIA{}", "Q3EGSDVKTR7WNZ2P");
        assert!(aws(&format!("id = {id}\nkey = {SECRET}\n")));
        assert!(!aws(&format!("id = {id}\n")));
        assert!(!aws(&format!(
            "id = {id}\nsha = {}\n",
            "0a1b2c3d4e".repeat(4)
        )));
        assert!(!aws(&format!("id = AKIAIOSFODNN7EXAMPLE\nkey = {SECRET}")));
        assert!(!aws(&format!("x{id} {SECRET}")));
    }

    #[test]
    fn signatures_in_urls() {
        let signature = "3c8f1be07a5d42961d0e4b7a98c6f5231f0e9d8c7b6a59483726150fedcba987";
        let url =
            format!("https://b.s3.amazonaws.com/k?X-Amz-Credential=A&X-Amz-Signature={signature}");
        let at = url.find("X-Amz-Signature=").unwrap();
        assert!(is_amz_signature(url.as_bytes(), at..at + 16));
        assert!(!is_amz_signature(
            url.replace("X-Amz-Credential", "x").as_bytes(),
            at - 15..at + 1
        ));
        let sas = format!(
            "https://a.blob.core.windows.net/c?sv=2022&se=2030&sig={}%3D",
            "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ6kL9nP2r"
        );
        let at = sas.find("sig=").unwrap();
        assert!(is_azure_sas(sas.as_bytes(), at..at + 4));
        assert!(!is_azure_sas(b"?sig=verify(a, b)&sv=1&se=2", 1..5));
    }
}
