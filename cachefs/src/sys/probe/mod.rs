//! Finds the capabilities of this machine by trying them.
//!
//! The result is data for `doctor`, which prints it. The mounts are tried in a mount namespace of
//! their own, so nobody sees them, and if the process is killed, only an empty directory of the
//! store is left.

mod containers;
mod machine;
mod trial;

use cachefs_store::Hint;
use std::path::Path;

use super::erofs_mount;
use super::fuse_mount::open_fuse_device;
use super::kernel::KernelVersion;
use super::{MountError, namespace};

pub use containers::probe_containers;
pub use machine::{container_kind, user_namespaces};

/// How good a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeStatus {
    /// As it should be.
    Ok,
    /// It works, with a disadvantage.
    Warn,
    /// It stands in the way of mounting.
    Fail,
}

/// One thing that was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeFinding {
    /// A short stable name, such as `fuse-mount`.
    pub name: &'static str,
    /// How good it is.
    pub status: ProbeStatus,
    /// The finding, as a lowercase fragment.
    pub detail: String,
    /// Advice.
    pub hint: Option<Hint>,
}

impl ProbeFinding {
    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self {
            name,
            status: ProbeStatus::Ok,
            detail: detail.into(),
            hint: None,
        }
    }

    fn warn(name: &'static str, detail: impl Into<String>, hint: impl Into<Hint>) -> Self {
        Self {
            name,
            status: ProbeStatus::Warn,
            detail: detail.into(),
            hint: Some(hint.into()),
        }
    }

    fn fail(name: &'static str, detail: impl Into<String>, hint: Option<&str>) -> Self {
        let hint = hint.map(Hint::from);
        Self {
            name,
            status: ProbeStatus::Fail,
            detail: detail.into(),
            hint,
        }
    }

    fn failed_mount(name: &'static str, error: &MountError) -> Self {
        let mut detail = error.to_string();
        if let Some(source) = std::error::Error::source(error) {
            detail = format!("{detail}: {source}");
        }
        Self::fail(name, detail, error.hint())
    }
}

/// All findings about a machine and a store directory.
#[derive(Debug, Clone, Default)]
pub struct Probe {
    /// In the order in which they are worth reading.
    pub findings: Vec<ProbeFinding>,
}

impl Probe {
    /// Examines this machine, and the filesystem of `store`, which must exist and be writable.
    ///
    /// Takes a few milliseconds. To decide for one mount, rather mount and ask
    /// [`MountError::is_environment`].
    pub fn run(store: &Path) -> Self {
        let mut findings = vec![
            probe_kernel(),
            probe_privilege(),
            probe_environment(),
            fuse_device(),
        ];
        findings.push(match trial::in_private_namespace(store, trial::try_fuse) {
            Ok(()) => ProbeFinding::ok("fuse-mount", "a fuse filesystem can be mounted"),
            Err(error) => trial_failed("fuse-mount", &error),
        });
        findings.push(trial::store_filesystem(store));
        findings.push(
            match trial::in_private_namespace(store, trial::try_overlay) {
                Ok(()) => ProbeFinding::ok(
                    "overlay-mount",
                    "overlays with their upper directory in the store work",
                ),
                Err(error) => trial_failed("overlay-mount", &error),
            },
        );
        findings.push(probe_image());
        Self { findings }
    }

    /// The first finding that stands in the way of mounting, if any.
    pub fn obstacle(&self) -> Option<&ProbeFinding> {
        self.findings
            .iter()
            .find(|finding| finding.status == ProbeStatus::Fail)
    }
}

/// The form of a mount.
fn probe_image() -> ProbeFinding {
    if erofs_mount::is_likely() {
        ProbeFinding::ok("image-mount", "caches can be mounted as EROFS images")
    } else {
        ProbeFinding::warn(
            "image-mount",
            "caches are served over FUSE; reading many small files is slower",
            "EROFS images need root outside of user namespaces, Linux 6.12 and the module erofs (modprobe erofs)",
        )
    }
}

fn trial_failed(name: &'static str, error: &trial::TrialError) -> ProbeFinding {
    match error {
        trial::TrialError::Mount(error) => ProbeFinding::failed_mount(name, error),
        trial::TrialError::Io { what, source } => {
            ProbeFinding::fail(name, format!("{what}: {source}"), None)
        }
        trial::TrialError::Marks(lost) => ProbeFinding::fail(
            name,
            format!("the store's filesystem does not keep overlay metadata: {lost}"),
            Some("put the store on ext4, xfs, btrfs or tmpfs (Linux 6.6 or later without root)"),
        ),
    }
}

/// The first kernel that repeats unanswered FUSE requests to a restarted server.
const RESEND: KernelVersion = KernelVersion { major: 6, minor: 9 };
/// The first kernel that mounts an overlay in a user namespace.
const OVERLAY_IN_USER_NAMESPACE: KernelVersion = KernelVersion {
    major: 5,
    minor: 11,
};

fn probe_kernel() -> ProbeFinding {
    let running = KernelVersion::running();
    let detail = format!("linux {running}");
    if running < OVERLAY_IN_USER_NAMESPACE && !namespace::in_initial_user_namespace() {
        ProbeFinding::fail(
            "kernel",
            format!("{detail}: overlays in a user namespace need {OVERLAY_IN_USER_NAMESPACE}"),
            Some("run as the machine's root, or use a newer kernel"),
        )
    } else if running < RESEND {
        ProbeFinding::warn(
            "kernel",
            format!("{detail}: reads in flight fail when the daemon restarts"),
            format!("Linux {RESEND} or later repeats them"),
        )
    } else {
        ProbeFinding::ok("kernel", detail)
    }
}

fn probe_privilege() -> ProbeFinding {
    const NAME: &str = "privilege";
    let uid = rustix::process::geteuid().as_raw();
    let initial = namespace::in_initial_user_namespace();
    let place = if initial {
        "the machine's user namespace"
    } else {
        "a user namespace"
    };
    if namespace::has_sys_admin() {
        return ProbeFinding::ok(NAME, format!("uid {uid} with CAP_SYS_ADMIN in {place}"));
    }
    let detail = format!("uid {uid} without CAP_SYS_ADMIN in {place}");
    match user_namespaces() {
        Ok(()) => ProbeFinding::fail(
            NAME,
            format!("{detail}; user namespaces are available"),
            Some("run the job in one (unshare -Urm COMMAND), or run as root"),
        ),
        Err(reason) => ProbeFinding::fail(
            NAME,
            format!("{detail}; user namespaces are not available: {reason}"),
            Some("run as root, or with --cap-add SYS_ADMIN in a container"),
        ),
    }
}

fn probe_environment() -> ProbeFinding {
    match container_kind() {
        Some(kind) => ProbeFinding::ok("container", format!("runs in a container ({kind})")),
        None => ProbeFinding::ok("container", "no container detected"),
    }
}

fn fuse_device() -> ProbeFinding {
    match open_fuse_device() {
        Ok(device) => {
            let mode = rustix::fs::fstat(&device).map_or(0, |stat| stat.st_mode & 0o777);
            let whose = if mode & 0o006 == 0o006 {
                "by everybody"
            } else {
                "not by everybody: ordinary users need chmod 0666"
            };
            let detail = format!("/dev/fuse can be opened, with mode {mode:04o} {whose}");
            ProbeFinding::ok("fuse-device", detail)
        }
        Err(error) => ProbeFinding::failed_mount("fuse-device", &error),
    }
}
