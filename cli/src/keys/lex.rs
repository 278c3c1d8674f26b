//! Splits an expression into tokens with their positions.

use super::error::{Span, TemplateFault, TemplateProblem};

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TemplateToken {
    /// A name: a letter or `_`, then letters, digits, `_` and `-`.
    Name(String),
    /// A quoted string, with its escapes resolved.
    Text(String),
    /// `.`
    Dot,
    /// `,`
    Comma,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `}}`
    End,
}

impl TemplateToken {
    /// The token as error messages name it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Name(name) => format!("`{name}`"),
            Self::Text(text) => format!("string {text:?}"),
            Self::Dot => "`.`".into(),
            Self::Comma => "`,`".into(),
            Self::Open => "`(`".into(),
            Self::Close => "`)`".into(),
            Self::End => "`}}`".into(),
        }
    }
}

/// Reads the tokens of an expression in a template.
pub(super) struct Lexer<'a> {
    template: &'a str,
    /// Offset of the next byte; always a character boundary.
    at: usize,
}

impl<'a> Lexer<'a> {
    /// Starts at byte `at` of `template`, a character boundary.
    pub(super) fn new(template: &'a str, at: usize) -> Self {
        Self { template, at }
    }

    /// The offset of the next token, or of the white space before it.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The next token and its position; `None` at the end of the template.
    pub(super) fn next(&mut self) -> Result<Option<(TemplateToken, Span)>, TemplateFault> {
        let rest = self.template[self.at..].trim_start();
        let start = self.template.len() - rest.len();
        self.at = start;
        let Some(first) = rest.chars().next() else {
            return Ok(None);
        };
        let token = match first {
            '.' => self.take(1, TemplateToken::Dot),
            ',' => self.take(1, TemplateToken::Comma),
            '(' => self.take(1, TemplateToken::Open),
            ')' => self.take(1, TemplateToken::Close),
            '}' if rest.starts_with("}}") => self.take(2, TemplateToken::End),
            '"' | '\'' | '`' => self.string(first)?,
            c if c.is_ascii_alphabetic() || c == '_' => {
                let length = name_length(rest);
                self.take(length, TemplateToken::Name(rest[..length].to_owned()))
            }
            other => {
                let span = Span::new(start, start + other.len_utf8());
                return Err(TemplateFault::new(
                    TemplateProblem::UnexpectedChar(other),
                    span,
                ));
            }
        };
        Ok(Some((token, Span::new(start, self.at))))
    }

    fn take(&mut self, bytes: usize, token: TemplateToken) -> TemplateToken {
        self.at += bytes;
        token
    }

    /// Reads a string: `"` with backslash escapes, `'` with a doubled quote, `` ` `` verbatim.
    fn string(&mut self, quote: char) -> Result<TemplateToken, TemplateFault> {
        let start = self.at;
        let mut text = String::new();
        let mut chars = self.template[start + 1..].char_indices().peekable();
        while let Some((offset, c)) = chars.next() {
            let here = start + 1 + offset;
            match c {
                '\'' if quote == '\'' && chars.peek().is_some_and(|(_, next)| *next == '\'') => {
                    chars.next();
                    text.push('\'');
                }
                _ if c == quote => {
                    self.at = here + 1;
                    return Ok(TemplateToken::Text(text));
                }
                '\\' if quote == '"' => match chars.next() {
                    Some((_, escaped @ ('"' | '\\' | '\''))) => text.push(escaped),
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, other)) => {
                        let span = Span::new(here, here + 1 + other.len_utf8());
                        return Err(TemplateFault::new(TemplateProblem::BadEscape(other), span));
                    }
                    None => break,
                },
                _ => text.push(c),
            }
        }
        let span = Span::new(start, start + 1);
        Err(TemplateFault::new(
            TemplateProblem::UnclosedString { quote },
            span,
        ))
    }
}

/// The length of the name that `text` starts with, in bytes.
fn name_length(text: &str) -> usize {
    text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
        .unwrap_or(text.len())
}
