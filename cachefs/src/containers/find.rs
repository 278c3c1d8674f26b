//! Finds a process in a container by the container's name, id or process number.

use std::io;
use std::process::{Command, Output, Stdio};

use thiserror::Error;

/// A container that runs, or a process that was named itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The name as the user gave it: a name, an id, or a process number.
    pub name: String,
    /// A process in it, by its number here.
    pub pid: u32,
}

/// Why a container was not found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FindError {
    /// No engine knows it.
    #[error("no container is named {name}{}", join_reasons(.asked))]
    Unknown {
        /// The name as the user gave it.
        name: String,
        /// The engines that were asked; of those that could not answer, why.
        asked: Vec<(&'static str, Option<String>)>,
    },
    /// It does not run.
    #[error("container {name} is not running ({engine}: {status})")]
    NotRunning {
        /// The name as the user gave it.
        name: String,
        /// The engine that knows it.
        engine: &'static str,
        /// The status as the engine reports it.
        status: String,
    },
}

impl FindError {
    /// Advice to the user.
    pub fn hint(&self) -> String {
        match self {
            Self::Unknown { asked, .. } if asked.is_empty() => {
                "podman, docker and ctr are not installed: pass the PID of a process in the container"
                    .to_owned()
            }
            Self::Unknown { .. } => {
                "`podman ps` and `docker ps` list containers. Only their user sees containers of rootless podman: pass the PID from `podman inspect -f '{{.State.Pid}}' NAME`"
                    .to_owned()
            }
            Self::NotRunning { name, engine, .. } => match *engine {
                CTR => format!("start it: ctr tasks start {name}"),
                engine => format!("start it: {engine} start {name}"),
            },
        }
    }
}

fn join_reasons(asked: &[(&str, Option<String>)]) -> String {
    let words = asked.iter().map(|(engine, why)| match why {
        Some(why) => format!("{engine} failed: {why}"),
        None => format!("{engine} does not know it"),
    });
    let words: Vec<_> = words.collect();
    match words.is_empty() {
        true => String::new(),
        false => format!(" ({})", words.join("; ")),
    }
}

/// containerd's own client.
const CTR: &str = "ctr";
/// How long it may wait for containerd, which it does for ten seconds otherwise.
const CTR_PATIENCE: [&str; 2] = ["--connect-timeout", "2s"];

/// The answer of an engine about a container.
enum InspectedContainer {
    /// It has a process.
    Runs(u32),
    /// It is there and has none.
    Rests(String),
    /// The engine has no such container.
    Unknown,
    /// The engine is not installed.
    NoEngine,
    /// The engine does not answer.
    Failed(String),
}

/// Finds a container by name or id, with podman, docker and containerd as this user may use them; a
/// number is that of a process.
///
/// # Errors
/// [`FindError`].
pub fn find_container(name: &str) -> Result<Container, FindError> {
    let found = |pid| Container {
        name: name.to_owned(),
        pid,
    };
    if let Ok(pid) = name.parse() {
        return Ok(found(pid));
    }
    let mut asked = Vec::new();
    for engine in ["podman", "docker", CTR] {
        let answer = match engine {
            CTR => ask_containerd(name),
            engine => inspect_container(engine, name),
        };
        match answer {
            InspectedContainer::Runs(pid) => return Ok(found(pid)),
            InspectedContainer::Rests(status) => {
                return Err(FindError::NotRunning {
                    name: name.to_owned(),
                    engine,
                    status,
                });
            }
            InspectedContainer::Unknown => asked.push((engine, None)),
            InspectedContainer::Failed(why) => asked.push((engine, Some(why))),
            InspectedContainer::NoEngine => {}
        }
    }
    Err(FindError::Unknown {
        name: name.to_owned(),
        asked,
    })
}

