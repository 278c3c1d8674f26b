//! Going on with the mounts and shares of a worker that is gone.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cachefs_store::stack::Numbering;

use super::held::{Held, Item, view_of_name};
use super::shared;
use super::state::State;
use crate::error::{Error, describe};
use crate::rpc::Open;
use crate::sys::fuse_init::FuseInit;
use crate::view::Form;

/// How long a mount may take until it can be served again: its remote may be away just now. Its
/// readers wait; after this they are told that the mount is dead.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long until it is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// Goes on with what was held, in a thread of its own.
pub(super) fn adopt(state: &Arc<State>, held: Held) {
    let (number, mount) = match (view_of_name(&held.name), serde_json::from_str(&held.item)) {
        (_, Ok(Item::Share(description))) => {
            let listener = held.fd.as_fd().try_clone_to_owned();
            let adopted = listener
                .map_err(Error::io("take over", &description.path))
                .and_then(|listener| shared::adopt(state, description, listener));
            if let Err(error) = adopted {
                give_up(state, held, &describe(&error));
            }
            return;
        }
        (
            Some(number),
            Ok(Item::Mount {
                open,
                form,
                numbering,
                init,
            }),
        ) => (number, (open, (form, numbering), init)),
        (None, Ok(Item::Mount { .. })) => {
            return give_up(state, held, "it is nothing that this version knows");
        }
        (_, Err(error)) => return give_up(state, held, &error.to_string()),
    };
    state.expect(number);
    // The daemon must not end for want of views meanwhile.
    state.activity.connected();
    let adopting = Arc::clone(state);
    let thread = std::thread::Builder::new()
        .name("adopt".to_owned())
        .spawn(move || {
            go_on(&adopting, number, mount, held);
            adopting.arrived();
            adopting.activity.disconnected();
        });
    if let Err(error) = thread {
        tracing::error!("a mount can't be served: {error}");
        state.arrived();
        state.activity.disconnected();
    }
}

fn go_on(
    state: &Arc<State>,
    number: u64,
    (mut open, (form, numbering), init): (Open, (Form, Numbering), FuseInit),
    held: Held,
) {
    // What was read before is not known any more, and half of it is no help to later jobs.
    open.shown.trace = false;
    open.shown.form = form;
    let started = Instant::now();
    while let Err(error) = state.open_as(number, numbering, open.clone()) {
        if started.elapsed() > PATIENCE {
            return give_up(state, held, &describe(&error));
        }
        tracing::warn!("a mount waits: {}", describe(&error));
        std::thread::sleep(PAUSE);
    }
    if let Err(error) = state.go_on(number, form, &held.fd, &init) {
        state.close(number);
        give_up(state, held, &describe(&error));
    }
}

/// Lets a mount die: whoever uses it gets an error, which is better than no answer.
fn give_up(state: &State, held: Held, why: &str) {
    tracing::error!("{} cannot be gone on with, and is dead: {why}", held.name);
    state.let_go(held.name);
}
