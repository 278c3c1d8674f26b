//! Trust domains of the index: which scopes a save believes about the contents of packs.

use crate::id::{DomainId, RepoId};
use crate::refs::Scope;
use crate::remote::RemoteId;

impl DomainId {
    /// Returns the domain of a scope, in a repository of a remote that is reached with certain
    /// credentials.
    ///
    /// The remote itself reports the repository's identity, so the identity can only narrow a domain:
    /// a remote that claims the identity of another one still has its own address and its own domains.
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
/// Chunks are looked up by hash, and hashes of chunks are no secret: a tenant that makes a saver
/// believe in a false location of a chunk chooses the bytes that are restored later. So a save
/// believes its own scope and those that it restores from, and no save writes to the domain of
/// another scope anything that a record of that scope does not vouch for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domains {
    own: DomainId,
    base: DomainId,
    others: Vec<DomainId>,
}

impl Domains {
    /// Returns the domains of a save in `scope`, which also restores from `others`, in this order.
    ///
    /// `base` is the scope whose record names the layers that the save builds on.
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

    /// Returns the same domains for a save that builds on layers named by a record of its own scope,
    /// such as a layer that claims to replace those of the base.
    ///
    /// Only the save's own scope vouches for these. To learn from them in the domain of the base would
    /// let a pull request write to the domain of `main`.
    pub fn based_on_own(self) -> Self {
        Self {
            base: self.own,
            ..self
        }
    }

    /// The domain that learns the packs that the save stores.
    pub fn own(&self) -> DomainId {
        self.own
    }

    /// The domain that learns the packs of the layers that the save builds on.
    pub fn base(&self) -> DomainId {
        self.base
    }

    /// The domains in which chunks are looked up, in order: the save's own, then the others.
    pub fn lookup_order(&self) -> Vec<DomainId> {
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
        assert_eq!(domains.lookup_order(), [of("pr/1"), of("branch/main")]);
        assert_eq!(
            (domains.own(), domains.base()),
            (of("pr/1"), of("branch/main"))
        );
        // The scope's own records vouch only for themselves, even if they name layers in place of
        // those of main.
        let followed = domains.clone().based_on_own();
        assert_eq!(followed.base(), of("pr/1"));
        assert_eq!(followed.lookup_order(), domains.lookup_order());
        // Main does not look where a pull request writes.
        let domains = Domains::new(&remote, &repo, &main, &main, &[]);
        assert_eq!(domains.lookup_order(), [of("branch/main")]);
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
