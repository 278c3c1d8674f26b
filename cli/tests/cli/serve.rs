//! `cachefs serve` as a container registry, with raw HTTP requests. The container tests use real
//! clients.

use std::time::{Duration, Instant};

use cachefs_tests::harness::{Cachefs, RegistryAnswer, RegistryServer};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use crate::support::{objects, remote_dir};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn sha256(bytes: &[u8]) -> String {
    let hex = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    format!("sha256:{hex}")
}

/// Bytes that do not compress and do not repeat.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..))
        .take(length)
        .collect()
}

trait Client {
    fn get(&self, path: &str) -> RegistryAnswer;
    fn push_blob(&self, repository: &str, bytes: &[u8]) -> String;
    fn put_manifest(&self, repository: &str, reference: &str, manifest: &Value) -> RegistryAnswer;
    /// Pushes an image of one layer; returns the manifest's digest.
    fn push_image(&self, repository: &str, tag: &str, layer: &[u8]) -> String;
}

impl Client for RegistryServer {
    fn get(&self, path: &str) -> RegistryAnswer {
        self.request("GET", path, &[], b"").unwrap()
    }

    #[track_caller]
    fn push_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = sha256(bytes);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let answer = self.request("POST", &path, &[], bytes).unwrap();
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.header("docker-content-digest"), Some(&*digest));
        digest
    }

    fn put_manifest(&self, repository: &str, reference: &str, manifest: &Value) -> RegistryAnswer {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let media_type = manifest["mediaType"].as_str().unwrap_or(IMAGE);
        let header = format!("Content-Type: {media_type}");
        self.request("PUT", &path, &[&header], manifest.to_string().as_bytes())
            .unwrap()
    }

    #[track_caller]
    fn push_image(&self, repository: &str, tag: &str, layer: &[u8]) -> String {
        let config = self.push_blob(repository, b"{}");
        let layer = self.push_blob(repository, layer);
        let manifest = image(&config, &[&layer]);
        let answer = self.put_manifest(repository, tag, &manifest);
        assert_eq!(answer.status, 201, "{answer:?}");
        sha256(manifest.to_string().as_bytes())
    }
}

fn image(config: &str, layers: &[&str]) -> Value {
    let layers = layers
        .iter()
        .map(|digest| json!({ "digest": digest, "size": 1 }));
    json!({
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": { "mediaType": "application/vnd.example", "digest": config, "size": 2 },
        "layers": layers.collect::<Vec<_>>(),
    })
}

/// A tar archive of files whose contents depend only on their numbers.
fn layer_tar(mtime: u64, files: std::ops::Range<u64>) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for number in files {
        let content = noise(number, 20_000 + number as usize * 17);
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mtime(mtime + number);
        header.set_mode(0o644);
        let name = format!("app/node_modules/package-{number}/index.js");
        builder
            .append_data(&mut header, name, &content[..])
            .unwrap();
    }
    builder.into_inner().unwrap()
}

fn bytes_in_remote(machine: &Cachefs) -> u64 {
    objects(&remote_dir(machine)).values().sum()
}

