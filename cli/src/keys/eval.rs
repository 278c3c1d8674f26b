//! The functions and variables of templates.

use std::time::UNIX_EPOCH;

use super::error::{Span, TemplateFault, TemplateProblem};
use super::parse::{Expression, TemplatePiece};
use super::{KeyContext, KeyPart, PartKind, hash_files};
use crate::ci::{BuildFact, Ci};

/// Evaluates one piece of `template`.
pub(super) fn evaluate_piece(
    template: &str,
    piece: &TemplatePiece,
    context: &KeyContext<'_>,
) -> Result<KeyPart, TemplateFault> {
    let span = piece.span();
    let source = &template[span.start..span.end];
    let evaluated = match piece {
        TemplatePiece::Text(_) => Evaluated::plain(PartKind::Text, source.to_owned()),
        TemplatePiece::Expression { expression, .. } => match expression {
            Expression::Call {
                name,
                span,
                arguments,
            } => call_function(name, *span, arguments, context)?,
            Expression::Variable { path, dotted, span } => {
                evaluate_variable(&path.join("."), *dotted, *span, context)?
            }
        },
    };
    Ok(KeyPart {
        kind: evaluated.kind,
        name: source.to_owned(),
        value: evaluated.value,
        variable: evaluated.variable,
        files: evaluated.inputs.files,
        skipped: evaluated.inputs.skipped,
    })
}

/// Whether the evaluation of a piece reads files.
pub(super) fn reads_files(piece: &TemplatePiece) -> bool {
    let TemplatePiece::Expression {
        expression: Expression::Call { name, .. },
        ..
    } = piece
    else {
        return false;
    };
    matches!(name.as_str(), "checksum" | "hashFiles")
}

/// Whether the evaluation of a piece reads the environment. `runner.os` and `runner.arch` do not.
pub(super) fn reads_variables(piece: &TemplatePiece) -> bool {
    let TemplatePiece::Expression { expression, .. } = piece else {
        return false;
    };
    match expression {
        Expression::Call { name, .. } => name == "env",
        Expression::Variable { path, .. } => {
            !matches!(path.join(".").as_str(), "runner.os" | "runner.arch")
        }
    }
}

/// A [`KeyPart`] before it gets its name.
struct Evaluated {
    kind: PartKind,
    value: String,
    variable: Option<String>,
    inputs: hash_files::Inputs,
}

impl Evaluated {
    fn plain(kind: PartKind, value: String) -> Self {
        Self {
            kind,
            value,
            variable: None,
            inputs: hash_files::Inputs::default(),
        }
    }

    fn from_variable(kind: PartKind, value: String, variable: String) -> Self {
        Self {
            variable: Some(variable),
            ..Self::plain(kind, value)
        }
    }
}

fn call_function(
    name: &str,
    span: Span,
    arguments: &[(String, Span)],
    context: &KeyContext<'_>,
) -> Result<Evaluated, TemplateFault> {
    let wrong_count = |wanted| {
        let problem = TemplateProblem::Arguments {
            name: name.to_owned(),
            wanted,
            got: arguments.len(),
        };
        Err(TemplateFault::new(problem, span))
    };
    match (name, arguments) {
        ("checksum" | "hashFiles", []) => wrong_count("one or more files"),
        ("checksum" | "hashFiles", _) if context.reach.has_no_files() => Err(TemplateFault::new(
            TemplateProblem::NoFiles(name.to_owned()),
            span,
        )),
        ("checksum", _) => {
            let (value, inputs) = hash_files::evaluate_checksum(arguments, context)?;
            Ok(Evaluated {
                kind: PartKind::Checksum,
                value,
                variable: None,
                inputs,
            })
        }
        ("hashFiles", _) => {
            let (value, inputs) = hash_files::hash_files(arguments, context)?;
            Ok(Evaluated {
                kind: PartKind::HashFiles,
                value,
                variable: None,
                inputs,
            })
        }
        ("env", [(variable, place)]) => from_environment(variable, *place, context),
        ("env", _) => wrong_count("the name of one variable"),
        ("arch", []) => Ok(Evaluated::plain(PartKind::Platform, go_arch().to_owned())),
        ("os", []) => Ok(Evaluated::plain(PartKind::Platform, go_os().to_owned())),
        ("epoch", []) => Ok(Evaluated::plain(
            PartKind::Time,
            epoch_seconds(context).to_string(),
        )),
        ("arch" | "os" | "epoch", _) => wrong_count("no argument"),
        _ => Err(TemplateFault::new(
            TemplateProblem::UnknownFunction(name.to_owned()),
            span,
        )),
    }
}

