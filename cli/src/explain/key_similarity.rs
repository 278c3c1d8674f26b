//! Measures the similarity of two keys by their text.

/// Words for an operating system or architecture, with the names in other CI systems and tools.
const SYNONYMS: &[(&str, &[&str])] = &[
    (
        "os",
        &["linux", "macos", "darwin", "osx", "windows", "win32"],
    ),
    (
        "arch",
        &[
            "amd64", "x86_64", "x64", "arm64", "aarch64", "x86", "i386", "i686", "386", "arm",
            "armv7", "riscv64", "ppc64le", "s390x", "loong64",
        ],
    ),
];

/// Splits a key into words.
fn key_words(key: &str) -> impl Iterator<Item = &str> {
    key.split(['-', '.', '/', ':', ' ', '+', '@', '='])
}

/// Normalises a key across machines: lower case, with one word for all operating systems and one
/// for all architectures.
pub(super) fn without_platform(key: &str) -> String {
    let lower = key.to_lowercase();
    let words = key_words(&lower).map(|word| {
        let names = SYNONYMS.iter().find(|(_, names)| names.contains(&word));
        names.map_or(word, |(kind, _)| kind)
    });
    words.collect::<Vec<_>>().join("-")
}

/// The number of words that two keys have in common at their start and at their end.
pub(super) fn common_words(a: &str, b: &str) -> usize {
    let (a, b): (Vec<_>, Vec<_>) = (key_words(a).collect(), key_words(b).collect());
    let same = |(a, b): &(&&str, &&str)| a == b;
    let front = a.iter().zip(&b).take_while(same).count();
    let least = a.len().min(b.len());
    let back = a.iter().rev().zip(b.iter().rev()).take_while(same).count();
    (front + back).min(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_platform_are_left_out() {
        let same = |a, b| without_platform(a) == without_platform(b);
        assert!(same("Linux-m2-1", "linux-m2-1"));
        assert!(same("m2-linux-amd64-1", "m2-Linux-X64-1"));
        assert!(same("m2-linux-arm64", "m2-linux-x86_64"));
        assert!(!same("m2-linux-1", "m2-linux-2"));
        assert!(!same("m2", "m3"));
    }

    #[test]
    fn whole_words_count() {
        assert_eq!(common_words("m2-linux-abc1", "m2-linux-abc2"), 2);
        assert_eq!(common_words("m2-linux-abc-v1", "m2-linux-xyz-v1"), 3);
        assert_eq!(common_words("a-b", "a-b"), 2);
        assert_eq!(common_words("a-a", "a"), 1);
        assert_eq!(common_words("m2", "npm"), 0);
    }
}
