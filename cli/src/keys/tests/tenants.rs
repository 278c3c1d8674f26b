//! Tenants' templates, expanded by a service with the host's files and variables.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::super::{Author, KeyContext, KeyError, Reach, expand_template, reads_variables};

fn expand_with(template: &str, workspace: &Path, reach: &Reach) -> Result<String, KeyError> {
    // As if the caller forgot to clear the variables.
    let env = BTreeMap::from(
        ["TOKEN", "GITHUB_REF_NAME", "RUNNER_OS", "CIRCLE_BRANCH"]
            .map(|name| (name.to_owned(), "hunter2".to_owned())),
    );
    let context = KeyContext {
        workspace,
        env: &env,
        now: UNIX_EPOCH,
        allow_missing: true,
        skip: &|_| false,
        reach,
    };
    expand_template(template, &context).map(|expanded| expanded.key)
}

#[test]
fn no_variable_of_the_service_gets_into_a_key() {
    let dir = tempfile::tempdir().unwrap();
    for template in [
        "k-{{ env \"TOKEN\" }}",
        "{{ .Environment.TOKEN }}",
        "${{ env.TOKEN }}",
        "${{ github.ref_name }}",
        "{{ .Branch }}",
        "{{ .Repo.Name }}",
        "{{ .Revision }}",
    ] {
        assert!(reads_variables(template).unwrap(), "{template}");
        let error = expand_with(template, dir.path(), &Reach::Beneath(None)).unwrap_err();
        assert!(!error.to_string().contains("hunter"), "{error}");
        assert!(error.to_string().contains("cannot be used here"), "{error}");
    }
    for template in ["k-{{ os }}-{{ arch }}-{{ epoch }}", "${{ runner.os }}"] {
        assert!(!reads_variables(template).unwrap(), "{template}");
        let key = expand_with(template, dir.path(), &Reach::Beneath(None)).unwrap();
        assert!(!key.contains("hunter"), "{key}");
    }
}

#[test]
fn no_file_of_the_host_gets_into_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let allowed = dir.path().join("allowed");
    let workspace = allowed.join("job");
    fs::create_dir_all(workspace.join("sub")).unwrap();
    fs::write(dir.path().join("pin"), "1234").unwrap();
    fs::write(allowed.join("neighbour"), "5678").unwrap();
    fs::write(workspace.join("lock"), "v1").unwrap();
    symlink("lock", workspace.join("inside")).unwrap();
    symlink("../../pin", workspace.join("out")).unwrap();
    symlink(dir.path().join("pin"), workspace.join("absolute")).unwrap();
    symlink(dir.path(), workspace.join("sub/up")).unwrap();
    symlink("/proc/self/environ", workspace.join("environ")).unwrap();

    let tenant = Author::Tenant {
        allowed: Some(allowed.clone()),
    };
    let reach = tenant.reach(&workspace).unwrap();
    let key = |template: &str| expand_with(template, &workspace, &reach);
    let plain = expand_with("{{ checksum \"lock\" }}", &workspace, &Reach::All).unwrap();
    assert_eq!(key("{{ checksum \"lock\" }}").unwrap(), plain);
    assert_eq!(key("{{ checksum \"inside\" }}").unwrap(), plain);
    let matched = key("hashFiles('lo*')").unwrap();
    // Links that leave the workspace are treated as missing.
    assert_eq!(
        key("hashFiles('lo*', 'out', 'absolute', 'sub/**')").unwrap(),
        matched
    );
    for name in [
        "/etc/passwd",
        "../neighbour",
        "../../pin",
        "sub/../../neighbour",
        "out",
        "absolute",
        "sub/up/pin",
        "environ",
    ] {
        let template = format!("{{{{ checksum \"{name}\" }}}}");
        let error = key(&template).unwrap_err().to_string();
        assert!(error.contains("out of the workspace"), "{name}: {error}");
    }
    let none = Author::Tenant { allowed: None }.reach(&workspace).unwrap();
    for template in ["{{ checksum \"lock\" }}", "hashFiles('*')"] {
        assert!(
            expand_with(template, &workspace, &none).is_err(),
            "{template}"
        );
    }
    // The workspace itself must be below the directory, and not reached through a link.
    symlink(dir.path(), allowed.join("link")).unwrap();
    for wrong in [
        dir.path().to_owned(),
        allowed.join("link"),
        allowed.join(".."),
    ] {
        assert!(tenant.reach(&wrong).is_err(), "{}", wrong.display());
    }
}