/// Evaluates a variable; `path` is its names joined by dots, for example `github.ref_name`.
fn evaluate_variable(
    path: &str,
    dotted: bool,
    span: Span,
    context: &KeyContext<'_>,
) -> Result<Evaluated, TemplateFault> {
    let unknown = || TemplateFault::new(TemplateProblem::UnknownVariable(path.to_owned()), span);
    if dotted && context.reach.is_limited() {
        return Err(TemplateFault::new(
            TemplateProblem::Withheld(path.to_owned()),
            span,
        ));
    }
    if dotted {
        if let Some(name) = path.strip_prefix("Environment.") {
            return from_environment(name, span, context);
        }
        let fact = BuildFact::of_variable(path).ok_or_else(unknown)?;
        return match Ci::new(context.env).report(fact) {
            Ok(found) => Ok(Evaluated::from_variable(
                PartKind::Build,
                found.value,
                found.variable.to_owned(),
            )),
            Err(_) if context.allow_missing => Ok(Evaluated::plain(PartKind::Build, String::new())),
            Err(missing) => {
                let problem = TemplateProblem::UnknownHere {
                    name: format!(".{path}"),
                    place: missing.place,
                    variables: missing.variables.join(", "),
                };
                Err(TemplateFault::new(problem, span))
            }
        };
    }
    match path.split_once('.') {
        Some(("env", name)) if !name.contains('.') => from_environment(name, span, context),
        Some((root @ ("runner" | "github"), name)) if !name.contains('.') => {
            let variable = format!("{}_{}", root, name).to_uppercase();
            let known = context.env.get(&variable);
            match (known.filter(|_| !context.reach.is_limited()), path) {
                (Some(value), _) => {
                    let kind = if root == "runner" {
                        PartKind::Platform
                    } else {
                        PartKind::Build
                    };
                    Ok(Evaluated::from_variable(kind, value.clone(), variable))
                }
                (None, "runner.os") => {
                    Ok(Evaluated::plain(PartKind::Platform, github_os().to_owned()))
                }
                (None, "runner.arch") => Ok(Evaluated::plain(
                    PartKind::Platform,
                    github_arch().to_owned(),
                )),
                (None, _) => from_environment(&variable, span, context),
            }
        }
        _ => Err(unknown()),
    }
}

fn from_environment(
    name: &str,
    span: Span,
    context: &KeyContext<'_>,
) -> Result<Evaluated, TemplateFault> {
    if context.reach.is_limited() {
        return Err(TemplateFault::new(
            TemplateProblem::Withheld(name.to_owned()),
            span,
        ));
    }
    let value = match context.env.get(name) {
        Some(value) => value.clone(),
        None if context.allow_missing => String::new(),
        None => {
            return Err(TemplateFault::new(
                TemplateProblem::Unset(name.to_owned()),
                span,
            ));
        }
    };
    Ok(Evaluated::from_variable(
        PartKind::Environment,
        value,
        name.to_owned(),
    ))
}

/// Seconds since 1970; 0 if the clock is set before that.
fn epoch_seconds(context: &KeyContext<'_>) -> u64 {
    context
        .now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}

/// The architecture as Go, Docker and Drone name it, for example `amd64`.
fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

/// The operating system as Go, Docker and Drone name it, for example `linux`.
fn go_os() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    }
}

/// The architecture as GitHub's runner names it, for example `X64`.
fn github_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "X64",
        "x86" => "X86",
        "aarch64" => "ARM64",
        "arm" => "ARM",
        other => other,
    }
}

/// The operating system as GitHub's runner names it, for example `Linux`.
fn github_os() -> &'static str {
    match std::env::consts::OS {
        "linux" => "Linux",
        "macos" => "macOS",
        "windows" => "Windows",
        other => other,
    }
}