#[test]
fn a_second_machine_pulls_the_bytes_that_the_first_one_pushed() {
    let machine = Cachefs::new().unwrap();
    let server = RegistryServer::start(&machine).unwrap();
    let layer = noise(1, 700_000);
    let manifest = server.push_image("team/app", "v1", &layer);
    let other = machine.second_machine().unwrap();
    let other = RegistryServer::start(&other).unwrap();
    for server in [&server, &other] {
        let by_tag = server.get("/v2/team/app/manifests/v1");
        assert_eq!(
            (by_tag.status, by_tag.header("content-type")),
            (200, Some(IMAGE))
        );
        assert_eq!(by_tag.header("docker-content-digest"), Some(&*manifest));
        assert_eq!(sha256(&by_tag.body), manifest);
        let by_digest = server.get(&format!("/v2/team/app/manifests/{manifest}"));
        assert_eq!(by_digest.body, by_tag.body);
        let path = format!("/v2/team/app/blobs/{}", sha256(&layer));
        assert!(server.get(&path).body == layer);
        let head = server.request("HEAD", &path, &[], b"").unwrap();
        assert_eq!(
            (head.status, head.header("content-length")),
            (200, Some("700000"))
        );
        for (range, expected) in [
            ("bytes=0-9", &layer[..10]),
            ("bytes=300000-300099", &layer[300_000..300_100]),
            ("bytes=-5", &layer[699_995..]),
            ("bytes=699990-", &layer[699_990..]),
        ] {
            let header = format!("Range: {range}");
            let part = server.request("GET", &path, &[&header], b"").unwrap();
            assert!(part.status == 206 && part.body == expected, "{range}");
        }
        let beyond = server
            .request("GET", &path, &["Range: bytes=700000-"], b"")
            .unwrap();
        assert_eq!(
            (beyond.status, beyond.header("content-range")),
            (416, Some("bytes */700000"))
        );
    }
    machine
        .run(["check", "serve-registry", "--read-data"])
        .success();
}

#[test]
fn a_tar_layer_built_again_adds_little_and_comes_back_byte_for_byte() {
    let machine = Cachefs::new().unwrap();
    let server = RegistryServer::start(&machine).unwrap();
    let first = layer_tar(1_700_000_000, 0..100);
    server.push_image("app", "v1", &first);
    let before = bytes_in_remote(&machine);
    assert!(
        before > first.len() as u64 * 9 / 10,
        "noise does not compress"
    );
    // The same files with other times, and one new file.
    let second = layer_tar(1_800_000_000, 0..101);
    server.push_image("app", "v2", &second);
    let added = bytes_in_remote(&machine) - before;
    assert!(
        added < first.len() as u64 / 20,
        "{added} of {}",
        first.len()
    );
    let truncated = &first[..first.len() / 2 + 77];
    let unusual = [&first[..], b"garbage after the end"].concat();
    let others = [truncated, &unusual];
    for (number, bytes) in others.iter().enumerate() {
        server.push_image("app", &format!("other-{number}"), bytes);
    }
    let other = machine.second_machine().unwrap();
    let other = RegistryServer::start(&other).unwrap();
    for bytes in [&first[..], &second, truncated, &unusual] {
        let path = format!("/v2/app/blobs/{}", sha256(bytes));
        assert!(other.get(&path).body == *bytes, "other bytes");
        let range = format!(
            "Range: bytes={}-{}",
            bytes.len() / 3,
            bytes.len() / 3 + 40_000
        );
        let part = other.request("GET", &path, &[&range], b"").unwrap();
        assert!(
            part.body == bytes[bytes.len() / 3..][..40_001],
            "another range"
        );
    }
}

#[test]
fn layers_share_data_with_caches_of_directories() {
    let machine = Cachefs::new().unwrap();
    let workspace = machine.work().join("app");
    for number in 0..50 {
        let package = workspace.join(format!("node_modules/package-{number}"));
        std::fs::create_dir_all(&package).unwrap();
        let content = noise(number, 20_000 + number as usize * 17);
        std::fs::write(package.join("index.js"), content).unwrap();
    }
    let save = machine
        .command(["save", "--key", "npm", "--path"])
        .arg(&workspace);
    save.run().success();
    let before = bytes_in_remote(&machine);
    let server = RegistryServer::start(&machine).unwrap();
    let layer = layer_tar(1_700_000_000, 0..50);
    server.push_image("app", "v1", &layer);
    let added = bytes_in_remote(&machine) - before;
    assert!(
        added < layer.len() as u64 / 20,
        "{added} of {}",
        layer.len()
    );
}

