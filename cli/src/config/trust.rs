//! What a project's file may say. A pull request can change it, and the command that reads it may
//! have credentials that the pull request's own code must not have.

use std::collections::BTreeMap;

use super::file::FileSetting;
use super::known::SettingKind;

/// As whom requests are made, and who may read what they store. No setting names a program to
/// run, in any file.
const NOT_FOR_PROJECTS: [&str; 4] = ["role-arn", "external-id", "role-session-name", "acl"];
/// Where the requests for a remote go, apart from its address.
const SERVERS: [&str; 2] = ["endpoint", "account"];

/// Whether a project's file may have a setting: neither those of whoever runs the job, nor files
/// and directories of the machine other than the cached paths.
pub(super) fn may_be_set_by_project(name: &str, kind: &SettingKind) -> bool {
    !NOT_FOR_PROJECTS.contains(&name) && (name == "path" || !kind.is_path)
}

/// Takes away the settings by which a project would have the data of a remote that it does not
/// name, and the requests signed for it, sent to a server of its choice.
///
/// `project` is what the project's file says, and `given` tells that a flag or the environment
/// names the remote. Returns what was taken away.
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
