//! Permissions of a share's clients.

use std::collections::HashSet;

use cachefs_store::id::StackId;
use cachefs_store::refs::{Chosen, KeyQuery, LayerInfo};
use cachefs_store::remote::RemoteSpec;

use super::description::Grant;
use crate::error::{Error, Result};
use crate::rpc::{
    CloseRequest, FindRequest, OpenRequest, Prefetch, RestoreRequest, RpcRequest, ServeRequest,
    ViewOrigin,
};
use cachefs_store::Hint;

/// The most keys, layers included, that one request may name.
const MAX_KEYS: usize = 16;
/// The most prefixes, and the most scopes, of one key.
const MAX_PREFIXES: usize = 32;
/// The longest prefix, in bytes; keys have at most 512 characters.
const MAX_PREFIX: usize = 2048;
/// The most bytes that all paths of a request may have.
const MAX_PATHS: usize = 8 << 10;

impl Grant {
    /// Converts a request to one that the daemon may answer: with the remote and credentials of the
    /// grant, and within its limits. `own` are the views that this client has opened and that are
    /// not served yet; `known` are the stacks that clients of the share were given.
    ///
    /// # Errors
    /// [`Error::Usage`], which names the permitted values and nothing else.
    pub(crate) fn admit(
        &self,
        request: RpcRequest,
        own: &[u64],
        known: &HashSet<StackId>,
    ) -> Result<RpcRequest> {
        match request {
            RpcRequest::Restore(asked) => Ok(RpcRequest::Restore(RestoreRequest {
                wanted: self.wanted(asked.wanted)?,
                shown: self.shown(asked.shown)?,
            })),
            RpcRequest::Find(asked) if request_length(&asked) > MAX_PATHS => Err(self.refuse(
                format!("the paths have more than {MAX_PATHS} bytes together"),
            )),
            RpcRequest::Find(asked) => Ok(RpcRequest::Find(FindRequest {
                remote: self.remote(&asked.remote)?,
                deadline_ms: self.deadline_ms,
                wanted: self.wanted(asked.wanted)?,
                ..asked
            })),
            RpcRequest::Open(asked) => {
                self.check_stack(&asked.layers, known)?;
                Ok(RpcRequest::Open(OpenRequest {
                    layers: asked.layers,
                    shown: self.shown(asked.shown)?,
                }))
            }
            RpcRequest::Serve(ServeRequest { view, .. })
            | RpcRequest::Close(CloseRequest { view })
                if !own.contains(&view) =>
            {
                Err(self.refuse(format!("view {view} was not opened by this client")))
            }
            RpcRequest::Serve(_) | RpcRequest::Close(_) | RpcRequest::Allowed(_) => Ok(request),
            RpcRequest::Lookup(_)
            | RpcRequest::HasPack(_)
            | RpcRequest::Insert(_)
            | RpcRequest::RemovePack(_)
            | RpcRequest::PublishTrace(_)
            | RpcRequest::Stats(_)
            | RpcRequest::Reads(_)
            | RpcRequest::Share(_)
            | RpcRequest::Unshare(_)
            | RpcRequest::Shares(_)
            | RpcRequest::Stop(_)
            | RpcRequest::Upgrade(_) => {
                Err(self.refuse("this share allows only restores".to_owned()))
            }
        }
    }

    /// A client may know the name of a layer that it was never given: layers of other scopes have
    /// names, too.
    fn check_stack(&self, layers: &[LayerInfo], known: &HashSet<StackId>) -> Result<()> {
        let stack = StackId::of(layers.iter().map(|layer| &layer.id));
        match known.contains(&stack) {
            true => Ok(()),
            false => Err(Error::usage(
                "this share did not provide the requested layers",
                Hint::UnmountAndRestore,
            )),
        }
    }

    /// The same, and nothing beyond the grant.
    fn shown(&self, asked: ViewOrigin) -> Result<ViewOrigin> {
        Ok(ViewOrigin {
            remote: self.remote(&asked.remote)?,
            deadline_ms: self.deadline_ms,
            trace: asked.trace && !self.read_only,
            prefetch: match asked.prefetch {
                Prefetch::All if !self.prefetch_all => Prefetch::Auto,
                other => other,
            },
            privileged: false,
            ..asked
        })
    }

