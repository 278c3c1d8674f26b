//! From the text of the table to tools.

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Tool;

/// Reads the table.
///
/// # Errors
///
/// The first mistake: the line of the tool, its name and the reason.
pub(super) fn read_tools(text: &str) -> Result<Vec<Tool>, String> {
    let table = DeTable::parse(text).map_err(|error| format!("tools.toml: {error}"))?;
    let mut tools = Vec::new();
    for (key, value) in table.get_ref() {
        let entries = match (key.get_ref().as_ref(), value.get_ref()) {
            ("tool", DeValue::Array(entries)) => entries,
            (key, _) => return Err(format!("tools.toml: `{key}` is not `[[tool]]`")),
        };
        for entry in entries.iter() {
            tools.push(read_tool(entry).map_err(|reason| {
                let line = text[..entry.span().start].lines().count() + 1;
                format!("tools.toml:{line}: {reason}")
            })?);
        }
    }
    Ok(tools)
}

fn read_tool(entry: &Spanned<DeValue<'_>>) -> Result<Tool, String> {
    let name = match entry.get_ref() {
        DeValue::Table(table) => table
            .iter()
            .find(|(key, _)| key.get_ref() == "name")
            .and_then(|(_, value)| value.get_ref().as_str())
            .unwrap_or("without a name"),
        _ => "that is not a table",
    };
    to_json(entry.get_ref())
        .and_then(|value| serde_json::from_value(value).map_err(|error| error.to_string()))
        .map_err(|reason| format!("tool {name}: {reason}"))
}

/// The same value for serde. `toml` itself is built without serde, which nothing else needs.
fn to_json(value: &DeValue<'_>) -> Result<Value, String> {
    Ok(match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Boolean(is_set) => Value::from(*is_set),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| to_json(item.get_ref()));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => {
            let fields = table.iter().map(|(key, value)| {
                let key = key.get_ref().to_string();
                to_json(value.get_ref()).map(|value| (key, value))
            });
            Value::Object(fields.collect::<Result<Map<_, _>, _>>()?)
        }
        other => return Err(format!("no field is of type {}", other.type_str())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_reported_with_the_line_the_tool_and_the_reason() {
        let good = "[[tool]]\nname = \"a\"\ntitle = \"A\"\n\
                    [[tool.cache]]\npath = [{ home = \".a\" }]\n";
        assert_eq!(read_tools(good).unwrap().len(), 1);
        let cases = [
            ("lock = [\"a.lock\"]", "unknown field `lock`"),
            ("locks = \"a.lock\"", "invalid type: string"),
            ("locks = [1]", "no field is of type integer"),
            (
                "when = [{ has = \"a\", env = \"A\" }]",
                "exactly one of `has`",
            ),
            ("when = [{ mentions = [\"a\"] }]", "lists its files as `in`"),
            (
                "when = [{ hook = \"nothing\" }]",
                "no condition hook is `nothing`",
            ),
            (
                "base = [{ hook = \"nothing\" }]",
                "no path hook is `nothing`",
            ),
            ("base = [{ join = \"a\" }]", "names no place"),
            ("base = [{ env = \"A\", home = \"a\" }]", "names two places"),
            ("base = [{ setting = \"a.toml\" }]", "has `keys`"),
            (
                "base = [{ environment = \"A\" }]",
                "unknown field `environment`",
            ),
        ];
        for (field, reason) in cases {
            let text = format!(
                "{good}[[tool]]\nname = \"b\"\ntitle = \"B\"\n{field}\n\
                 [[tool.cache]]\npath = [{{ home = \".b\" }}]\n"
            );
            let error = read_tools(&text).unwrap_err();
            assert!(error.starts_with("tools.toml:6: tool b: "), "{error}");
            assert!(error.contains(reason), "{error}");
        }
        let error = read_tools("[[tools]]\nname = \"a\"\n").unwrap_err();
        assert_eq!(error, "tools.toml: `tools` is not `[[tool]]`");
    }
}
