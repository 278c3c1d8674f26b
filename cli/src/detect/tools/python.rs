//! pip, pipenv, Poetry, uv, PDM, and what Python programs download: models and hooks.

use crate::detect::place::DetectedDirectory;
use crate::detect::site::Site;
use crate::detect::tool::{Draft, Tool, any_project};

/// Files of the tools that are not pip.
const OTHERS: &[&str] = &[
    "poetry.lock",
    "uv.lock",
    "pdm.lock",
    "Pipfile",
    "Pipfile.lock",
];
const VERSION: &str = ".python-version";

pub(super) static PIP: Tool = Tool {
    name: "pip",
    title: "pip",
    locks: &[],
    manifests: &[
        "requirements*.txt",
        "constraints*.txt",
        "pyproject.toml",
        "setup.py",
        "setup.cfg",
    ],
    inputs: &["requirements/*.txt", VERSION],
    is_project: |site| {
        site.has("requirements.txt") || !(site.has_above(OTHERS) || belongs_to_others(site))
    },
    caches: |site| {
        let host = site.host;
        let cache = host
            .variable(&["PIP_CACHE_DIR"])
            .or_else(|| host.asked("pip", &["cache", "dir"]))
            .or_else(|| host.asked("python3", &["-m", "pip", "cache", "dir"]))
            .unwrap_or_else(|| host.cache("pip"));
        vec![Draft::main(cache).compiled(), venv_cache(site)]
    },
};

fn belongs_to_others(site: &Site<'_>) -> bool {
    site.mentions("pyproject.toml", &["[tool.poetry", "[tool.uv", "[tool.pdm"])
}

pub(super) static PIPENV: Tool = Tool {
    name: "pipenv",
    title: "pipenv",
    locks: &["Pipfile.lock"],
    manifests: &["Pipfile"],
    inputs: &[VERSION],
    is_project: any_project,
    caches: |site| {
        let host = site.host;
        let cache = host
            .variable(&["PIPENV_CACHE_DIR"])
            .unwrap_or_else(|| host.cache("pipenv"));
        let environments = match host.var("PIPENV_VENV_IN_PROJECT") {
            Some(_) => site.own(".venv"),
            None => host
                .variable(&["WORKON_HOME"])
                .unwrap_or_else(|| host.data("virtualenvs")),
        };
        vec![
            Draft::main(cache).compiled(),
            Draft::new("virtualenvs", environments)
                .compiled()
                .optional(OPTIONAL_VENV),
        ]
    },
};

pub(super) static POETRY: Tool = Tool {
    name: "poetry",
    title: "Poetry",
    locks: &["poetry.lock"],
    manifests: &["pyproject.toml"],
    inputs: &[VERSION],
    is_project: |site| {
        site.has("poetry.lock") || site.mentions("pyproject.toml", &["[tool.poetry"])
    },
    caches: |site| {
        let host = site.host;
        let cache = host
            .variable(&["POETRY_CACHE_DIR"])
            .or_else(|| site.setting("poetry.toml", &["cache-dir"]))
            .or_else(|| host.asked("poetry", &["config", "cache-dir"]))
            .unwrap_or_else(|| host.cache("pypoetry"));
        let environments = match in_project(site) {
            true => site.own(".venv"),
            false => host
                .variable(&["POETRY_VIRTUALENVS_PATH"])
                .unwrap_or_else(|| cache.join("virtualenvs")),
        };
        vec![
            Draft::main(cache.join("artifacts")).compiled(),
            Draft::new("metadata", cache.join("cache")),
            Draft::new("virtualenvs", environments)
                .compiled()
                .optional(OPTIONAL_VENV),
        ]
    },
};

fn in_project(site: &Site<'_>) -> bool {
    let is_true = |value: &str| matches!(value, "true" | "1");
    match site.host.var("POETRY_VIRTUALENVS_IN_PROJECT") {
        Some(value) => is_true(value),
        None => site
            .read("poetry.toml")
            .and_then(|text| crate::detect::site::find_setting_line(&text, &["in-project"]))
            .is_some_and(|value| is_true(&value)),
    }
}

pub(super) static UV: Tool = Tool {
    name: "uv",
    title: "uv",
    locks: &["uv.lock"],
    manifests: &["pyproject.toml"],
    inputs: &[VERSION],
    is_project: |site| site.has("uv.lock") || site.mentions("pyproject.toml", &["[tool.uv"]),
    caches: |site| {
        let host = site.host;
        let cache = host
            .variable(&["UV_CACHE_DIR"])
            .or_else(|| site.setting("uv.toml", &["cache-dir"]))
            .or_else(|| site.setting("pyproject.toml", &["cache-dir"]))
            .or_else(|| host.asked("uv", &["cache", "dir"]))
            .unwrap_or_else(|| host.cache("uv"));
        let main = Draft::main(cache).compiled().note(
            "hard links do not cross mounts: set UV_LINK_MODE=copy, or uv warns before it copies (`cachefs exec` sets it)",
        );
        vec![main, venv_cache(site)]
    },
};

pub(super) static PDM: Tool = Tool {
    name: "pdm",
    title: "PDM",
    locks: &["pdm.lock"],
    manifests: &["pyproject.toml"],
    inputs: &[VERSION],
    is_project: |site| site.has("pdm.lock") || site.mentions("pyproject.toml", &["[tool.pdm"]),
    caches: |site| {
        let cache = site
            .host
            .variable(&["PDM_CACHE_DIR"])
            .unwrap_or_else(|| site.host.cache("pdm"));
        vec![Draft::main(cache).compiled(), venv_cache(site)]
    },
};

const OPTIONAL_VENV: &str =
    "an environment works only at its path and with the Python that created it";

fn venv_cache(site: &Site<'_>) -> Draft {
    let place: DetectedDirectory = match site.host.var("UV_PROJECT_ENVIRONMENT") {
        Some(_) => site
            .host
            .variable(&["UV_PROJECT_ENVIRONMENT"])
            .unwrap_or_else(|| site.own(".venv")),
        None => site.own(".venv"),
    };
    Draft::new("venv", place).compiled().optional(OPTIONAL_VENV)
}

pub(super) static HUGGING_FACE: Tool = Tool {
    name: "huggingface",
    title: "Hugging Face",
    locks: &["poetry.lock", "uv.lock", "pdm.lock", "Pipfile.lock"],
    manifests: &["requirements*.txt", "pyproject.toml", "Pipfile"],
    inputs: &[],
    is_project: |site| {
        let packages = [
            "huggingface",
            "transformers",
            "diffusers",
            "sentence-transformers",
        ];
        ["requirements.txt", "pyproject.toml", "Pipfile"]
            .iter()
            .any(|file| site.mentions(file, &packages))
    },
    caches: |site| {
        let host = site.host;
        // Not the directory above, which holds the token.
        let models = host
            .variable(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"])
            .or_else(|| Some(host.variable(&["HF_HOME"])?.join("hub")))
            .unwrap_or_else(|| host.cache("huggingface/hub"));
        vec![Draft::main(models)]
    },
};

pub(super) static PRE_COMMIT: Tool = Tool {
    name: "pre-commit",
    title: "pre-commit",
    locks: &[],
    manifests: &[".pre-commit-config.yaml"],
    inputs: &[],
    is_project: any_project,
    caches: |site| {
        let cache = site
            .host
            .variable(&["PRE_COMMIT_HOME"])
            .unwrap_or_else(|| site.host.cache("pre-commit"));
        vec![Draft::main(cache).compiled()]
    },
};