    fn remote(&self, asked: &RemoteSpec) -> Result<RemoteSpec> {
        let without_slash = |url: &str| url.trim_end_matches('/').to_owned();
        if without_slash(&asked.url) != without_slash(&self.remote.url) {
            return Err(self.refuse(format!("this share does not include {}", asked.url)));
        }
        Ok(self.remote.clone())
    }

    fn wanted(&self, mut asked: Vec<KeyQuery>) -> Result<Vec<KeyQuery>> {
        if asked.len() > MAX_KEYS {
            return Err(self.refuse(format!("a request may have at most {MAX_KEYS} keys")));
        }
        for wanted in &mut asked {
            // Each is a listing of the remote, and the same one twice finds nothing more.
            remove_duplicates(&mut wanted.prefixes);
            remove_duplicates(&mut wanted.scopes);
            if wanted.prefixes.len() > MAX_PREFIXES || wanted.scopes.len() > MAX_PREFIXES {
                let message = format!("a key may have at most {MAX_PREFIXES} prefixes and scopes");
                return Err(self.refuse(message));
            }
            if wanted
                .prefixes
                .iter()
                .any(|prefix| prefix.len() > MAX_PREFIX)
            {
                return Err(self.refuse(format!("a prefix has more than {MAX_PREFIX} bytes")));
            }
        }
        for wanted in &asked {
            let chosen = match &wanted.chosen {
                Some(Chosen::Part { name, .. }) => Some(&name.scope),
                Some(Chosen::Nothing) | None => None,
            };
            let mut scopes = wanted.scopes.iter().chain(chosen);
            if let Some(other) = scopes.find(|scope| !self.scopes.contains(scope)) {
                return Err(self.refuse(format!("this share does not include scope {other}")));
            }
        }
        Ok(asked)
    }

    fn refuse(&self, message: String) -> Error {
        let scopes: Vec<_> = self.scopes.iter().map(ToString::to_string).collect();
        Error::usage(
            message,
            format!(
                "it restores from scope {} of {}",
                scopes.join(" and "),
                self.remote.url
            ),
        )
    }
}

/// The bytes of all paths of a request.
fn request_length(find: &FindRequest) -> usize {
    let text = serde_json::to_vec(&(&find.paths, &find.places));
    text.map_or(usize::MAX, |text| text.len())
}

/// Removes duplicates and keeps the order of the first occurrences.
fn remove_duplicates<T: Clone + Eq + std::hash::Hash>(all: &mut Vec<T>) {
    let mut seen = HashSet::new();
    all.retain(|one| seen.insert(one.clone()));
}

#[cfg(test)]
mod tests {
    use cachefs_store::id::{DomainId, PackId, TrailerHash};
    use cachefs_store::refs::{CachePart, Key, MatchKind, RefName, Scope};
    use cachefs_store::remote::Environment;

    use super::*;
    use crate::paths::{Places, Whole};
    use crate::rpc::{
        AllowedRequest, HasPackRequest, InsertRequest, LookupRequest, NamedPack,
        PublishTraceRequest, ReadsRequest, RemovePackRequest, SharesRequest, StatsRequest,
        StopRequest, UnshareRequest, UpgradeRequest,
    };
    use crate::view::ViewForm;

    fn scope(name: &str) -> Scope {
        Scope::new(name).unwrap()
    }

    fn secret() -> Environment {
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        [variable("AWS_SECRET_ACCESS_KEY", "hunter2")]
            .into_iter()
            .collect()
    }

    fn grant() -> Grant {
        Grant {
            remote: RemoteSpec {
                url: "s3://cache/team".to_owned(),
                endpoint: Some("https://s3.example".to_owned()),
                external_id: Some("hunter3".to_owned()),
                env: secret(),
                ..RemoteSpec::default()
            },
            deadline_ms: Some(5000),
            scopes: vec![scope("pr/7"), scope("branch/main")],
            uid: None,
            read_only: true,
            prefetch_all: false,
        }
    }

