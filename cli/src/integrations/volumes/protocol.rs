//! The requests of container engines to volume plugins: version 1 of Docker's protocol, which
//! podman implements as well.
//!
//! Each request is a POST to `/NAME` with a JSON object. A response with a status other than 200 is
//! an error, described by its member `Err`; podman reads `Err` only then.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::driver::{Caller, Info, VolumeDriver};
use crate::integrations::container_cache::Refusal;
use crate::text::format_utc;

/// The operations of the protocol.
pub(super) trait Driver {
    /// Creates a volume.
    fn create(&self, name: &str, options: BTreeMap<String, String>) -> Result<(), Refusal>;
    /// Removes a volume.
    fn remove(&self, name: &str) -> Result<(), Refusal>;
    /// Mounts a volume for a container; returns the path of its files.
    fn mount(&self, name: &str, id: &str) -> Result<PathBuf, Refusal>;
    /// Releases a container's mount of a volume.
    fn unmount(&self, name: &str, id: &str) -> Result<(), Refusal>;
    /// Describes a volume.
    fn get(&self, name: &str) -> Result<Info, Refusal>;
    /// Describes all volumes.
    fn list(&self) -> Result<Vec<Info>, Refusal>;
}

/// The driver, bound to the engine that sends the requests.
#[derive(Clone)]
pub(super) struct For {
    /// The volumes.
    pub(super) volumes: Arc<VolumeDriver>,
    /// The engine.
    pub(super) caller: Caller,
}

impl Driver for For {
    fn create(&self, name: &str, options: BTreeMap<String, String>) -> Result<(), Refusal> {
        self.volumes.create(self.caller, name, options)
    }

    fn remove(&self, name: &str) -> Result<(), Refusal> {
        self.volumes.remove(self.caller, name)
    }

    fn mount(&self, name: &str, id: &str) -> Result<PathBuf, Refusal> {
        self.volumes.mount(self.caller, name, id)
    }

    fn unmount(&self, name: &str, id: &str) -> Result<(), Refusal> {
        self.volumes.unmount(self.caller, name, id)
    }

    fn get(&self, name: &str) -> Result<Info, Refusal> {
        self.volumes.get(name)
    }

    fn list(&self) -> Result<Vec<Info>, Refusal> {
        self.volumes.list()
    }
}

/// The fields of all requests; each request has some of them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PluginRequest {
    name: String,
    #[serde(rename = "ID")]
    id: String,
    /// Null if there are no options.
    opts: Option<BTreeMap<String, String>>,
}

/// A volume in the format of the protocol.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PluginVolume {
    name: String,
    mountpoint: String,
    created_at: String,
    status: Value,
}

/// A response: HTTP status and body.
pub(super) type Answer = (u16, Value);

/// Handles a request.
pub(super) fn answer_request(driver: &impl Driver, path: &str, body: &[u8]) -> Answer {
    let request = match body {
        // Some requests have an empty body.
        [] => Ok(PluginRequest::default()),
        body => serde_json::from_slice(body),
    };
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            return (400, json!({ "Err": format!("invalid request: {error}") }));
        }
    };
    let done = match path {
        "/Plugin.Activate" => Ok(json!({ "Implements": ["VolumeDriver"] })),
        "/VolumeDriver.Capabilities" => Ok(json!({ "Capabilities": { "Scope": "local" } })),
        "/VolumeDriver.Create" => driver
            .create(&request.name, request.opts.unwrap_or_default())
            .map(|()| json!({})),
        "/VolumeDriver.Remove" => driver.remove(&request.name).map(|()| json!({})),
        "/VolumeDriver.Mount" => driver
            .mount(&request.name, &request.id)
            .map(|path| json!({ "Mountpoint": path.to_string_lossy() })),
        "/VolumeDriver.Unmount" => driver
            .unmount(&request.name, &request.id)
            .map(|()| json!({})),
        "/VolumeDriver.Path" => driver
            .get(&request.name)
            .map(|info| json!({ "Mountpoint": plugin_volume(info).mountpoint })),
        "/VolumeDriver.Get" => driver
            .get(&request.name)
            .map(|info| json!({ "Volume": plugin_volume(info) })),
        "/VolumeDriver.List" => driver.list().map(|all| {
            let all: Vec<_> = all.into_iter().map(plugin_volume).collect();
            json!({ "Volumes": all })
        }),
        other => {
            return (404, json!({ "Err": format!("unknown request {other}") }));
        }
    };
    match done {
        Ok(answer) => (200, answer),
        Err(refusal) => (500, json!({ "Err": refusal.to_string() })),
    }
}

