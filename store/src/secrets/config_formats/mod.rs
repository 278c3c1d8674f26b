//! Credential files: files in which tools keep passwords and tokens.
//!
//! There a value is a credential whatever it looks like, unless it refers to a variable. Some names
//! are also those of ordinary project files and samples; their findings are suspicions only.

mod lines;
mod markup;
mod table;
mod urls;

use super::text_encoding::{is_placeholder, is_property, is_reference};
pub(super) use table::{CredentialFile, find_credential_file};

/// Whether a file of this name, in a directory of that name, may hold credentials.
pub fn is_place(directory: &[u8], name: &[u8]) -> bool {
    find_credential_file(directory, name).is_some()
}

/// Recognizes values that are not credentials, such as references to variables.
pub(super) type Ignore = fn(&[u8]) -> bool;

/// How the credentials in a file are found.
pub(super) enum CredentialReader {
    /// Settings, one a line: the separators of name and value, and which names are secret.
    Lines(&'static [u8], fn(&[u8]) -> bool),
    /// `password WORD`, anywhere.
    Netrc,
    /// Strings in JSON that are the value of the first names, or anywhere in that of the others.
    Json(&'static [&'static str], &'static [&'static str]),
    /// Passwords in settings of Maven and NuGet.
    Xml,
    /// URLs with a password.
    Urls,
    /// The whole file is one credential.
    Whole,
}

impl CredentialFile {
    /// The offsets at which credentials start, for a file in a directory of this name.
    pub(super) fn read(&self, directory: &[u8], content: &[u8]) -> Vec<usize> {
        let ignore: Ignore = match self.is_certain(directory) {
            true if matches!(self.reader, CredentialReader::Xml) => is_property,
            true => is_reference,
            false => is_placeholder,
        };
        match &self.reader {
            CredentialReader::Lines(separators, is_secret) => {
                lines::find_line_secrets(content, separators, *is_secret, ignore)
            }
            CredentialReader::Netrc => lines::find_netrc_passwords(content, ignore),
            CredentialReader::Json(names, objects) => {
                markup::find_json_secrets(content, names, objects, ignore)
            }
            CredentialReader::Xml => markup::find_xml_passwords(content, ignore),
            CredentialReader::Urls => urls::find_url_passwords(content, ignore),
            CredentialReader::Whole if content.trim_ascii().is_empty() => Vec::new(),
            CredentialReader::Whole => vec![0],
        }
    }
}
