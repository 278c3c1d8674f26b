//! Parses one file from TOML to settings and caches, each with its position.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, ConfigProblem, FilePosition};
use super::file_setting::FileSetting;
use super::find::ConfigLevel;
use super::setting_names::{Known, SettingKind, anchor_path, find_setting, proposed_names};
use super::trusted_settings;
use crate::caches::CacheLayer;

/// A cache described in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheTable {
    /// The cache's name.
    pub(crate) name: String,
    /// The position of its table.
    pub(crate) place: FilePosition,
    /// Its layers with their positions, bottom first.
    pub(crate) layers: Vec<(CacheLayer, FilePosition)>,
    /// All other settings, by the option's name.
    pub(crate) settings: BTreeMap<String, FileSetting>,
}

/// The content of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ConfigFile {
    pub(super) settings: BTreeMap<String, FileSetting>,
    /// The caches, in the order of the file.
    pub(super) caches: Vec<CacheTable>,
}

/// Parses a file's text.
pub(super) fn read_config(
    path: &Path,
    level: ConfigLevel,
    text: &str,
    known: &Known,
) -> Result<ConfigFile, ConfigError> {
    let reader = ConfigReader {
        path,
        level,
        text,
        known,
    };
    let table = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        reader.error(ConfigProblem::Syntax(error.message().to_owned()), span)
    })?;
    reader.file(table.get_ref())
}

type Key<'a> = Spanned<std::borrow::Cow<'a, str>>;
type Value<'a> = Spanned<DeValue<'a>>;

struct ConfigReader<'a> {
    path: &'a Path,
    level: ConfigLevel,
    text: &'a str,
    known: &'a Known,
}

