//! Writes detected caches as a `cachefs.toml`.

use std::path::Path;

use super::DetectedCache;

/// The text of a file.
pub(crate) fn config_text<'a>(
    caches: impl Iterator<Item = (&'a DetectedCache, &'a str)>,
    home: &Path,
) -> String {
    let mut text = String::from("# Written by `cachefs detect --toml`. Edit it as needed.\n");
    for (found, key) in caches {
        text.push('\n');
        write_cache(&mut text, found, key, home);
    }
    text
}

/// One cache; commented out where it is left alone.
fn write_cache(text: &mut String, found: &DetectedCache, key: &str, home: &Path) {
    let path = match found.place.path.strip_prefix(home) {
        Ok(below) if found.place.path.is_absolute() => format!("~/{}", below.display()),
        _ => found.place.path.display().to_string(),
    };
    text.push_str(&format!(
        "# {} in {}. Path: {}.\n",
        found.title,
        found.project_names().join(", "),
        found.place.learnt.describe()
    ));
    for note in &found.notes {
        text.push_str(&format!("# {note}\n"));
    }
    let off = match found.optional {
        Some(why) => {
            text.push_str(&format!("# left alone: {why}\n"));
            "# "
        }
        None => "",
    };
    text.push_str(&format!("{off}[cache.{}]\n", toml_key(&found.name)));
    text.push_str(&format!("{off}key = {}\n", toml_string(key)));
    text.push_str(&format!(
        "{off}restore-keys = [{}]\n",
        toml_string(&found.restore_key)
    ));
    text.push_str(&format!("{off}path = {}\n", toml_string(&path)));
}

/// A name as a key of TOML.
fn toml_key(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match name.chars().all(is_plain) {
        true => name.to_owned(),
        false => toml_string(name),
    }
}

/// A string of TOML: literal where it can be, as templates have quotes of their own.
fn toml_string(text: &str) -> String {
    if text.contains('\'') || text.chars().any(char::is_control) {
        // JSON escapes are valid in TOML.
        return serde_json::Value::from(text).to_string();
    }
    format!("'{text}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_toml() {
        assert_eq!(
            toml_string("m2-{{ checksum \"pom.xml\" }}"),
            "'m2-{{ checksum \"pom.xml\" }}'"
        );
        assert_eq!(
            toml_string("{{ hashFiles('a') }}"),
            "\"{{ hashFiles('a') }}\""
        );
        assert_eq!(toml_string("it's \"so\"\\"), r#""it's \"so\"\\""#);
        assert_eq!(toml_key("npm-web_1"), "npm-web_1");
        assert_eq!(toml_key("npm-a.b"), "'npm-a.b'");
    }
}
