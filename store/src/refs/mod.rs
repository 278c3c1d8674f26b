//! Refs: keys in scopes that name stacks of layers.
//!
//! Every save writes one small record under a name of its own that is never overwritten, so two
//! saves of one key can't destroy each other, on any object store: nothing here depends on
//! conditional writes. What a key means is the union of its records. A record supersedes the
//! ones its saver saw and took in, which are then deleted; so there is nearly always one.
//!
//! Beside the records lies the head, a copy of the newest one under a name that a reader knows in
//! advance. A reader asks for the head and the list of records at the same time, and when the list
//! agrees with the head, that was all: one round trip. The head is a hint; the list decides.
//!
//! A key that holds several paths has a ref for each, its [parts](CachePart). They are found by one
//! listing, and [`find_key()`] sees to it that all parts of a restore come from the same key.
//!
//! The object names and the record are documented in `docs/format/ref.md`.

mod find;
mod name;
mod part;
mod promote;
mod publish;
mod record;
mod resolve;
mod scopes;
mod survey;
mod text;
mod unite;
mod vouched;

pub use find::{FoundKey, find_key, list_parts};
pub use name::{Key, MAX_KEY_CHARS, RefName, Scope, parse_listing};
pub use part::CachePart;
pub use promote::{Promotion, promote_key};
pub use publish::{delete_key, delete_name, publish_record, remove_saves};
pub(crate) use publish::{put_head, put_record, take_back};
pub(crate) use record::MAX_RECORD;
pub use record::{Creator, LayerInfo, Platform, RefRecord};
pub use resolve::{
    Chosen, KeyQuery, ListedKey, MatchKind, Resolved, Saves, list_keys, read_records, read_saves,
    resolve_key, retain_unexpired, saved_micros,
};
pub use scopes::{ScopeSummary, list_scopes};
pub use survey::{Survey, read_newest, survey_keys};
pub use unite::{
    append_layers, build_stack, follow_squashes, superseded_saves, tree_totals, unite_records,
};
