//! The settings that a project's file may contain. A pull request can change that file, and the
//! command that reads it may have credentials that the pull request's code must not get.

use std::collections::BTreeMap;

use super::file_setting::FileSetting;
use super::setting_names::SettingKind;

/// Settings that select the identity of requests or grant access to stored objects. No setting
/// names a program to run, in any file.
const NOT_FOR_PROJECTS: [&str; 4] = ["role-arn", "external-id", "role-session-name", "acl"];
/// Settings that direct the remote's requests to a server, other than its address.
const SERVERS: [&str; 2] = ["endpoint", "account"];

/// Whether a project's file may contain a setting. It may not contain those of the job's user, nor
/// files and directories of the machine other than cached paths.
pub(super) fn may_be_set_by_project(name: &str, kind: &SettingKind) -> bool {
    !NOT_FOR_PROJECTS.contains(&name) && (name == "path" || !kind.is_path)
}

/// Removes the settings that would let a project send requests, signed with the job's credentials,
/// to a server of its choice. They stay only if the remote in use is the project's own.
///
/// `project` is the content of the project's file; `given` states that a flag or the environment
/// names the remote. Returns the removed settings.
pub(super) fn take_servers(
    project: &mut BTreeMap<String, FileSetting>,
    given: bool,
) -> Vec<(&'static str, FileSetting)> {
    if project.contains_key("remote") && !given {
        return Vec::new();
    }
    SERVERS
        .into_iter()
        .filter_map(|name| Some((name, project.remove(name)?)))
        .collect()
}
