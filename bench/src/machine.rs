//! Facts of the machine, which a reader needs to interpret the numbers.

use std::fmt;
use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::measure::Unit;
use crate::mounts;

/// The machine, and the directories that the measurement uses.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Cores available to this process.
    pub(crate) cores: usize,
    /// Model name of the processor.
    pub(crate) processor: String,
    /// Kernel release, for example `6.12.0`.
    pub(crate) kernel: String,
    /// Total memory in bytes.
    pub(crate) memory: u64,
    /// Load average of the last minute, taken before the start.
    pub(crate) load: f64,
    /// Directories with their roles.
    pub(crate) directories: Vec<MachineDirectory>,
    /// Programs of the measurement with their versions.
    pub(crate) programs: Vec<String>,
}

/// A directory that the measurement uses.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MachineDirectory {
    /// Its role, for example `remote`.
    pub(crate) role: String,
    /// Its absolute path.
    pub(crate) path: String,
    /// The filesystem type, for example `ext4`.
    pub(crate) filesystem: String,
    /// The source of the mount, usually a device such as `/dev/sda1`.
    pub(crate) device: String,
}

impl Machine {
    /// Collects the facts from `/proc` and `uname`.
    pub(crate) fn inspect(
        directories: Vec<MachineDirectory>,
        programs: Vec<String>,
    ) -> Result<Self> {
        let load = fs::read_to_string("/proc/loadavg")?;
        let load = load.split(' ').next().and_then(|load| load.parse().ok());
        Ok(Self {
            cores: thread::available_parallelism()?.get(),
            processor: processor_name(&fs::read_to_string("/proc/cpuinfo")?),
            kernel: rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
            memory: memory_field(&fs::read_to_string("/proc/meminfo")?, "MemTotal:").unwrap_or(0),
            load: load.context("the load is not known")?,
            directories,
            programs,
        })
    }
}

impl MachineDirectory {
    /// Looks up the filesystem and device of a directory.
    pub(crate) fn inspect(role: &str, path: &Path) -> Result<Self> {
        let real = path
            .canonicalize()
            .with_context(|| format!("{} cannot be used", path.display()))?;
        let mount = mounts::mount_of(&real)?;
        let (filesystem, device) = mount.map_or_else(
            || ("unknown".to_owned(), "unknown".to_owned()),
            |mount| (mount.kind, mount.source),
        );
        Ok(Self {
            role: role.to_owned(),
            path: real.display().to_string(),
            filesystem,
            device,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = Unit::Bytes.show(self.memory as f64);
        writeln!(f, "cores     {} ({})", self.cores, self.processor)?;
        writeln!(f, "memory    {memory}")?;
        writeln!(f, "kernel    {}", self.kernel)?;
        writeln!(f, "load      {} before the start", self.load)?;
        for program in &self.programs {
            writeln!(f, "program   {program}")?;
        }
        for directory in &self.directories {
            let MachineDirectory {
                role,
                path,
                filesystem,
                device,
            } = directory;
            writeln!(f, "{role:<9} {path} ({filesystem} on {device})")?;
        }
        Ok(())
    }
}

/// Peak resident memory of a process so far, in bytes (`VmHWM`).
pub(crate) fn peak_memory(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))
        .with_context(|| format!("process {process} is not there"))?;
    memory_field(&status, "VmHWM:").with_context(|| format!("process {process} has no memory"))
}

/// Current memory and threads of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeldResources {
    /// Resident bytes except file-backed pages, which are page cache.
    pub(crate) memory: u64,
    /// Number of threads.
    pub(crate) threads: u64,
}

impl HeldResources {
    /// Reads `/proc/<process>/status`.
    pub(crate) fn by(process: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))
            .with_context(|| format!("process {process} is not there"))?;
        let of = |name| status.lines().find_map(|line| line.strip_prefix(name));
        let threads = of("Threads:").and_then(|number| number.trim().parse().ok());
        let memory = memory_field(&status, "RssAnon:");
        Ok(Self {
            memory: memory.with_context(|| format!("process {process} has no memory"))?,
            threads: threads.context("a process has threads")?,
        })
    }
}

/// All descendants of a process, direct and indirect.
pub(crate) fn descendant_processes(process: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut pending = vec![process];
    while let Some(process) = pending.pop() {
        let tasks = fs::read_dir(format!("/proc/{process}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            // A thread that has just exited has no children file.
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            let children = children
                .split_whitespace()
                .filter_map(|id| id.parse::<u32>().ok());
            pending.extend(children.clone());
            found.extend(children);
        }
    }
    found
}

/// Parses a `name: number kB` line of a `/proc` file into bytes.
fn memory_field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

fn processor_name(cpuinfo: &str) -> String {
    let names = cpuinfo.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == "model name").then(|| value.trim().to_owned())
    });
    let mut names = names;
    // On some architectures `/proc/cpuinfo` has no model name.
    names
        .next()
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_tells_is_understood() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\n\nmodel name\t: Other\n";
        assert_eq!(processor_name(cpuinfo), "Some CPU @ 3 GHz");
        assert_eq!(processor_name("processor : 0"), std::env::consts::ARCH);
        let status = "Name:\tx\nVmPeak:\t  900 kB\nVmHWM:\t     12 kB\n";
        assert_eq!(memory_field(status, "VmHWM:"), Some(12 << 10));
        assert_eq!(memory_field(status, "VmSwap:"), None);
    }

    #[test]
    fn this_machine_can_be_described() {
        let temp = MachineDirectory::inspect("work", &std::env::temp_dir()).unwrap();
        assert_ne!(temp.filesystem, "unknown");
        let machine = Machine::inspect(vec![temp], vec![]).unwrap();
        assert!(machine.cores > 0 && machine.memory > 1 << 20);
        assert!(peak_memory(std::process::id()).unwrap() > 1 << 16);
        let held = HeldResources::by(std::process::id()).unwrap();
        assert!(held.memory > 1 << 16 && held.threads > 0);
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        // The kernel may omit children while a sibling from another test exits, so retry.
        let mut listed = (0..100).map(|_| descendant_processes(std::process::id()));
        let is_listed = listed.any(|children| children.contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_listed);
        MachineDirectory::inspect("none", Path::new("/no/such/directory")).unwrap_err();
    }
}
