//! Evaluates AWS access policies, as far as our documentation uses them.
//!
//! A request is allowed if a statement allows it and none denies it. Unknown operators and elements
//! are errors when the policy is parsed. Otherwise a misunderstood policy could pass a test.

use anyhow::{Context, Result, bail, ensure};
use s3s::access::{S3Access, S3AccessContext};
use s3s::{S3Result, s3_error};
use serde_json::{Map, Value};

use super::layer::percent_decoded;

/// A user of a server, with access policies.
#[derive(Debug, Clone)]
pub struct User {
    /// The access key.
    pub access_key: String,
    /// The secret key for `access_key`.
    pub secret_key: String,
    policy: Policy,
}

impl User {
    /// Creates a user with these policies, each a JSON document.
    pub fn new<'a>(name: &str, policies: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut statements = Vec::new();
        for text in policies {
            statements.extend(parse(text).with_context(|| format!("in {text}"))?);
        }
        Ok(Self {
            access_key: name.to_owned(),
            secret_key: format!("{name}-secret"),
            policy: Policy(statements),
        })
    }
}

#[derive(Debug, Clone)]
struct Policy(Vec<Statement>);

#[derive(Debug, Clone)]
struct Statement {
    allows: bool,
    actions: Vec<String>,
    resources: Vec<String>,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone)]
enum Condition {
    /// The request parameter matches one of these patterns.
    Like(Vec<String>),
    /// Whether `If-None-Match` must be absent (true) or present (false).
    Unconditional(bool),
}

/// The properties of a request that policies refer to.
struct Request<'a> {
    action: &'static str,
    resource: String,
    prefix: String,
    headers: &'a hyper::HeaderMap,
}

fn strings(value: &Value) -> Result<Vec<String>> {
    let text = |value: &Value| Some(value.as_str()?.to_owned());
    let all = match value {
        Value::Array(values) => values.iter().map(text).collect(),
        value => text(value).map(|text| vec![text]),
    };
    all.with_context(|| format!("{value} is neither text nor a list of it"))
}

fn parse(text: &str) -> Result<Vec<Statement>> {
    let policy: Value = serde_json::from_str(text)?;
    ensure!(policy["Version"] == "2012-10-17", "it has another version");
    let statements = policy["Statement"].as_array().context("no statements")?;
    let read = |statement: &Value| {
        let members = statement.as_object().context("a statement is no object")?;
        for member in members.keys() {
            let known = ["Sid", "Effect", "Action", "Resource", "Condition"];
            ensure!(known.contains(&&**member), "{member} is not known");
        }
        Ok(Statement {
            allows: match statement["Effect"].as_str() {
                Some("Allow") => true,
                Some("Deny") => false,
                other => bail!("{other:?} is no effect"),
            },
            actions: strings(&statement["Action"])?,
            resources: strings(&statement["Resource"])?,
            conditions: match members.get("Condition") {
                Some(Value::Object(conditions)) => conditions_of(conditions)?,
                None => Vec::new(),
                Some(other) => bail!("{other} is no condition"),
            },
        })
    };
    statements.iter().map(read).collect()
}

fn conditions_of(operators: &Map<String, Value>) -> Result<Vec<Condition>> {
    let mut conditions = Vec::new();
    for (operator, keys) in operators {
        for (key, value) in keys.as_object().context("a condition has no keys")? {
            conditions.push(match (&**operator, &**key) {
                ("StringLike", "s3:prefix") => Condition::Like(strings(value)?),
                ("Null", "s3:if-none-match") => {
                    Condition::Unconditional(strings(value)? == ["true"])
                }
                _ => bail!("{operator} of {key} is not known"),
            });
        }
    }
    Ok(conditions)
}

/// Matches text against a pattern in which `*` stands for any characters.
fn is_like(text: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => text == pattern,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            (0..=text.len())
                .filter(|at| text.is_char_boundary(*at))
                .any(|at| is_like(&text[at..], rest))
        }),
    }
}

fn is_like_one(text: &str, patterns: &[String]) -> bool {
    patterns.iter().any(|pattern| is_like(text, pattern))
}

impl Statement {
    fn is_about(&self, request: &Request<'_>) -> bool {
        let holds = |condition: &Condition| match condition {
            Condition::Like(patterns) => is_like_one(&request.prefix, patterns),
            Condition::Unconditional(wanted) => {
                request.headers.contains_key("if-none-match") != *wanted
            }
        };
        is_like_one(request.action, &self.actions)
            && is_like_one(&request.resource, &self.resources)
            && self.conditions.iter().all(holds)
    }
}

impl Policy {
    fn allows(&self, request: &Request<'_>) -> bool {
        let mut about = self
            .0
            .iter()
            .filter(|rule| rule.is_about(request))
            .peekable();
        about.peek().is_some() && about.all(|rule| rule.allows)
    }
}

/// Allows each user only the requests that its policies allow.
#[derive(Debug)]
pub(super) struct Guard(pub(super) Vec<User>);

#[async_trait::async_trait]
impl S3Access for Guard {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let denied = || s3_error!(AccessDenied, "Access Denied");
        let key = context.credentials().map(|known| known.access_key.clone());
        let user = self
            .0
            .iter()
            .find(|user| Some(&user.access_key) == key.as_ref());
        let action = match context.s3_op().name() {
            "GetObject" | "HeadObject" => "s3:GetObject",
            "PutObject" => "s3:PutObject",
            "DeleteObject" => "s3:DeleteObject",
            "ListObjectsV2" => "s3:ListBucket",
            _ => return Err(denied()),
        };
        let path = percent_decoded(context.uri().path());
        let query = context.uri().query().unwrap_or_default();
        let prefix = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("prefix="));
        let request = Request {
            action,
            resource: format!("arn:aws:s3:::{}", path.trim_matches('/')),
            prefix: percent_decoded(prefix.unwrap_or_default()),
            headers: context.headers(),
        };
        match user {
            Some(user) if user.policy.allows(&request) => Ok(()),
            _ => Err(denied()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        assert!(is_like("a/b/c", "a/*"));
        assert!(is_like("a/b/c", "a/*/c"));
        assert!(!is_like("b/a/c", "a/*"));
        assert!(!is_like("a", "a/*"));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let policy = |statement: &str| {
            parse(&format!(
                r#"{{"Version": "2012-10-17", "Statement": [{statement}]}}"#
            ))
        };
        let rule = r#""Effect": "Allow", "Action": "s3:GetObject""#;
        assert!(policy(&format!(r#"{{{rule}, "Resource": "*"}}"#)).is_ok());
        assert!(policy(&format!(r#"{{{rule}, "NotResource": "*"}}"#)).is_err());
        let condition = r#"{"StringEquals": {"x": "y"}}"#;
        let conditional = format!(r#"{{{rule}, "Resource": "*", "Condition": {condition}}}"#);
        assert!(policy(&conditional).is_err());
    }
}
