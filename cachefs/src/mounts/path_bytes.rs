//! Paths in the JSON of records.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum RecordedForm {
    Text(String),
    Bytes(Vec<u8>),
}

pub(super) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    match path.to_str() {
        Some(text) => RecordedForm::Text(text.to_owned()),
        None => RecordedForm::Bytes(path.as_os_str().as_bytes().to_vec()),
    }
    .serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    Ok(match RecordedForm::deserialize(deserializer)? {
        RecordedForm::Text(text) => text.into(),
        RecordedForm::Bytes(bytes) => OsString::from_vec(bytes).into(),
    })
}
