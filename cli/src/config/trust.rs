//! What a project's file may say. A pull request can change it, and the command that reads it may
//! have credentials that the pull request's own code must not have.

use std::collections::BTreeMap;

use super::file::Setting;

/// Settings of the machine and of whoever runs the job: where local state is, and as whom
/// requests are made. No setting names a program to run, in any file.
const NOT_FOR_PROJECTS: [&str; 1] = ["store"];

/// Whether a project's file may have a setting.
pub(super) fn may_be_set_by_project(name: &str) -> bool {
    !NOT_FOR_PROJECTS.contains(&name)
}

/// Takes the `endpoint` away from a project that does not name the remote that is used: it would
/// have the data, and the requests signed for that remote, sent to another server.
///
/// `project` is what the project's file says, and `given` tells that a flag or the environment
/// names the remote. Returns what was taken away.
pub(super) fn take_endpoint(
    project: &mut BTreeMap<String, Setting>,
    given: bool,
) -> Option<Setting> {
    if project.contains_key("remote") && !given {
        return None;
    }
    project.remove("endpoint")
}
