//! Positions and messages of errors, the rules for keys, and random templates.

use proptest::prelude::*;

use super::Bench;

#[test]
fn faults_point_at_the_character() {
    let cases: &[(&str, usize, &str)] = &[
        ("ab{{ arch", 2, "unclosed `{{`"),
        ("ab${{ arch", 2, "unclosed `${{`"),
        ("hashFiles('a'", 0, "unclosed `hashFiles(`"),
        ("hashFiles(", 0, "unclosed `hashFiles(`"),
        ("ab}}", 2, "unexpected `}}`"),
        ("{{ }}", 3, "empty expression"),
        ("é{{ arhc }}", 4, "unknown function `arhc`"),
        ("{{ .Brnch }}", 3, "unknown variable `Brnch`"),
        ("{{ matrix.os }}", 3, "unknown variable `matrix.os`"),
        ("{{ .Environment }}", 3, "unknown variable `Environment`"),
        ("{{ . }}", 5, "expected a name, found `}}`"),
        (
            "{{ checksum }}",
            3,
            "`checksum` takes one or more files, not 0",
        ),
        (
            "{{ env \"a\" \"b\" }}",
            3,
            "`env` takes the name of one variable, not 2",
        ),
        ("{{ arch \"a\" }}", 3, "`arch` takes no argument, not 1"),
        ("{{ checksum pom.xml }}", 12, "expected `}}`, found `pom`"),
        (
            "{{ checksum \"pom.xml }}",
            12,
            "unclosed string, expected \"",
        ),
        (
            "{{ checksum \u{201c}pom.xml\u{201d} }}",
            12,
            "unexpected character '“'",
        ),
        ("{{ checksum \"a\\q\" }}", 14, "unknown escape `\\q`"),
        ("{{ arch | upper }}", 8, "unexpected character '|'"),
        ("{{ arch }", 8, "unexpected character '}'"),
        (
            "hashFiles('a' 'b')",
            14,
            "expected `,` or `)`, found string \"b\"",
        ),
        ("hashFiles(a)", 10, "expected a quoted string, found `a`"),
        ("hashFiles('a',)", 14, "expected a quoted string, found `)`"),
        (
            "hashFiles('[a')",
            10,
            "bad pattern `[a`: unclosed character class; missing ']'",
        ),
        (
            "{{ \"a\" }}",
            3,
            "expected a function or a variable, found string \"a\"",
        ),
        ("ok-\u{7}", 3, "key contains the control character '\\u{7}'"),
        ("a\nb", 1, "key contains the control character '\\n'"),
    ];
    let bench = Bench::new();
    for (template, column, message) in cases {
        let error = bench.error(template);
        assert_eq!(error.to_string(), *message, "{template}");
        assert_eq!(error.column(), *column, "{template}: {}", error.pointer());
        assert!(!error.hint().is_empty());
        assert!(error.pointer().ends_with('^'), "{template}");
    }
}

#[test]
fn the_pointer_stands_under_the_fault() {
    let error = Bench::new().error("ä\tb-{{ nope }}");
    assert_eq!(error.pointer(), "ä b-{{ nope }}\n       ^^^^");
    let error = Bench::new().error("first\nsecond {{ nope }}\nthird");
    assert_eq!(error.pointer(), "second {{ nope }}\n          ^^^^");
}

#[test]
fn keys_are_bounded_and_not_empty() {
    let bench = Bench::new().env("E", "").env("NL", "a\nb");
    for empty in ["", "  \n", "{{ env \"E\" }}"] {
        assert_eq!(bench.error(empty).to_string(), "key is empty", "{empty:?}");
    }
    assert_eq!(bench.key(&"ä".repeat(512)).chars().count(), 512);
    assert_eq!(
        bench.error(&"ä".repeat(513)).to_string(),
        "key has 513 characters, more than 512"
    );
    let error = bench.error("x-{{ env \"NL\" }}-y");
    assert_eq!(
        error.to_string(),
        "key contains the control character '\\n'"
    );
    assert_eq!(error.pointer(), "x-{{ env \"NL\" }}-y\n  ^^^^^^^^^^^^^^");
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(template in ".*") {
        check(&template)?;
    }

    #[test]
    fn text_made_of_syntax_never_panics(
        pieces in proptest::collection::vec(
            prop_oneof![
                Just("{{"), Just("}}"), Just("${{"), Just("hashFiles("), Just("hashFiles"),
                Just("checksum"), Just("env"), Just(".Branch"), Just("."), Just("'"), Just("\""),
                Just("\\"), Just("("), Just(")"), Just(","), Just(" "), Just("\n"), Just("é"),
                Just("'a'"), Just("'**'"), Just("'!'"), Just("'[a'"), Just("\"x\""), Just("`"),
            ],
            0..16,
        ),
    ) {
        check(&pieces.concat())?;
    }
}

/// Any template must give a valid key whose parts cover it, or an error that can be printed.
fn check(template: &str) -> Result<(), TestCaseError> {
    let bench = Bench::new().allow_missing();
    match bench.expand(template) {
        Ok(expanded) => {
            prop_assert!(!expanded.key.is_empty());
            prop_assert!(expanded.key.chars().count() <= 512);
            prop_assert!(!expanded.key.chars().any(char::is_control));
            let spelled: String = expanded
                .parts
                .iter()
                .map(|part| part.name.as_str())
                .collect();
            prop_assert_eq!(spelled, template);
        }
        Err(error) => {
            let lines = error.pointer();
            prop_assert_eq!(lines.lines().count().max(2), 2);
            prop_assert!(!error.to_string().is_empty() && !error.hint().is_empty());
        }
    }
    Ok(())
}
