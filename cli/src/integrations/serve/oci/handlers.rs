//! Handlers of requests.

use std::collections::HashMap;
use std::sync::Arc;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, LINK,
    RANGE,
};
use hyper::{Method, Request, Response, StatusCode};

use super::answers::{
    CONTENT_DIGEST, RegistryResult, base_answer, blob_location, created_answer, empty_answer,
    insert_header, json_answer, upload_answer,
};
use super::entry_names::{blob_name, manifest_name, referrer_name, tag_name};
use super::error::RegistryError;
use super::manifests::{INDEX_TYPE, parse_manifest};
use super::names::{
    ContentDigest, DigestAlgorithm, ManifestReference, RegistryRoute, RepositoryName,
};
use super::range::{RequestedRange, parse_range};
use super::registry::Registry;
use super::requests::{continues_at, header_text, parse_digest, parse_query, read_manifest};
use super::uploads::BlobUpload;
use crate::integrations::serve::content::AnswerBody;

/// Maximum number of tags in a response; clients follow the `Link` header for the rest.
const MAX_TAGS: usize = 10_000;

impl Registry {
    /// Handles a request. Converts every failure to a response with the protocol's error codes.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = match RegistryRoute::parse(&path) {
            Ok(route) => self.answer_route(route, request).await,
            Err(error) => Err(error.into()),
        };
        let response = response.unwrap_or_else(RegistryError::into_response);
        tracing::debug!("{method} {path}: {}", response.status().as_u16());
        response
    }

    async fn answer_route(
        &self,
        route: RegistryRoute,
        request: Request<Incoming>,
    ) -> RegistryResult {
        let (parts, body) = request.into_parts();
        let query = parse_query(parts.uri.query());
        let headers = &parts.headers;
        let is_head = parts.method == Method::HEAD;
        match (parts.method, route) {
            (Method::GET | Method::HEAD, RegistryRoute::Base) => Ok(base_answer()),
            (Method::GET | Method::HEAD, RegistryRoute::Blob(_, digest)) => {
                self.get_blob(&digest, headers, is_head).await
            }
            (Method::POST, RegistryRoute::Uploads(name)) => {
                self.begin_upload(&name, &query, body).await
            }
            (Method::GET, RegistryRoute::Upload(name, id)) => {
                let size = self.uploads.size(&name, &id)?;
                upload_answer(StatusCode::NO_CONTENT, &name, &id, size)
            }
            (Method::PATCH, RegistryRoute::Upload(name, id)) => {
                self.add_to_upload(&name, &id, headers, body).await
            }
            (Method::PUT, RegistryRoute::Upload(name, id)) => {
                self.end_upload(&name, &id, &query, headers, body).await
            }
            (Method::DELETE, RegistryRoute::Upload(name, id)) => {
                self.uploads.take(&name, &id)?;
                Ok(empty_answer(StatusCode::NO_CONTENT))
            }
            (Method::GET | Method::HEAD, RegistryRoute::Manifest(name, reference)) => {
                self.get_manifest(&name, &reference, is_head).await
            }
            (Method::PUT, RegistryRoute::Manifest(name, reference)) => {
                self.put_manifest(&name, &reference, headers, body).await
            }
            (Method::DELETE, RegistryRoute::Manifest(name, reference)) => {
                self.delete_manifest(&name, &reference).await
            }
            (Method::GET, RegistryRoute::Tags(name)) => self.list_tags(&name, &query).await,
            (Method::GET, RegistryRoute::Referrers(name, digest)) => {
                let artifact_type = query.get("artifactType").map(String::as_str);
                self.list_referrers(&name, &digest, artifact_type).await
            }
            (Method::DELETE, RegistryRoute::Blob(..)) => Err(RegistryError::unsupported(
                "blobs are shared by all repositories, and removed when nothing refers to them",
            )),
            _ => Err(RegistryError::unsupported("no such method on this path")),
        }
    }

    async fn get_blob(
        &self,
        digest: &ContentDigest,
        headers: &HeaderMap,
        is_head: bool,
    ) -> RegistryResult {
        let content = self.namespace.find(&blob_name(digest)).await?;
        let content = content.ok_or_else(|| RegistryError::blob_unknown(digest))?;
        let size = content.size();
        let range = header_text(headers, RANGE.as_str());
        let range = match (is_head, parse_range(range, size)) {
            (false, range) => range,
            (true, _) => RequestedRange::All,
        };
        let mut response = match range {
            RequestedRange::All if is_head => empty_answer(StatusCode::OK),
            RequestedRange::All => Response::new(content.stream(0..size).boxed_unsync()),
            RequestedRange::Part(range) => {
                let value = format!("bytes {}-{}/{size}", range.start, range.end - 1);
                let mut response = Response::new(content.stream(range).boxed_unsync());
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                insert_header(&mut response, CONTENT_RANGE.as_str(), &value)?;
                response
            }
            RequestedRange::Unsatisfiable => {
                let mut response = empty_answer(StatusCode::RANGE_NOT_SATISFIABLE);
                insert_header(
                    &mut response,
                    CONTENT_RANGE.as_str(),
                    &format!("bytes */{size}"),
                )?;
                return Ok(response);
            }
        };
        if is_head {
            let headers = response.headers_mut();
            headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
        }
        insert_header(
            &mut response,
            CONTENT_TYPE.as_str(),
            "application/octet-stream",
        )?;
        insert_header(&mut response, ACCEPT_RANGES.as_str(), "bytes")?;
        insert_header(&mut response, ETAG.as_str(), &format!("\"{digest}\""))?;
        insert_header(&mut response, CONTENT_DIGEST, &digest.to_string())?;
        Ok(response)
    }

    /// Whether the namespace has a blob, so that an upload need not send it.
    async fn has_blob(&self, digest: &ContentDigest) -> Result<bool, RegistryError> {
        Ok(self.namespace.find(&blob_name(digest)).await?.is_some())
    }

    async fn begin_upload(
        &self,
        name: &RepositoryName,
        query: &HashMap<String, String>,
        body: Incoming,
    ) -> RegistryResult {
        if let Some(digest) = query.get("mount") {
            let digest = parse_digest(digest)?;
            if self.has_blob(&digest).await? {
                return created_answer(&blob_location(name, &digest), &digest);
            }
        }
        let upload = BlobUpload::new(self.namespace.begin_upload()?);
        if let Some(digest) = query.get("digest") {
            let digest = parse_digest(digest)?;
            let (upload, received) = upload.receive(body).await;
            received?;
            return self.accept_upload(name, upload, &digest).await;
        }
        let id = self.uploads.begin(name, upload)?;
        upload_answer(StatusCode::ACCEPTED, name, &id, 0)
    }

    /// Adds the body of a request to an upload. The upload stays open, even if this fails.
    async fn add_to_upload(
        &self,
        name: &RepositoryName,
        id: &str,
        headers: &HeaderMap,
        body: Incoming,
    ) -> RegistryResult {
        let size = self.uploads.size(name, id)?;
        if !continues_at(headers, size) {
            return upload_answer(StatusCode::RANGE_NOT_SATISFIABLE, name, id, size);
        }
        let (upload, received) = self.uploads.take(name, id)?.receive(body).await;
        let size = upload.size();
        self.uploads.put_back(name, id, upload);
        received?;
        upload_answer(StatusCode::ACCEPTED, name, id, size)
    }

    async fn end_upload(
        &self,
        name: &RepositoryName,
        id: &str,
        query: &HashMap<String, String>,
        headers: &HeaderMap,
        body: Incoming,
    ) -> RegistryResult {
        let digest = query.get("digest");
        let digest = digest.ok_or_else(|| RegistryError::digest_invalid("no `digest` is given"))?;
        let digest = parse_digest(digest)?;
        let size = self.uploads.size(name, id)?;
        if !continues_at(headers, size) {
            return upload_answer(StatusCode::RANGE_NOT_SATISFIABLE, name, id, size);
        }
        let (upload, received) = self.uploads.take(name, id)?.receive(body).await;
        if let Err(error) = received {
            self.uploads.put_back(name, id, upload);
            return Err(error);
        }
        self.accept_upload(name, upload, &digest).await
    }

    async fn accept_upload(
        &self,
        name: &RepositoryName,
        upload: BlobUpload,
        digest: &ContentDigest,
    ) -> RegistryResult {
        let (namespace, wanted) = (Arc::clone(&self.namespace), digest.clone());
        let accepted = tokio::task::spawn_blocking(move || {
            let spooled = upload.finish(&wanted)?;
            namespace.accept(spooled, &blob_name(&wanted))?;
            Ok::<_, RegistryError>(())
        });
        accepted
            .await
            .map_err(|_| cachefs_store::Error::Cancelled)??;
        created_answer(&blob_location(name, digest), digest)
    }

    async fn get_manifest(
        &self,
        name: &RepositoryName,
        reference: &ManifestReference,
        is_head: bool,
    ) -> RegistryResult {
        let unknown = || RegistryError::manifest_unknown(reference);
        let (entry, digest) = self.find_manifest(name, reference).await?;
        let content = self.namespace.find(&blob_name(&digest)).await?;
        let content = content.ok_or_else(unknown)?;
        let size = content.size();
        let mut response = if is_head {
            let mut response = empty_answer(StatusCode::OK);
            let headers = response.headers_mut();
            headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
            response
        } else {
            Response::new(content.stream(0..size).boxed_unsync())
        };
        insert_header(&mut response, CONTENT_TYPE.as_str(), &entry.media_type)?;
        insert_header(&mut response, ETAG.as_str(), &format!("\"{digest}\""))?;
        insert_header(&mut response, CONTENT_DIGEST, &digest.to_string())?;
        Ok(response)
    }

    async fn put_manifest(
        &self,
        name: &RepositoryName,
        reference: &ManifestReference,
        headers: &HeaderMap,
        body: Incoming,
    ) -> RegistryResult {
        let bytes = read_manifest(body).await?;
        let digest = match reference {
            ManifestReference::Tag(_) => ContentDigest::of(DigestAlgorithm::Sha256, &bytes),
            ManifestReference::Digest(wanted) => {
                let digest = ContentDigest::of(wanted.algorithm(), &bytes);
                if digest != *wanted {
                    let message = format!("the manifest has the digest {digest}, not {wanted}");
                    return Err(RegistryError::digest_invalid(message));
                }
                digest
            }
        };
        let content_type = header_text(headers, CONTENT_TYPE.as_str());
        let parsed = parse_manifest(&bytes, content_type, &digest)?;
        for needed in &parsed.needs {
            if !self.has_blob(needed).await? {
                let message =
                    format!("the registry has no blob or manifest {needed}; push it first");
                let status = StatusCode::NOT_FOUND;
                return Err(RegistryError::new(status, "MANIFEST_BLOB_UNKNOWN", message));
            }
        }
        let entry = parsed.entry.encode()?;
        let mut files = vec![
            (blob_name(&digest), bytes),
            (manifest_name(name, &digest), entry.clone()),
        ];
        if let Some(subject) = &parsed.subject {
            files.push((referrer_name(name, subject, &digest), entry));
        }
        if let ManifestReference::Tag(tag) = reference {
            files.push((tag_name(name, tag), parsed.entry.for_tag().encode()?));
        }
        self.save_files(files).await?;
        let location = format!("/v2/{name}/manifests/{reference}");
        let mut response = created_answer(&location, &digest)?;
        if let Some(subject) = parsed.subject {
            insert_header(&mut response, "oci-subject", &subject.to_string())?;
        }
        Ok(response)
    }

    async fn delete_manifest(
        &self,
        name: &RepositoryName,
        reference: &ManifestReference,
    ) -> RegistryResult {
        let (entry, digest) = self.find_manifest(name, reference).await?;
        let deleted = entry.deleted().encode()?;
        let mut files = Vec::new();
        match reference {
            ManifestReference::Tag(tag) => files.push((tag_name(name, tag), deleted)),
            ManifestReference::Digest(_) => {
                if let Some(subject) = self.subject_of(&digest).await? {
                    files.push((referrer_name(name, &subject, &digest), deleted.clone()));
                }
                files.push((manifest_name(name, &digest), deleted));
            }
        }
        self.save_files(files).await?;
        Ok(empty_answer(StatusCode::ACCEPTED))
    }

    /// Saves small files, together with all blobs that were accepted before.
    async fn save_files(&self, files: Vec<(String, Vec<u8>)>) -> Result<(), RegistryError> {
        let namespace = Arc::clone(&self.namespace);
        // In order: a file that refers to others comes after them.
        let written = tokio::task::spawn_blocking(move || namespace.write(files));
        written
            .await
            .map_err(|_| cachefs_store::Error::Cancelled)??;
        Ok(self.namespace.flush().await?)
    }

    async fn list_tags(
        &self,
        name: &RepositoryName,
        query: &HashMap<String, String>,
    ) -> RegistryResult {
        let tags = self.tags(name).await?;
        let last = query.get("last").map_or("", String::as_str);
        let wanted = query.get("n").and_then(|n| n.parse().ok());
        let wanted = wanted.unwrap_or(MAX_TAGS).min(MAX_TAGS);
        let mut after = tags.into_iter().filter(|tag| tag.as_str() > last);
        let page: Vec<_> = after.by_ref().take(wanted).collect();
        let next = page.last().filter(|_| after.next().is_some());
        let next =
            next.map(|last| format!("</v2/{name}/tags/list?n={wanted}&last={last}>; rel=\"next\""));
        let body = serde_json::json!({ "name": name.to_string(), "tags": page });
        let mut response = json_answer(&body, "application/json")?;
        if let Some(next) = next {
            insert_header(&mut response, LINK.as_str(), &next)?;
        }
        Ok(response)
    }

    async fn list_referrers(
        &self,
        name: &RepositoryName,
        subject: &ContentDigest,
        artifact_type: Option<&str>,
    ) -> RegistryResult {
        let mut referrers = self.referrers(name, subject).await?;
        if let Some(wanted) = artifact_type {
            referrers.retain(|entry| entry.artifact_type.as_deref() == Some(wanted));
        }
        let index = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "manifests": referrers,
        });
        let mut response = json_answer(&index, INDEX_TYPE)?;
        if artifact_type.is_some() {
            insert_header(&mut response, "oci-filters-applied", "artifactType")?;
        }
        Ok(response)
    }
}
