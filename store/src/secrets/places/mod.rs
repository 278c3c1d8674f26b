//! Files in which tools keep passwords and tokens.
//!
//! There the place tells what a value is, whatever it looks like. A value that refers to a
//! variable is not one.

mod lines;
mod markup;
mod table;
mod urls;

pub(super) use table::{Place, find};

/// Whether a file of this name, in a directory of that name, is a place where secrets are kept.
pub fn is_place(directory: &[u8], name: &[u8]) -> bool {
    find(directory, name).is_some()
}

/// How the secrets in a place are found.
pub(super) enum Reader {
    /// Settings, one a line: what parts name and value, and which names are secret.
    Lines(&'static [u8], fn(&[u8]) -> bool),
    /// `password WORD`, anywhere.
    Netrc,
    /// Strings in JSON that are the value of these names.
    Json(&'static [&'static str]),
    /// Passwords of Maven and NuGet.
    Xml,
    /// URLs with a password.
    Urls,
    /// The file is the secret.
    Whole,
}

impl Place {
    /// Where the secrets begin.
    pub(super) fn read(&self, content: &[u8]) -> Vec<usize> {
        match &self.reader {
            Reader::Lines(separators, is_secret) => lines::read(content, separators, *is_secret),
            Reader::Netrc => lines::netrc(content),
            Reader::Json(names) => markup::json(content, names),
            Reader::Xml => markup::xml(content),
            Reader::Urls => urls::read(content),
            Reader::Whole if content.trim_ascii().is_empty() => Vec::new(),
            Reader::Whole => vec![0],
        }
    }
}
