//! Annotations that describe caches: `io.cachefs.NAME.OPTION=VALUE`.

use std::collections::BTreeMap;

use cachefs::Error;

use crate::integrations::container_cache::check_name;

/// Prefix of the annotations.
pub(super) const PREFIX: &str = "io.cachefs.";

/// The options of each annotated cache, by its name.
///
/// # Errors
///
/// A usage error for an annotation with our prefix but no option, and for a name that cannot be a
/// directory: the author of an annotation must not choose a path of the host.
pub(super) fn annotated_caches(
    annotations: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, BTreeMap<String, String>>, Error> {
    let mut caches: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (annotation, value) in annotations {
        let Some(rest) = annotation.strip_prefix(PREFIX) else {
            continue;
        };
        let parts = rest.split_once('.');
        let (name, option) = parts
            .filter(|(name, option)| !name.is_empty() && !option.is_empty())
            .ok_or_else(|| {
                Error::usage(
                    format!("invalid annotation `{annotation}`"),
                    format!("write {PREFIX}NAME.OPTION, such as {PREFIX}m2.key=m2-main and {PREFIX}m2.path=/root/.m2"),
                )
            })?;
        check_name(name)?;
        caches
            .entry(name.to_owned())
            .or_default()
            .insert(option.to_owned(), value.clone());
    }
    Ok(caches)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[(&str, &str)]) -> Result<BTreeMap<String, BTreeMap<String, String>>, Error> {
        let text = text.iter();
        annotated_caches(
            &text
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn caches_are_grouped_and_others_left_alone() {
        let found = read(&[
            ("io.cachefs.m2.key", "m2-1"),
            ("io.cachefs.m2.restore-keys", "m2-"),
            ("io.cachefs.npm.path", "/root/.npm"),
            ("org.other.m2.key", "x"),
        ])
        .unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found["m2"]["restore-keys"], "m2-");
        assert_eq!(found["npm"]["path"], "/root/.npm");
    }

    #[test]
    fn a_name_that_is_a_path_of_the_host_is_refused() {
        let deep = "a/".repeat(2048);
        for path in [
            "/etc",
            "/etc/cron",
            "a/b",
            "~",
            "~root",
            "\0",
            "-",
            "\n",
            &deep,
        ] {
            let annotation = format!("io.cachefs.{path}.key");
            assert!(read(&[(&annotation, "x")]).is_err(), "{path:?}");
        }
        // A name cannot contain dots.
        assert!(read(&[("io.cachefs.../x.key", "x")]).is_err());
        assert!(read(&[("io.cachefs./a.b/c.key", "x")]).is_err());
    }

    #[test]
    fn half_an_annotation_is_refused() {
        for half in ["io.cachefs.m2", "io.cachefs..key", "io.cachefs.m2."] {
            assert!(read(&[(half, "x")]).is_err(), "{half}");
        }
    }
}
