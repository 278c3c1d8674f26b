//! The grammar of templates.
//!
//! ```text
//! template   = { text | "{{" expression "}}" | "${{" expression "}}" | "hashFiles" "(" arguments ")" }
//! expression = "." name { "." name }
//!            | name "." name { "." name }
//!            | name { string }
//!            | name "(" arguments ")"
//! arguments  = [ string { "," string } ]
//! ```
//!
//! Both kinds of braces take both styles of call: users mix them, and neither is ambiguous.

use super::error::{Span, TemplateFault, TemplateProblem};
use super::lex::{Lexer, TemplateToken};

/// The function that is recognised outside of braces, as GitHub's users write it.
const BARE_FUNCTION: &str = "hashFiles";

/// A piece of a template: plain text, or an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TemplatePiece {
    /// Text that is copied into the key.
    Text(Span),
    /// An expression to evaluate.
    Expression {
        /// The parsed expression.
        expression: Expression,
        /// Its position, including the braces.
        span: Span,
    },
}

impl TemplatePiece {
    /// The position of the piece in the template.
    pub(super) fn span(&self) -> Span {
        match self {
            Self::Text(span) | Self::Expression { span, .. } => *span,
        }
    }
}

/// A parsed expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// A function call.
    Call {
        /// The function's name.
        name: String,
        /// The position of the name.
        span: Span,
        /// The arguments and their positions.
        arguments: Vec<(String, Span)>,
    },
    /// A variable.
    Variable {
        /// Its names without the dots, for example `Repo` and `Name`; at least one.
        path: Vec<String>,
        /// Whether it starts with a dot, as in Go templates.
        dotted: bool,
        /// Its position.
        span: Span,
    },
}

/// Splits a template into pieces.
pub(super) fn parse_template(template: &str) -> Result<Vec<TemplatePiece>, TemplateFault> {
    let mut pieces = Vec::new();
    let mut text_start = 0;
    let mut at = 0;
    while let Some(opening) = next_opening(template, at)? {
        if text_start < opening.span.start {
            pieces.push(TemplatePiece::Text(Span::new(
                text_start,
                opening.span.start,
            )));
        }
        let (expression, end) = match opening.kind {
            OpeningKind::Braces => in_braces(template, &opening)?,
            OpeningKind::Bare => bare_call(template, &opening)?,
        };
        pieces.push(TemplatePiece::Expression {
            expression,
            span: Span::new(opening.span.start, end),
        });
        text_start = end;
        at = end;
    }
    if text_start < template.len() {
        pieces.push(TemplatePiece::Text(Span::new(text_start, template.len())));
    }
    Ok(pieces)
}

enum OpeningKind {
    /// `{{` or `${{`
    Braces,
    /// `hashFiles(` in plain text
    Bare,
}

/// The start of an expression.
struct Opening {
    kind: OpeningKind,
    /// The position of the braces, or of the function's name.
    span: Span,
    name: &'static str,
}

/// Finds the first expression at or after `from`.
fn next_opening(template: &str, from: usize) -> Result<Option<Opening>, TemplateFault> {
    let mut previous: Option<char> = None;
    for (offset, c) in template[from..].char_indices() {
        let at = from + offset;
        let rest = &template[at..];
        if rest.starts_with("${{") {
            let span = Span::new(at, at + 3);
            return Ok(Some(Opening {
                kind: OpeningKind::Braces,
                span,
                name: "${{",
            }));
        }
        if rest.starts_with("{{") {
            let span = Span::new(at, at + 2);
            return Ok(Some(Opening {
                kind: OpeningKind::Braces,
                span,
                name: "{{",
            }));
        }
        if rest.starts_with("}}") {
            return Err(TemplateFault::new(
                TemplateProblem::StrayClose,
                Span::new(at, at + 2),
            ));
        }
        let in_word = previous.is_some_and(|p| p.is_alphanumeric() || p == '_');
        if !in_word
            && rest
                .strip_prefix(BARE_FUNCTION)
                .is_some_and(|after| after.starts_with('('))
        {
            let span = Span::new(at, at + BARE_FUNCTION.len());
            return Ok(Some(Opening {
                kind: OpeningKind::Bare,
                span,
                name: "hashFiles(",
            }));
        }
        previous = Some(c);
    }
    Ok(None)
}

/// Parses the expression after opening braces; returns the offset past the closing ones.
fn in_braces(template: &str, opening: &Opening) -> Result<(Expression, usize), TemplateFault> {
    let mut parser = Parser::new(template, opening)?;
    let expression = parser.expression()?;
    match parser.token.take() {
        Some((TemplateToken::End, span)) => Ok((expression, span.end)),
        Some((token, span)) => Err(unexpected_token("`}}`", &token, span)),
        None => Err(parser.unclosed()),
    }
}

