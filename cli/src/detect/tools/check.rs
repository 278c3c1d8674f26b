//! Rules for the table that serde does not check.

use super::super::condition::Condition;
use super::super::scan;
use super::super::source::{Source, SourceOrigin, SourceReach, SourceRoot};
use super::super::tool::{Tool, ToolCache};
use super::read::read_tools;
use super::{TABLE, names_of};

#[test]
fn the_table_is_valid() {
    let tools = read_tools(TABLE).unwrap_or_else(|error| panic!("{error}"));
    let mistakes = mistakes(&tools);
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

/// Every mistake: the tool and the reason.
fn mistakes(tools: &[Tool]) -> Vec<String> {
    let mut all = Vec::new();
    let names = names_of(tools);
    for (at, tool) in tools.iter().enumerate() {
        let mut reasons = tool_mistakes(tool);
        for (other_at, other) in tools.iter().enumerate() {
            if other_at > at && other.name == tool.name {
                reasons.push("another tool has the same name".to_owned());
            }
            // A key that starts with `NAME-` is a fallback of the tool NAME.
            if other.name.starts_with(&format!("{}-", tool.name)) {
                reasons.push(format!(
                    "{} starts with its name, so it would restore the caches of that tool",
                    other.name
                ));
            }
        }
        for file in looked_for(tool) {
            if !names.is_match(file.rsplit('/').next().unwrap_or(file)) {
                reasons.push(format!(
                    "`has` and `lacks` see {file} only if locks, manifests or key-files name it"
                ));
            }
        }
        let named = |reason| format!("tools.toml: tool {}: {reason}", tool.name);
        all.extend(reasons.into_iter().map(named));
    }
    all
}

/// The files in conditions of a tool, which only see files that the search collected.
fn looked_for(tool: &Tool) -> impl Iterator<Item = &str> {
    let of_caches = tool.caches.iter().flat_map(|cache| {
        let sources = cache.path.iter().flat_map(|source| &source.when);
        let note = cache.note_if.iter().flat_map(|note| &note.when);
        cache.when.iter().chain(sources).chain(note)
    });
    let of_base = tool.base.iter().flat_map(|source| &source.when);
    let all = tool.when.iter().chain(of_caches).chain(of_base);
    all.filter_map(|condition| match condition {
        Condition::Has(file) | Condition::Lacks(file) => Some(file.as_str()),
        _ => None,
    })
}

fn tool_mistakes(tool: &Tool) -> Vec<String> {
    let mut reasons = Vec::new();
    if !is_name(&tool.name) {
        reasons.push("the name needs lowercase letters, digits and `-`".to_owned());
    }
    if tool.title.is_empty() {
        reasons.push("the title is empty".to_owned());
    }
    if tool.locks.is_empty() && tool.manifests.is_empty() {
        reasons.push("without locks and manifests it has no projects".to_owned());
    }
    for lock in &tool.locks {
        if lock.contains(['*', '?', '[', '{', '/']) {
            reasons.push(format!("the lock {lock} must be the name of one file"));
        }
    }
    for manifest in &tool.manifests {
        if manifest.contains('/') {
            reasons.push(format!("the manifest {manifest} must not have directories"));
        }
    }
    if tool.caches.is_empty() {
        reasons.push("it has no cache".to_owned());
    }
    let cache_patterns = tool
        .caches
        .iter()
        .filter_map(|cache| cache.key_files.as_ref());
    for pattern in [&tool.locks, &tool.manifests, &tool.key_files]
        .into_iter()
        .chain(cache_patterns)
        .flatten()
    {
        if let Err(error) = globset::Glob::new(pattern) {
            reasons.push(error.to_string());
        }
    }
    let paths = tool.caches.iter().map(|cache| &cache.path);
    let uses_base = paths
        .flatten()
        .any(|source| matches!(source.origin, SourceOrigin::Base(_)));
    if uses_base == tool.base.is_empty() {
        reasons.push("`base` is needed if a path uses it, and only then".to_owned());
    }
    if !tool.base.is_empty() {
        reasons.extend(list_mistakes("base", &tool.base));
        if tool.base.iter().any(|source| source.note.is_some()) {
            reasons.push("base: only sources of a path can have notes".to_owned());
        }
    }
    for (at, cache) in tool.caches.iter().enumerate() {
        reasons.extend(cache_mistakes(tool, cache));
        if tool.caches[..at]
            .iter()
            .any(|other| other.name == cache.name)
        {
            reasons.push(format!("two caches are named {:?}", cache.name));
        }
    }
    reasons
}

fn cache_mistakes(tool: &Tool, cache: &ToolCache) -> Vec<String> {
    let title = match cache.name.as_str() {
        "" => "main cache".to_owned(),
        name => format!("cache {name}"),
    };
    let mut reasons = list_mistakes(&title, &cache.path);
    if !cache.name.is_empty() && !is_name(&cache.name) {
        reasons.push(format!(
            "{title}: the name needs lowercase letters and digits"
        ));
    }
    for source in &cache.path {
        if matches!(
            source.origin,
            SourceOrigin::JavaOption(_) | SourceOrigin::Default(SourceRoot::JavaHome, _)
        ) && tool.java_options.is_empty()
        {
            reasons.push(format!("{title}: the tool has no `java-options`"));
        }
    }
    reasons
}

/// Mistakes in a list of sources, of which the first one with an answer counts.
fn list_mistakes(title: &str, sources: &[Source]) -> Vec<String> {
    let mut reasons = Vec::new();
    let is_certain = |source: &Source| {
        matches!(
            source.origin,
            SourceOrigin::Default(..) | SourceOrigin::Base(_)
        )
    };
    match sources.split_last() {
        None => reasons.push(format!("{title}: no sources")),
        Some((last, before)) => {
            if !is_certain(last) && !matches!(last.origin, SourceOrigin::Hook(_)) {
                reasons.push(format!("{title}: the last source must be a default"));
            }
            if before
                .iter()
                .any(|source| is_certain(source) && source.when.is_empty())
            {
                reasons.push(format!("{title}: a source after a default is never used"));
            }
        }
    }
    for source in sources {
        let (path, is_absolute) = match &source.origin {
            SourceOrigin::Setting { file, reach, .. } if *reach != SourceReach::Home => {
                (file, false)
            }
            SourceOrigin::Default(root, below) => (below, *root == SourceRoot::Absolute),
            SourceOrigin::Setting { file: path, .. } | SourceOrigin::Base(path) => (path, false),
            _ => continue,
        };
        if path.is_empty() || path.starts_with('/') != is_absolute || path.ends_with('/') {
            reasons.push(format!("{title}: `{path}` must be relative, or `absolute`"));
        }
        if let SourceOrigin::Default(SourceRoot::Own, below) = &source.origin
            && !is_closed(below)
        {
            reasons.push(format!(
                "{title}: add `{below}` to CLOSED in scan.rs; else a build changes the key"
            ));
        }
    }
    reasons
}

/// Whether the search for projects skips this directory of a project.
fn is_closed(below: &str) -> bool {
    let top = below.split('/').next().unwrap_or(below);
    // scan.rs skips `deps` beside `mix.exs`.
    top == "deps" || scan::CLOSED.contains(&top)
}

/// Whether this can be part of a key and of an option.
fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    !name.is_empty() && name.chars().all(is_plain)
}