/// Runs a command of an engine's.
fn run_engine(engine: &str, args: &[&str]) -> Result<Output, InspectedContainer> {
    let output = Command::new(engine)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => InspectedContainer::NoEngine,
            _ => InspectedContainer::Failed(error.to_string()),
        })?;
    if output.status.success() {
        return Ok(output);
    }
    let told = String::from_utf8_lossy(&output.stderr);
    if told.to_ascii_lowercase().contains("no such") {
        return Err(InspectedContainer::Unknown);
    }
    let last = told.trim().lines().last().unwrap_or("it failed");
    Err(InspectedContainer::Failed(first_words(last).to_owned()))
}

/// The start of an engine's error line, which can be long: the failure, without the chain of calls.
fn first_words(line: &str) -> &str {
    let line = line.split(": connection error:").next().unwrap_or(line);
    line.split(" Is the docker daemon").next().unwrap_or(line)
}

/// Asks podman or docker, which have the same command for it.
fn inspect_container(engine: &str, name: &str) -> InspectedContainer {
    let format = "{{.State.Pid}} {{.State.Status}}";
    let args = ["container", "inspect", "--format", format, "--", name];
    match run_engine(engine, &args) {
        Ok(output) => parse_state(&String::from_utf8_lossy(&output.stdout)),
        Err(answer) => answer,
    }
}

/// Reads `4711 running`. Process number 0 means that the container is not running.
fn parse_state(text: &str) -> InspectedContainer {
    let (pid, status) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    match pid.parse() {
        Ok(0) => InspectedContainer::Rests(status.to_owned()),
        Ok(pid) => InspectedContainer::Runs(pid),
        Err(_) => InspectedContainer::Failed(format!("unexpected output {:?}", text.trim())),
    }
}

/// Asks containerd, in every one of its namespaces.
fn ask_containerd(name: &str) -> InspectedContainer {
    let [option, limit] = CTR_PATIENCE;
    let namespaces = match run_engine(CTR, &[option, limit, "namespaces", "list", "--quiet"]) {
        Ok(output) => output.stdout,
        Err(answer) => return answer,
    };
    for namespace in String::from_utf8_lossy(&namespaces).split_whitespace() {
        let args = [option, limit, "--namespace", namespace, "tasks", "list"];
        if let Ok(output) = run_engine(CTR, &args)
            && let Some(answer) = parse_tasks(&String::from_utf8_lossy(&output.stdout), name)
        {
            return answer;
        }
    }
    InspectedContainer::Unknown
}

/// Looks for a container in a table of name or id, process and status.
fn parse_tasks(table: &str, name: &str) -> Option<InspectedContainer> {
    table.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        // Ids are long; people give their beginning.
        let id = fields.next()?;
        if id != name && !(name.len() >= 12 && id.starts_with(name)) {
            return None;
        }
        let pid = fields.next()?.parse().ok()?;
        match fields.next()? {
            "RUNNING" => Some(InspectedContainer::Runs(pid)),
            status => Some(InspectedContainer::Rests(status.to_lowercase())),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_process() {
        assert_eq!(find_container("4711").unwrap().pid, 4711);
    }

    #[test]
    fn states_are_told_apart() {
        assert!(matches!(
            parse_state("12 running\n"),
            InspectedContainer::Runs(12)
        ));
        assert!(matches!(parse_state("0 exited\n"), InspectedContainer::Rests(s) if s == "exited"));
        assert!(matches!(
            parse_state("<no value>"),
            InspectedContainer::Failed(_)
        ));
    }

    #[test]
    fn tasks_of_containerd_are_found() {
        let table =
            "TASK    PID     STATUS    \nweb     77      RUNNING\nold     78      STOPPED\n";
        assert!(matches!(
            parse_tasks(table, "web"),
            Some(InspectedContainer::Runs(77))
        ));
        assert!(matches!(
            parse_tasks(table, "old"),
            Some(InspectedContainer::Rests(_))
        ));
        assert!(parse_tasks(table, "we").is_none());
    }

    #[test]
    fn what_was_asked_is_told() {
        let unknown = FindError::Unknown {
            name: "web".to_owned(),
            asked: vec![("podman", None), ("docker", Some("no daemon".to_owned()))],
        };
        assert_eq!(
            unknown.to_string(),
            "no container is named web (podman does not know it; docker failed: no daemon)"
        );
    }
}
