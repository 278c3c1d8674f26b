//! Finds the scope of a key; commands about one key search the same scopes as a restore.

use cachefs_store::id::SaveId;
use cachefs_store::refs::{Key, ListedKey, Scope, list_parts, read_newest};
use cachefs_store::remote::DynRemote;

use crate::failure::not_found_error;
use crate::output;

/// Finds the first of these scopes that has the key, with the parts of the key.
pub(super) async fn find_holder(
    remote: &DynRemote,
    scopes: &[Scope],
    key: &Key,
) -> cachefs_store::Result<Option<(Scope, Vec<ListedKey>)>> {
    for scope in scopes {
        let parts = list_parts(remote, scope, key).await?;
        if !parts.is_empty() {
            return Ok(Some((scope.clone(), parts)));
        }
    }
    Ok(None)
}

/// The error for a key that does not exist in these scopes, or has expired there.
pub(super) async fn missing_key_error(
    remote: &DynRemote,
    scopes: &[Scope],
    key: &Key,
) -> anyhow::Error {
    let names: Vec<_> = scopes.iter().map(Scope::as_str).collect();
    let hint = "`cachefs list` lists keys; --scope selects another scope";
    // A failure here only costs details: the key is missing either way.
    if let Ok(Some((scope, parts))) = find_holder(remote, scopes, key).await
        && let Some(listed) = parts.first()
        && let Ok(Some(record)) = read_newest(remote, listed).await
        && let Some(expires) = record.expires
        && record.is_expired(SaveId::now().micros)
    {
        return not_found_error(
            format!(
                "key {key} (scope {scope}) expired {}",
                output::format_until(expires)
            ),
            Some("save it again; --ttl sets its lifetime"),
        );
    }
    not_found_error(
        format!("there is no key {key} (scope {})", names.join(", ")),
        Some(hint),
    )
}