impl ConfigReader<'_> {
    fn error(&self, problem: ConfigProblem, span: Range<usize>) -> ConfigError {
        ConfigError::new(problem, self.path, self.text, span)
    }

    fn place(&self, span: &Range<usize>) -> FilePosition {
        FilePosition::at(self.path, self.text, span.start)
    }

    fn wrong_type(&self, name: &str, wanted: &'static str, value: &Value<'_>) -> ConfigError {
        let problem = ConfigProblem::Type {
            name: name.to_owned(),
            wanted,
            found: type_of(value.get_ref()),
        };
        self.error(problem, value.span())
    }

    fn file(&self, table: &DeTable<'_>) -> Result<ConfigFile, ConfigError> {
        let mut file = ConfigFile::default();
        for (key, value) in in_order(table) {
            if key.get_ref() == "cache" {
                file.caches = self.caches(key, value)?;
                continue;
            }
            let Some((name, kind)) = find_setting(&self.known.settings, key.get_ref()) else {
                let mut known = proposed_names(&self.known.settings);
                known.push("cache".to_owned());
                return Err(self.unknown(key, "", known));
            };
            if self.level == ConfigLevel::Project
                && !trusted_settings::may_be_set_by_project(name, kind)
            {
                return Err(self.error(ConfigProblem::NotForProjects(name.to_owned()), key.span()));
            }
            self.insert(&mut file.settings, key, name, kind, value)?;
        }
        Ok(file)
    }

    fn unknown(&self, key: &Key<'_>, place: &'static str, mut known: Vec<String>) -> ConfigError {
        known.sort();
        let name = key.get_ref().to_string();
        self.error(ConfigProblem::Unknown { name, place, known }, key.span())
    }

    fn insert(
        &self,
        settings: &mut BTreeMap<String, FileSetting>,
        key: &Key<'_>,
        name: &str,
        kind: &SettingKind,
        value: &Value<'_>,
    ) -> Result<(), ConfigError> {
        let setting = FileSetting {
            values: self.values(name, kind, value)?,
            place: self.place(&key.span()),
            level: self.level,
        };
        if settings.insert(name.to_owned(), setting).is_some() {
            return Err(self.error(ConfigProblem::Twice(name.to_owned()), key.span()));
        }
        Ok(())
    }

    fn values(
        &self,
        name: &str,
        kind: &SettingKind,
        value: &Value<'_>,
    ) -> Result<Vec<String>, ConfigError> {
        if let (true, DeValue::Array(items)) = (kind.is_list, value.get_ref()) {
            return items
                .iter()
                .map(|item| self.value(name, kind, item))
                .collect();
        }
        Ok(vec![self.value(name, kind, value)?])
    }

    fn value(
        &self,
        name: &str,
        kind: &SettingKind,
        value: &Value<'_>,
    ) -> Result<String, ConfigError> {
        let text = match value.get_ref() {
            DeValue::Boolean(value) if kind.is_switch => return Ok(value.to_string()),
            _ if kind.is_switch => None,
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(number) if kind.takes_number && number.radix() == 10 => {
                Some(number.as_str().to_owned())
            }
            DeValue::Float(number) if kind.takes_number => Some(number.as_str().to_owned()),
            _ => None,
        };
        let text = text.ok_or_else(|| self.wrong_type(name, kind.wanted(), value))?;
        kind.check(name, &text)
            .map_err(|problem| self.error(problem, value.span()))?;
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        Ok(match kind.is_path || name == "path" {
            true => anchor_path(&text, directory),
            false => text,
        })
    }

    fn caches(&self, key: &Key<'_>, value: &Value<'_>) -> Result<Vec<CacheTable>, ConfigError> {
        if self.level != ConfigLevel::Project {
            return Err(self.error(ConfigProblem::CachesOutside, key.span()));
        }
        let tables = "tables such as [cache.maven]";
        let DeValue::Table(caches) = value.get_ref() else {
            return Err(self.wrong_type("cache", tables, value));
        };
        in_order(caches)
            .into_iter()
            .map(|(name, value)| match value.get_ref() {
                DeValue::Table(table) => self.cache(name, table),
                _ => Err(self.wrong_type("cache", tables, value)),
            })
            .collect()
    }

    fn cache(&self, name: &Key<'_>, table: &DeTable<'_>) -> Result<CacheTable, ConfigError> {
        let mut cache = CacheTable {
            name: name.get_ref().to_string(),
            place: self.place(&name.span()),
            layers: Vec::new(),
            settings: BTreeMap::new(),
        };
        for (key, value) in in_order(table) {
            if key.get_ref() == "layer" {
                cache.layers = self.layers(value)?;
                continue;
            }
            match find_setting(&self.known.of_caches, key.get_ref()) {
                Some((name, kind)) if name != "layer" => {
                    if !trusted_settings::may_be_set_by_project(name, kind) {
                        let problem = ConfigProblem::NotForProjects(name.to_owned());
                        return Err(self.error(problem, key.span()));
                    }
                    self.insert(&mut cache.settings, key, name, kind, value)?;
                }
                _ => {
                    let mut known = proposed_names(&self.known.of_caches);
                    known.retain(|name| name != "layers");
                    known.push("layer".to_owned());
                    return Err(self.unknown(key, " of a cache", known));
                }
            }
        }
        let needed = [
            ("key", "key = 'm2-{{ checksum \"pom.xml\" }}'"),
            ("path", "path = \"~/.m2/repository\""),
        ];
        for (needed, example) in needed {
            if !cache.settings.contains_key(needed) {
                let problem = ConfigProblem::Missing {
                    owner: format!("cache `{}`", cache.name),
                    name: needed,
                    example,
                };
                return Err(self.error(problem, name.span()));
            }
        }
        Ok(cache)
    }

    fn layers(&self, value: &Value<'_>) -> Result<Vec<(CacheLayer, FilePosition)>, ConfigError> {
        let tables = "tables such as [[cache.maven.layer]]";
        let DeValue::Array(layers) = value.get_ref() else {
            return Err(self.wrong_type("layer", tables, value));
        };
        let mut found: Vec<(CacheLayer, FilePosition)> = Vec::new();
        for layer in layers.iter() {
            let DeValue::Table(table) = layer.get_ref() else {
                return Err(self.wrong_type("layer", tables, layer));
            };
            let span = layer.span();
            let layer = self.layer(table, span.clone())?;
            if found.iter().any(|(other, _)| other.name == layer.name) {
                let problem = ConfigProblem::Value {
                    message: format!("there are two layers `{}`", layer.name),
                    hint: "give each layer of a cache a name of its own".to_owned(),
                };
                return Err(self.error(problem, span));
            }
            found.push((layer, self.place(&span)));
        }
        Ok(found)
    }

    fn layer(&self, table: &DeTable<'_>, span: Range<usize>) -> Result<CacheLayer, ConfigError> {
        // `restore` always has both options.
        let text = &self.known.of_caches["key"];
        let list = &self.known.of_caches["restore-key"];
        let mut settings = BTreeMap::new();
        for (key, value) in in_order(table) {
            match key.get_ref().as_ref() {
                "name" => self.insert(&mut settings, key, "name", text, value)?,
                "key" => self.insert(&mut settings, key, "key", text, value)?,
                "restore-key" | "restore-keys" => {
                    self.insert(&mut settings, key, "restore-key", list, value)?;
                }
                _ => {
                    let known = ["name", "key", "restore-keys"].map(str::to_owned);
                    return Err(self.unknown(key, " of a layer", known.to_vec()));
                }
            }
        }
        let mut one = |name: &'static str, example: &'static str| {
            let value = settings
                .remove(name)
                .and_then(|setting| setting.values.into_iter().next());
            value.ok_or_else(|| {
                let owner = "this layer".to_owned();
                self.error(
                    ConfigProblem::Missing {
                        owner,
                        name,
                        example,
                    },
                    span.clone(),
                )
            })
        };
        let (name, key) = (
            one("name", "name = \"base\"")?,
            one("key", "key = \"m2-base\"")?,
        );
        let restore_keys = settings.remove("restore-key").map(|setting| setting.values);
        Ok(CacheLayer {
            name,
            key,
            restore_keys: restore_keys.unwrap_or_default(),
        })
    }
}

/// A table's entries in the order of the file.
fn in_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<(&'t Key<'i>, &'t Value<'i>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
