//! Where a key is: commands about one key look where a restore looks.

use cachefs_store::id::SaveId;
use cachefs_store::refs::{Key, Listed, Scope, list_parts, read_newest};
use cachefs_store::remote::DynRemote;

use crate::failure::absent;
use crate::output;

/// The first of these scopes that has a key, with the key's parts.
pub(super) async fn holder(
    remote: &DynRemote,
    scopes: &[Scope],
    key: &Key,
) -> cachefs_store::Result<Option<(Scope, Vec<Listed>)>> {
    for scope in scopes {
        let parts = list_parts(remote, scope, key).await?;
        if !parts.is_empty() {
            return Ok(Some((scope.clone(), parts)));
        }
    }
    Ok(None)
}

/// The error of a key that is in none of these scopes, or has expired there.
pub(super) async fn missing(remote: &DynRemote, scopes: &[Scope], key: &Key) -> anyhow::Error {
    let names: Vec<_> = scopes.iter().map(Scope::as_str).collect();
    let hint = "`cachefs list` shows the keys of a scope, and --scope names another";
    // Whatever keeps us from finding out more, it is not there.
    if let Ok(Some((scope, parts))) = holder(remote, scopes, key).await
        && let Some(listed) = parts.first()
        && let Ok(Some(record)) = read_newest(remote, listed).await
        && let Some(expires) = record.expires
        && record.is_expired(SaveId::now().micros)
    {
        return absent(
            format!(
                "key {key} (scope {scope}) expired {}",
                output::until(expires)
            ),
            Some("save it again; --ttl says for how long"),
        );
    }
    absent(
        format!("there is no key {key} (scope {})", names.join(", ")),
        Some(hint),
    )
}
