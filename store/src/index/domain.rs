//! Whose word the index takes for what a pack holds.

use crate::id::{DomainId, RepoId};
use crate::refs::Scope;
use crate::remote::RemoteId;

impl DomainId {
    /// The domain of a scope, in a repository of a remote that is reached in somebody's name.
    ///
    /// The repository's identity is what the remote says it is. It only ever narrows the domain: a
    /// remote that claims that of another has a part of its own, as its address is another.
    pub fn of(remote: &RemoteId, repo: &RepoId, scope: &Scope) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("cachefs index: domain");
        hasher
            .update(&remote.place.0)
            .update(&remote.client.0)
            .update(&repo.0)
            .update(scope.as_str().as_bytes());
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        Self(bytes)
    }
}

/// The domains of a save.
///
/// Chunks are found by name, and names of chunks are no secret: whoever makes a saver believe that a
/// chunk is where it is not, chooses what is restored later. So a save only believes its own scope
/// and those that it restores from, and only tells its own what it stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domains {
    own: DomainId,
    base: DomainId,
    others: Vec<DomainId>,
}

impl Domains {
    /// The domains of a save in `scope`, which also restores from `others`, in this order.
    ///
    /// `base` is the scope whose key led to the layers that the save builds on.
    pub fn new(
        remote: &RemoteId,
        repo: &RepoId,
        scope: &Scope,
        base: &Scope,
        others: &[Scope],
    ) -> Self {
        let of = |scope: &Scope| DomainId::of(remote, repo, scope);
        let (own, base) = (of(scope), of(base));
        let mut looked_in = vec![own];
        for domain in others.iter().map(of).chain([base]) {
            if !looked_in.contains(&domain) {
                looked_in.push(domain);
            }
        }
        Self {
            own,
            base,
            others: looked_in.split_off(1),
        }
    }

    /// What the save stores becomes known here.
    pub fn own(&self) -> DomainId {
        self.own
    }

    /// What the layers that the save builds on say of their packs becomes known here.
    pub fn base(&self) -> DomainId {
        self.base
    }

    /// Where chunks are looked up, in this order: the save's own, then the others.
    pub fn looked_in(&self) -> Vec<DomainId> {
        [&[self.own], &self.others[..]].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_save_believes_its_own_scope_first_and_each_once() {
        let (remote, repo) = (RemoteId::of_url("r:"), RepoId::random());
        let scope = |name: &str| Scope::new(name).unwrap();
        let of = |name| DomainId::of(&remote, &repo, &scope(name));
        let (pr, main) = (scope("pr/1"), scope("branch/main"));
        let others = [main.clone(), pr.clone()];
        let domains = Domains::new(&remote, &repo, &pr, &main, &others);
        assert_eq!(domains.looked_in(), [of("pr/1"), of("branch/main")]);
        assert_eq!(
            (domains.own(), domains.base()),
            (of("pr/1"), of("branch/main"))
        );
        // Main does not look where a pull request writes.
        let domains = Domains::new(&remote, &repo, &main, &main, &[]);
        assert_eq!(domains.looked_in(), [of("branch/main")]);
    }

    #[test]
    fn a_claimed_identity_does_not_open_the_domain_of_another_remote() {
        let repo = RepoId::random();
        let scope = Scope::new("s").unwrap();
        let of = |url, repo| DomainId::of(&RemoteId::of_url(url), repo, &scope);
        assert_ne!(of("one:", &repo), of("other:", &repo));
        assert_ne!(of("one:", &repo), of("one:", &RepoId::random()));
    }
}
