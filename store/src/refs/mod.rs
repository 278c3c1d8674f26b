//! Refs: keys in scopes that name stacks of layers.
//!
//! Every save writes one small record under a unique name that is never overwritten. So two saves
//! of one key cannot destroy each other on any object store, and nothing here depends on
//! conditional writes. The value of a key is the union of its records. A record supersedes the
//! records that its saver has included, which are then deleted; so there is usually one.
//!
//! Beside the records is the head, a copy of the newest one under a predictable name. A reader
//! requests the head and the list of records in parallel. If both agree, that is all: one round
//! trip. The head is a hint; the list decides.
//!
//! A key of several paths has a ref for each, its [parts](CachePart). One listing finds them, and
//! [`find_key()`] ensures that all parts of a restore come from the same key.
//!
//! `docs/format/ref.md` documents the object names and the record.

mod creator;
mod encoding;
mod find_key;
mod free_text;
mod key_part;
mod list_keys;
mod name;
mod promote;
mod promoted_packs;
mod publish;
mod query;
mod record;
mod resolve;
mod scopes;
mod unite;

pub use creator::{Creator, Platform};
pub use find_key::{FoundKey, find_key, list_parts};
pub use key_part::CachePart;
pub use list_keys::{Survey, read_newest, survey_keys};
pub use name::{Key, MAX_KEY_CHARS, RefName, Scope, parse_listing};
pub use promote::{Promotion, promote_key};
pub use publish::{delete_key, delete_name, publish_record, remove_saves};
pub(crate) use publish::{put_head, put_record, take_back};
pub use query::{Chosen, KeyQuery, MatchKind, Resolved};
pub(crate) use record::MAX_RECORD;
pub use record::{LayerInfo, RefRecord};
pub use resolve::{
    ListedKey, Saves, list_keys, read_records, read_saves, resolve_key, retain_unexpired,
    saved_micros,
};
pub use scopes::{ScopeSummary, list_scopes};
pub use unite::{
    append_layers, build_stack, follow_squashes, superseded_saves, tree_totals, unite_records,
};