    fn wanted(scopes: &[&str]) -> KeyQuery {
        KeyQuery {
            scopes: scopes.iter().map(|name| scope(name)).collect(),
            key: Key::new("m2".to_owned()).unwrap(),
            prefixes: Vec::new(),
            chosen: None,
            role: None,
        }
    }

    fn restore(url: &str, wanted: KeyQuery) -> RpcRequest {
        RpcRequest::Restore(RestoreRequest {
            wanted: vec![wanted],
            shown: ViewOrigin {
                remote: RemoteSpec {
                    url: url.to_owned(),
                    endpoint: Some("https://elsewhere.example".to_owned()),
                    ..RemoteSpec::default()
                },
                deadline_ms: Some(1),
                prefetch: Prefetch::All,
                form: ViewForm::Image,
                trace: true,
                privileged: true,
                owner: None,
            },
        })
    }

    fn admit(request: RpcRequest) -> Result<RpcRequest> {
        grant().admit(request, &[3], &HashSet::new())
    }

    #[track_caller]
    fn refused(request: RpcRequest) -> String {
        let error = admit(request).unwrap_err();
        let text = format!("{error}; {:?}", error.hint().unwrap());
        assert!(!text.contains("hunter"), "{text}");
        assert!(
            text.contains("pr/7 and branch/main of s3://cache/team"),
            "{text}"
        );
        text
    }

    #[test]
    fn the_grant_decides_how_the_remote_is_reached() {
        let asked = restore("s3://cache/team/", wanted(&["branch/main"]));
        let RpcRequest::Restore(admitted) = admit(asked).unwrap() else {
            panic!("another request");
        };
        assert_eq!(admitted.shown.remote, grant().remote);
        assert_eq!(admitted.shown.deadline_ms, Some(5000));
        assert!(!admitted.shown.trace && !admitted.shown.privileged);
        assert_eq!(admitted.shown.prefetch, Prefetch::Auto);
        let grant = Grant {
            prefetch_all: true,
            ..grant()
        };
        let asked = restore("s3://cache/team", wanted(&[]));
        let Ok(RpcRequest::Restore(admitted)) = grant.admit(asked, &[], &HashSet::new()) else {
            panic!("refused");
        };
        assert_eq!(admitted.shown.prefetch, Prefetch::All);
    }

    #[test]
    fn a_request_is_bounded_and_asks_for_nothing_twice() {
        let url = "s3://cache/team";
        let with = |prefixes: Vec<String>| KeyQuery {
            prefixes,
            ..wanted(&["pr/7", "branch/main", "pr/7"])
        };
        let several = |count: usize| (0..count).map(|n| format!("m2-{n}")).collect::<Vec<_>>();
        let twice = vec![several(MAX_PREFIXES); 200].concat();
        let Ok(RpcRequest::Restore(admitted)) = admit(restore(url, with(twice))) else {
            panic!("refused");
        };
        assert_eq!(admitted.wanted[0].prefixes, several(MAX_PREFIXES));
        assert_eq!(
            admitted.wanted[0].scopes,
            [scope("pr/7"), scope("branch/main")]
        );
        refused(restore(url, with(several(MAX_PREFIXES + 1))));
        refused(restore(url, with(several(5000))));
        refused(restore(url, with(vec!["x".repeat(MAX_PREFIX + 1)])));
        let RpcRequest::Restore(mut many) = restore(url, wanted(&["pr/7"])) else {
            unreachable!();
        };
        many.wanted = vec![wanted(&["pr/7"]); MAX_KEYS + 1];
        refused(RpcRequest::Restore(many));
        let find = |path: String| {
            RpcRequest::Find(FindRequest {
                remote: grant().remote,
                deadline_ms: None,
                wanted: vec![wanted(&["pr/7"])],
                paths: vec![path],
                whole_from: Whole::No,
                places: Places {
                    workspace: "/work".into(),
                    home: None,
                },
            })
        };
        assert!(admit(find("x".repeat(1000))).is_ok());
        refused(find("x/".repeat(MAX_PATHS / 2)));
    }

