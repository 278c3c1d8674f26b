//! Generated text that compresses like source code, to about a third of its size.

/// Returns `bytes` bytes of text; the same seed gives the same text.
pub(crate) fn text(seed: u64, bytes: usize) -> Vec<u8> {
    const WORDS: [&str; 8] = [
        "function ",
        "return ",
        "const ",
        "=> {\n",
        "}\n",
        "value",
        "index",
        " = ",
    ];
    let mut random = fastrand::Rng::with_seed(seed);
    let mut text = Vec::with_capacity(bytes + 16);
    while text.len() < bytes {
        if random.u8(..) < 90 {
            text.extend_from_slice(random.u32(..).to_string().as_bytes());
        } else {
            text.extend_from_slice(WORDS[random.usize(..WORDS.len())].as_bytes());
        }
    }
    text.truncate(bytes);
    text
}