#[test]
fn every_rule_names_the_tool_and_the_reason() {
    let tool = |name: &str, fields: &str, path: &str| {
        format!(
            "[[tool]]\nname = \"{name}\"\ntitle = \"A\"\n{fields}\n\
             [[tool.cache]]\npath = [{path}]\n"
        )
    };
    let home = "{ home = \".a\" }";
    let locks = "locks = [\"a.lock\"]";
    let good = tool("good", locks, home);
    let cases = [
        (tool("good", locks, home), "same name"),
        (tool("good-er", locks, home), "starts with its name"),
        (tool("A", locks, home), "lowercase"),
        (tool("a", "", home), "no projects"),
        (
            tool("a", "locks = [\"*.lock\"]", home),
            "the name of one file",
        ),
        (tool("a", "manifests = [\"a/b\"]", home), "directories"),
        (tool("a", "manifests = [\"[\"]", home), "glob"),
        (tool("a", locks, "{ base = \"a\" }"), "`base` is needed"),
        (tool("a", locks, ""), "no sources"),
        (tool("a", locks, "{ env = \"A\" }"), "must be a default"),
        (
            tool("a", locks, "{ home = \"a\" }, { home = \"b\" }"),
            "never used",
        ),
        (tool("a", locks, "{ home = \"/a\" }"), "must be relative"),
        (tool("a", locks, "{ absolute = \"a\" }"), "must be relative"),
        (
            tool("a", "locks = [\"a.lock\"]\nwhen = [{ has = \"b\" }]", home),
            "see b only if",
        ),
        (tool("a", locks, "{ own = \"made\" }"), "CLOSED in scan.rs"),
        (tool("a", locks, "{ java-home = \".a\" }"), "java-options"),
        (
            tool("a", locks, home) + "[[tool.cache]]\npath = [{ home = \"b\" }]",
            "two caches",
        ),
    ];
    for (text, reason) in cases {
        let tools = read_tools(&format!("{good}{text}")).unwrap();
        let mistakes = mistakes(&tools);
        assert_eq!(mistakes.len(), 1, "{text}{mistakes:?}");
        assert!(mistakes[0].starts_with("tools.toml: tool "), "{mistakes:?}");
        assert!(mistakes[0].contains(reason), "{mistakes:?}");
    }
}

#[test]
fn the_example_of_the_documentation_is_valid() {
    let page = include_str!("../../../../docs/detection.md");
    let (_, section) = page.split_once("## Add a tool").unwrap();
    let (_, example) = section.split_once("```toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let tools = read_tools(example).unwrap_or_else(|error| panic!("{error}"));
    let mistakes = mistakes(&tools);
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}
