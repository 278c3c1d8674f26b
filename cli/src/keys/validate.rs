//! The rules for keys.
//!
//! A key is trimmed of white space at both ends, and each `\` is replaced by `/`. It must not be
//! empty, and has at most [`MAX_KEY_CHARS`] characters and no control characters.

use cachefs_store::refs::MAX_KEY_CHARS;

use super::error::{Span, TemplateFault, TemplateProblem};

/// The value of one piece, and the position at which to report an error in it.
pub(super) struct KeyValue<'a> {
    pub(super) text: &'a str,
    pub(super) span: Span,
    /// The value is the template's own text, so offsets in it are offsets in the template.
    pub(super) verbatim: bool,
}

/// Joins the values into a key.
pub(super) fn join_key<'a>(
    values: impl Iterator<Item = KeyValue<'a>>,
) -> Result<String, TemplateFault> {
    let mut joined = String::new();
    // The offset in `joined` at which each value starts.
    let mut starts = Vec::new();
    for value in values {
        starts.push((joined.len(), value.span, value.verbatim));
        joined.push_str(value.text);
    }
    let whole = match (starts.first(), starts.last()) {
        (Some((_, first, _)), Some((_, last, _))) => Span::new(first.start, last.end),
        _ => Span::new(0, 0),
    };

    let trimmed = joined.trim();
    if trimmed.is_empty() {
        return Err(TemplateFault::new(TemplateProblem::Empty, whole));
    }
    let cut = joined.len() - joined.trim_start().len();
    if let Some((offset, control)) = trimmed.char_indices().find(|(_, c)| c.is_control()) {
        let at = cut + offset;
        let span = starts
            .iter()
            .rev()
            .find(|(start, _, _)| *start <= at)
            .map_or(whole, |(start, span, verbatim)| {
                if *verbatim {
                    let place = span.start + (at - start);
                    Span::new(place, place + control.len_utf8())
                } else {
                    *span
                }
            });
        return Err(TemplateFault::new(TemplateProblem::Control(control), span));
    }
    let length = trimmed.chars().count();
    if length > MAX_KEY_CHARS {
        return Err(TemplateFault::new(TemplateProblem::TooLong(length), whole));
    }
    Ok(trimmed.replace('\\', "/"))
}