/// Parses a call in plain text; returns the offset past its closing parenthesis.
fn bare_call(template: &str, opening: &Opening) -> Result<(Expression, usize), TemplateFault> {
    let mut parser = Parser::new(template, opening)?;
    let (arguments, end) = parser.parenthesised()?;
    let call = Expression::Call {
        name: BARE_FUNCTION.to_owned(),
        span: opening.span,
        arguments,
    };
    Ok((call, end))
}

/// A recursive-descent parser with one token of look-ahead.
struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Option<(TemplateToken, Span)>,
    opening: &'a Opening,
}

impl<'a> Parser<'a> {
    fn new(template: &'a str, opening: &'a Opening) -> Result<Self, TemplateFault> {
        let mut lexer = Lexer::new(template, opening.span.end);
        let token = lexer.next()?;
        Ok(Self {
            lexer,
            token,
            opening,
        })
    }

    fn advance(&mut self) -> Result<(), TemplateFault> {
        self.token = self.lexer.next()?;
        Ok(())
    }

    fn unclosed(&self) -> TemplateFault {
        let open = self.opening.name;
        TemplateFault::new(TemplateProblem::Unclosed { open }, self.opening.span)
    }

    fn expression(&mut self) -> Result<Expression, TemplateFault> {
        match self.token.clone() {
            Some((TemplateToken::Dot, span)) => self.variable(Vec::new(), span.start),
            Some((TemplateToken::Name(name), span)) => {
                self.advance()?;
                match &self.token {
                    Some((TemplateToken::Dot, _)) => self.variable(vec![name], span.start),
                    Some((TemplateToken::Open, _)) => {
                        let (arguments, _) = self.parenthesised()?;
                        self.advance()?;
                        Ok(Expression::Call {
                            name,
                            span,
                            arguments,
                        })
                    }
                    _ => {
                        let arguments = self.listed()?;
                        Ok(Expression::Call {
                            name,
                            span,
                            arguments,
                        })
                    }
                }
            }
            Some((TemplateToken::End, span)) => {
                Err(TemplateFault::new(TemplateProblem::EmptyExpression, span))
            }
            Some((token, span)) => Err(unexpected_token("a function or a variable", &token, span)),
            None => Err(self.unclosed()),
        }
    }

    /// Parses `.name.name`; the look-ahead is the first dot.
    fn variable(
        &mut self,
        mut path: Vec<String>,
        start: usize,
    ) -> Result<Expression, TemplateFault> {
        let dotted = path.is_empty();
        let mut end = start;
        while let Some((TemplateToken::Dot, _)) = self.token {
            self.advance()?;
            match self.token.take() {
                Some((TemplateToken::Name(name), span)) => {
                    end = span.end;
                    path.push(name);
                }
                Some((token, span)) => return Err(unexpected_token("a name", &token, span)),
                None => return Err(self.unclosed()),
            }
            self.advance()?;
        }
        Ok(Expression::Variable {
            path,
            dotted,
            span: Span::new(start, end),
        })
    }

    /// Parses strings separated by white space, the arguments of Go templates.
    fn listed(&mut self) -> Result<Vec<(String, Span)>, TemplateFault> {
        let mut arguments = Vec::new();
        while let Some((TemplateToken::Text(text), span)) = self.token.clone() {
            arguments.push((text, span));
            self.advance()?;
        }
        Ok(arguments)
    }

    /// Parses `(string, string)`; the look-ahead is `(`. Returns the offset past `)`.
    ///
    /// Leaves the look-ahead on `)`: a call in plain text can be followed by any text, which we
    /// must not read as a token.
    fn parenthesised(&mut self) -> Result<(Vec<(String, Span)>, usize), TemplateFault> {
        let mut arguments = Vec::new();
        self.advance()?;
        if let Some((TemplateToken::Close, _)) = self.token {
            return Ok((arguments, self.lexer.position()));
        }
        loop {
            match self.token.take() {
                Some((TemplateToken::Text(text), span)) => arguments.push((text, span)),
                Some((token, span)) => {
                    return Err(unexpected_token("a quoted string", &token, span));
                }
                None => return Err(self.unclosed()),
            }
            self.advance()?;
            match &self.token {
                Some((TemplateToken::Comma, _)) => self.advance()?,
                Some((TemplateToken::Close, _)) => return Ok((arguments, self.lexer.position())),
                Some((token, span)) => return Err(unexpected_token("`,` or `)`", token, *span)),
                None => return Err(self.unclosed()),
            }
        }
    }
}

fn unexpected_token(wanted: &'static str, token: &TemplateToken, span: Span) -> TemplateFault {
    let found = token.describe();
    TemplateFault::new(TemplateProblem::Unexpected { wanted, found }, span)
}