    #[test]
    fn other_remotes_and_scopes_are_refused() {
        assert!(refused(restore("s3://cache/other", wanted(&[]))).contains("s3://cache/other"));
        let asked = wanted(&["pr/7", "pr/8"]);
        assert!(refused(restore("s3://cache/team", asked)).contains("scope pr/8"));
        let other = RefName::of_part(
            scope("branch/secret"),
            Key::new("m2".to_owned()).unwrap(),
            CachePart::new("~/.m2").unwrap(),
        );
        let chosen = KeyQuery {
            chosen: Some(Chosen::Part {
                name: other.unwrap(),
                kind: MatchKind::Exact,
            }),
            ..wanted(&["pr/7"])
        };
        assert!(refused(restore("s3://cache/team", chosen)).contains("branch/secret"));
        let find = RpcRequest::Find(FindRequest {
            remote: grant().remote,
            deadline_ms: None,
            wanted: vec![wanted(&["tag/1"])],
            paths: Vec::new(),
            whole_from: Whole::No,
            places: Places {
                workspace: "/work".into(),
                home: None,
            },
        });
        assert!(refused(find).contains("tag/1"));
    }

    #[test]
    fn views_of_others_and_all_that_is_no_restore_are_refused() {
        let domain = DomainId([1; 16]);
        let domains = || vec![domain];
        let pack = NamedPack {
            pack: PackId([1; 16]),
            length: 1,
            trailer: 1,
            hash: TrailerHash([1; 32]),
        };
        let stack = StackId::of([]);
        let serve = |view| ServeRequest {
            view,
            form: ViewForm::Tree,
        };
        assert!(admit(serve(3).into()).is_ok());
        assert!(admit(CloseRequest { view: 3 }.into()).is_ok());
        assert!(admit(AllowedRequest {}.into()).is_ok());
        let (from, to) = (stack, stack);
        let requests: [RpcRequest; 13] = [
            serve(4).into(),
            CloseRequest { view: 4 }.into(),
            LookupRequest { domains: domains() }.into(),
            HasPackRequest {
                domains: domains(),
                pack,
            }
            .into(),
            InsertRequest { domain, pack }.into(),
            RemovePackRequest {
                domains: domains(),
                pack: pack.pack,
            }
            .into(),
            PublishTraceRequest { from, to }.into(),
            StatsRequest {}.into(),
            ReadsRequest { stack }.into(),
            SharesRequest {}.into(),
            UnshareRequest {
                path: "/run/s".into(),
            }
            .into(),
            StopRequest { force: true }.into(),
            UpgradeRequest {
                exe: "/tmp/evil".into(),
            }
            .into(),
        ];
        for request in requests {
            refused(request);
        }
    }

    #[test]
    fn only_stacks_that_were_given_out_are_opened() {
        let stack = StackId::of([]);
        let open = || {
            RpcRequest::Open(OpenRequest {
                layers: Vec::new(),
                shown: ViewOrigin {
                    remote: grant().remote,
                    deadline_ms: None,
                    prefetch: Prefetch::None,
                    form: ViewForm::Tree,
                    trace: true,
                    privileged: true,
                    owner: None,
                },
            })
        };
        assert!(admit(open()).is_err());
        let RpcRequest::Open(opened) = grant().admit(open(), &[], &HashSet::from([stack])).unwrap()
        else {
            panic!("another request");
        };
        assert!(!opened.shown.privileged && !opened.shown.trace);
    }

    #[test]
    fn clients_are_told_no_secrets() {
        let told = serde_json::to_string(&grant().allowed()).unwrap();
        assert!(!told.contains("hunter"), "{told}");
        assert!(told.contains("s3://cache/team") && told.contains("s3.example"));
        assert!(!format!("{:?}", grant().remote.env).contains("hunter"));
    }
}
