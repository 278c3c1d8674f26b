//! Limits of this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Number of descriptors to request if the hard limit is lower and may be raised. A mount holds two
/// or three, a connection one, and a few hundred pack files are open during reads.
const DESCRIPTORS: u64 = 1 << 16;

/// A daemon with fewer does not start: its own sockets, pipes and database take about 50, and each mount
/// needs two or three.
pub const MIN_DESCRIPTORS: u64 = 64;

/// Raises the limit of open files as far as permitted. Returns the new limit.
///
/// Shells and service managers start with 1,024, for programs that use `select`. Raising that to
/// the hard limit requires no privilege.
pub fn raise_descriptors() -> u64 {
    let now = getrlimit(Resource::Nofile);
    let hard = now.maximum.unwrap_or(u64::MAX);
    let raised = |current: u64, maximum: u64| {
        let limit = Rlimit {
            current: Some(current),
            maximum: Some(maximum),
        };
        setrlimit(Resource::Nofile, limit)
            .is_ok()
            .then_some(current)
    };
    let above = || (hard < DESCRIPTORS).then(|| raised(DESCRIPTORS, DESCRIPTORS))?;
    let to_hard = || raised(hard.min(DESCRIPTORS), hard);
    let soft = now.current.unwrap_or(u64::MAX);
    match soft >= DESCRIPTORS {
        true => soft,
        false => above().or_else(to_hard).unwrap_or(soft),
    }
}

/// How many descriptors this process may have.
pub fn descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_raised_to_what_is_permitted() {
        let raised = raise_descriptors();
        let now = getrlimit(Resource::Nofile);
        assert_eq!(raised, now.current.unwrap_or(u64::MAX));
        assert!(raised >= now.maximum.unwrap_or(u64::MAX).min(DESCRIPTORS));
        assert_eq!(descriptor_limit(), raised);
    }
}