#[test]
fn uploads_arrive_in_one_piece_in_chunks_and_after_an_interruption() {
    let machine = Cachefs::new().unwrap();
    let server = RegistryServer::start(&machine).unwrap();
    let begin = || {
        let answer = server
            .request("POST", "/v2/a/blobs/uploads/", &[], b"")
            .unwrap();
        assert_eq!((answer.status, answer.header("range")), (202, Some("0-0")));
        answer.header("location").unwrap().to_owned()
    };
    let bytes = noise(2, 300_000);
    let digest = sha256(&bytes);
    let upload = begin();
    let first = server.request(
        "PATCH",
        &upload,
        &["Content-Range: 0-99999"],
        &bytes[..100_000],
    );
    let first = first.unwrap();
    assert_eq!(
        (first.status, first.header("range")),
        (202, Some("0-99999"))
    );
    let again = server.request(
        "PATCH",
        &upload,
        &["Content-Range: 0-99999"],
        &bytes[..100_000],
    );
    assert_eq!(again.unwrap().status, 416, "out of order");
    // After a dropped connection, the client asks how much has arrived and resumes there.
    let head = format!("PATCH {upload} HTTP/1.1\r\nHost: r\r\nContent-Length: 200000\r\n\r\n");
    {
        use std::io::Write as _;
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        stream
            .write_all(&[head.as_bytes(), &bytes[100_000..150_000]].concat())
            .unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let status = server.get(&upload);
        if let Some(last) = status.header("range").and_then(|it| it.strip_prefix("0-")) {
            let arrived = last.parse::<usize>().unwrap() + 1;
            assert!((100_000..=150_000).contains(&arrived), "{arrived}");
            let range = format!("Content-Range: {arrived}-299999");
            let rest = server.request("PATCH", &upload, &[&range], &bytes[arrived..]);
            // The server may have read more of the broken request in the meantime.
            match rest.unwrap().status {
                202 => break,
                status => assert!(matches!(status, 404 | 416), "{status}"),
            }
        }
        assert!(Instant::now() < deadline, "{status:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    let end = server
        .request("PUT", &format!("{upload}?digest={digest}"), &[], b"")
        .unwrap();
    assert_eq!(end.status, 201, "{end:?}");
    assert!(server.get(&format!("/v2/a/blobs/{digest}")).body == bytes);
    assert_eq!(server.get(&upload).error_code(), "BLOB_UPLOAD_UNKNOWN");
    // Another hash function, and a wrong digest.
    let hex = Sha512::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    let end = format!("{}?digest=sha512:{hex}", begin());
    assert_eq!(
        server.request("PUT", &end, &[], &bytes).unwrap().status,
        201
    );
    assert!(server.get(&format!("/v2/a/blobs/sha512:{hex}")).body == bytes);
    let end = format!("{}?digest={digest}", begin());
    let wrong = server.request("PUT", &end, &[], b"other bytes").unwrap();
    assert_eq!(
        (wrong.status, wrong.error_code().as_str()),
        (400, "DIGEST_INVALID")
    );
    let cancelled = begin();
    assert_eq!(
        server
            .request("DELETE", &cancelled, &[], b"")
            .unwrap()
            .status,
        204
    );
    assert_eq!(server.get(&cancelled).status, 404);
    // A blob of another repository is mounted without an upload.
    let mount = format!("/v2/b/blobs/uploads/?mount={digest}&from=a");
    assert_eq!(
        server.request("POST", &mount, &[], b"").unwrap().status,
        201
    );
    let unknown = format!("/v2/b/blobs/uploads/?mount={}&from=a", sha256(b"unknown"));
    assert_eq!(
        server.request("POST", &unknown, &[], b"").unwrap().status,
        202
    );
}

#[test]
fn manifests_are_checked_tagged_listed_and_deleted() {
    let machine = Cachefs::new().unwrap();
    let server = RegistryServer::start(&machine).unwrap();
    let config = server.push_blob("app", b"{}");
    let missing = sha256(b"never pushed");
    let refused = server.put_manifest("app", "v1", &image(&config, &[&missing]));
    assert_eq!(
        (refused.status, refused.error_code().as_str()),
        (404, "MANIFEST_BLOB_UNKNOWN")
    );
    assert_eq!(
        server.get("/v2/app/manifests/v1").error_code(),
        "MANIFEST_UNKNOWN"
    );
    assert_eq!(server.get("/v2/app/tags/list").error_code(), "NAME_UNKNOWN");
    let digest = server.push_image("app", "v1", b"layer");
    for tag in ["v3", "v2", "latest"] {
        server.push_image("app", tag, b"layer");
    }
    assert_eq!(
        server.get("/v2/app/tags/list").json()["tags"],
        json!(["latest", "v1", "v2", "v3"])
    );
    let page = server.get("/v2/app/tags/list?n=2&last=latest");
    assert_eq!(page.json()["tags"], json!(["v1", "v2"]));
    assert_eq!(
        page.header("link"),
        Some("</v2/app/tags/list?n=2&last=v2>; rel=\"next\"")
    );
    assert_eq!(
        server.get("/v2/app/tags/list?n=0").json()["tags"],
        json!([])
    );
    let delete = |reference: &str| {
        let path = format!("/v2/app/manifests/{reference}");
        server.request("DELETE", &path, &[], b"").unwrap().status
    };
    assert_eq!((delete("v2"), delete("v2")), (202, 404));
    assert_eq!(
        server.get("/v2/app/tags/list").json()["tags"],
        json!(["latest", "v1", "v3"])
    );
    assert_eq!((delete(&digest), delete(&digest)), (202, 404));
    assert_eq!(server.get("/v2/app/manifests/v1").status, 404);
    // Pushing it again restores it.
    server.push_image("app", "v1", b"layer");
    assert_eq!(server.get("/v2/app/manifests/v1").status, 200);
    let too_large = json!({ "schemaVersion": 2, "x": "y".repeat(5 << 20) });
    assert_eq!(server.put_manifest("app", "v1", &too_large).status, 413);
    for (path, code) in [
        ("/v2/APP/tags/list", "NAME_INVALID"),
        ("/v2/app/manifests/.x", "TAG_INVALID"),
        ("/v2/app/blobs/sha256:12", "DIGEST_INVALID"),
        ("/v3/", "UNSUPPORTED"),
    ] {
        assert_eq!(server.get(path).error_code(), code, "{path}");
    }
}

#[test]
fn referrers_are_listed_with_their_subject() {
    let machine = Cachefs::new().unwrap();
    let server = RegistryServer::start(&machine).unwrap();
    let subject = server.push_image("app", "v1", b"layer");
    let config = sha256(b"{}");
    let attach = |artifact_type: &str| {
        let mut manifest = image(&config, &[]);
        manifest["artifactType"] = json!(artifact_type);
        manifest["subject"] = json!({ "digest": subject, "size": 1, "mediaType": IMAGE });
        manifest["annotations"] = json!({ "by": artifact_type });
        let digest = sha256(manifest.to_string().as_bytes());
        let answer = server.put_manifest("app", &digest, &manifest);
        assert_eq!(
            (answer.status, answer.header("oci-subject")),
            (201, Some(&*subject))
        );
        digest
    };
    let (signature, bill) = (attach("example/signature"), attach("example/sbom"));
    let list = |query: &str| server.get(&format!("/v2/app/referrers/{subject}{query}"));
    let all = list("");
    assert_eq!((all.status, all.header("content-type")), (200, Some(INDEX)));
    assert_eq!(all.json()["manifests"].as_array().unwrap().len(), 2);
    let signatures = list("?artifactType=example/signature");
    assert_eq!(
        signatures.header("oci-filters-applied"),
        Some("artifactType")
    );
    let found = &signatures.json()["manifests"];
    assert_eq!(found[0]["digest"], json!(signature));
    assert_eq!(found[0]["annotations"]["by"], "example/signature");
    let path = format!("/v2/app/manifests/{bill}");
    assert_eq!(
        server.request("DELETE", &path, &[], b"").unwrap().status,
        202
    );
    assert_eq!(list("").json()["manifests"].as_array().unwrap().len(), 1);
    let none = server.get(&format!("/v2/app/referrers/{}", sha256(b"x")));
    assert_eq!((none.status, &none.json()["manifests"]), (200, &json!([])));
}

#[test]
fn acknowledged_content_survives_a_kill() {
    let machine = Cachefs::new().unwrap();
    let mut server = RegistryServer::start(&machine).unwrap();
    let image = layer_tar(1, 0..20);
    server.push_image("app", "v1", &image);
    let blob = noise(5, 100_000);
    let digest = server.push_blob("app", &blob);
    server.restart().unwrap();
    let path = format!("/v2/app/blobs/{digest}");
    assert!(server.get(&path).body == blob, "it was in the spool only");
    assert!(
        server
            .get(&format!("/v2/app/blobs/{}", sha256(&image)))
            .body
            == image
    );
    // A clean shutdown leaves the spool empty.
    server.stop().unwrap();
    let other = machine.second_machine().unwrap();
    let other = RegistryServer::start(&other).unwrap();
    assert!(other.get(&path).body == blob);
    assert_eq!(other.get("/v2/app/manifests/v1").status, 200);
}

#[test]
fn servers_on_one_bucket_see_what_the_others_push() {
    let machine = Cachefs::new().unwrap();
    let other = machine.second_machine().unwrap();
    let (one, two) = (
        RegistryServer::start(&machine).unwrap(),
        RegistryServer::start(&other).unwrap(),
    );
    std::thread::scope(|scope| {
        for (server, name) in [(&one, "one"), (&two, "two")] {
            scope.spawn(move || {
                for number in 0..4 {
                    let layer = noise(number, 50_000);
                    server.push_image("app", &format!("{name}-{number}"), &layer);
                }
            });
        }
    });
    let all = json!([
        "one-0", "one-1", "one-2", "one-3", "two-0", "two-1", "two-2", "two-3"
    ]);
    for server in [&one, &two] {
        let deadline = Instant::now() + Duration::from_secs(60);
        while server.get("/v2/app/tags/list").json()["tags"] != all {
            assert!(
                Instant::now() < deadline,
                "{:?}",
                server.get("/v2/app/tags/list")
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    let taken = machine.command(["serve", "--listen", "127.0.0.1:0"]).run();
    drop(
        taken
            .expect_code(2)
            .stderr_has("another server uses the spool"),
    );
}

#[test]
fn a_manifest_is_refused_while_the_remote_fails_and_accepted_later() {
    let machine = Cachefs::new().unwrap();
    let server = RegistryServer::start(&machine).unwrap();
    server.push_image("app", "v1", b"layer");
    let remote = remote_dir(&machine);
    let away = remote.with_extension("away");
    let config = server.push_blob("app", b"{}");
    std::fs::rename(&remote, &away).unwrap();
    std::fs::write(&remote, "not a directory").unwrap();
    let manifest = image(&config, &[]);
    let refused = server.put_manifest("app", "v2", &manifest);
    assert_eq!(
        (refused.status, refused.error_code().as_str()),
        (503, "UNAVAILABLE")
    );
    assert!(refused.header("retry-after").is_some());
    std::fs::remove_file(&remote).unwrap();
    std::fs::rename(&away, &remote).unwrap();
    assert_eq!(server.put_manifest("app", "v2", &manifest).status, 201);
    assert_eq!(
        server.get("/v2/app/tags/list").json()["tags"],
        json!(["v1", "v2"])
    );
}

#[test]
fn a_tls_hello_is_answered_so_that_docker_falls_back_to_http() {
    let machine = Cachefs::new().unwrap();
    let server = RegistryServer::start(&machine).unwrap();
    let answer = server.exchange(&[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 3]).unwrap();
    assert!(answer.starts_with(b"HTTP/1.0 400 "), "{answer:?}");
    assert_eq!(server.get("/v2/").status, 200);
    let outside = machine.command(["serve", "--listen", "0.0.0.0:0"]).run();
    drop(
        outside
            .expect_code(2)
            .stderr_has("reachable from other machines"),
    );
}