fn plugin_volume(info: Info) -> PluginVolume {
    let volume = info.volume;
    let mountpoint = info.mountpoint.unwrap_or_default();
    PluginVolume {
        mountpoint: mountpoint.to_string_lossy().into_owned(),
        created_at: format_utc(volume.created),
        status: json!({
            "options": volume.options,
            "containers": volume.holders.len(),
            "last": volume.last,
            "unsaved": volume.shown && volume.holders.is_empty(),
        }),
        name: volume.name,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::super::record::VolumeRecord;
    use super::*;

    /// Records its requests, and has one volume.
    #[derive(Default)]
    struct Fake(RefCell<Vec<String>>);

    impl Fake {
        fn note(&self, what: String) -> Result<(), Refusal> {
            self.0.borrow_mut().push(what);
            Ok(())
        }
    }

    impl Driver for Fake {
        fn create(&self, name: &str, options: BTreeMap<String, String>) -> Result<(), Refusal> {
            self.note(format!("create {name} {options:?}"))
        }
        fn remove(&self, name: &str) -> Result<(), Refusal> {
            self.note(format!("remove {name}"))
        }
        fn mount(&self, name: &str, id: &str) -> Result<PathBuf, Refusal> {
            self.note(format!("mount {name} {id}"))?;
            Ok("/data".into())
        }
        fn unmount(&self, name: &str, id: &str) -> Result<(), Refusal> {
            self.note(format!("unmount {name} {id}"))
        }
        fn get(&self, name: &str) -> Result<Info, Refusal> {
            if name != "m2" {
                return Err(Refusal::new("no such volume", "create it"));
            }
            Ok(Info {
                volume: VolumeRecord {
                    broken_saves: 0,
                    name: name.to_owned(),
                    options: BTreeMap::new(),
                    created: 1_700_000_000_000_000,
                    holders: Vec::new(),
                    shown: false,
                    boot: String::new(),
                    last: Some("saved m2-1".to_owned()),
                },
                mountpoint: None,
            })
        }
        fn list(&self) -> Result<Vec<Info>, Refusal> {
            Ok(vec![self.get("m2")?])
        }
    }

    fn ask(path: &str, body: &str) -> Answer {
        answer_request(&Fake::default(), path, body.as_bytes())
    }

    #[test]
    fn the_plugin_says_what_it_is() {
        assert_eq!(
            ask("/Plugin.Activate", "").1["Implements"][0],
            "VolumeDriver"
        );
        let (_, capabilities) = ask("/VolumeDriver.Capabilities", "{}");
        assert_eq!(capabilities["Capabilities"]["Scope"], "local");
    }

    #[test]
    fn requests_reach_the_driver() {
        let fake = Fake::default();
        for (path, body) in [
            ("Create", r#"{"Name":"m2","Opts":{"key":"a"}}"#),
            ("Create", r#"{"Name":"m2","Opts":null}"#),
            ("Mount", r#"{"Name":"m2","ID":"7"}"#),
            ("Unmount", r#"{"Name":"m2","ID":"7"}"#),
            ("Remove", r#"{"Name":"m2"}"#),
        ] {
            let (status, _) =
                answer_request(&fake, &format!("/VolumeDriver.{path}"), body.as_bytes());
            assert_eq!(status, 200);
        }
        assert_eq!(
            *fake.0.borrow(),
            [
                "create m2 {\"key\": \"a\"}",
                "create m2 {}",
                "mount m2 7",
                "unmount m2 7",
                "remove m2"
            ]
        );
    }

    #[test]
    fn volumes_are_described() {
        let (_, got) = ask("/VolumeDriver.Get", r#"{"Name":"m2"}"#);
        let volume = &got["Volume"];
        assert_eq!(volume["Mountpoint"], "");
        assert_eq!(volume["CreatedAt"], "2023-11-14T22:13:20Z");
        assert_eq!(volume["Status"]["last"], "saved m2-1");
        assert_eq!(ask("/VolumeDriver.List", "").1["Volumes"][0]["Name"], "m2");
    }

    #[test]
    fn errors_have_a_status_and_a_hint() {
        let (status, body) = ask("/VolumeDriver.Path", r#"{"Name":"x"}"#);
        assert_eq!(
            (status, &body["Err"]),
            (500, &json!("no such volume (create it)"))
        );
        assert_eq!(ask("/VolumeDriver.Fly", "{}").0, 404);
        assert_eq!(ask("/VolumeDriver.Get", "{").0, 400);
        assert_eq!(ask("/VolumeDriver.Get", "[1]").0, 400);
    }
}
