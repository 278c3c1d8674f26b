//! Going on with the mounts and shares of a worker that is gone.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cachefs_store::stack::Numbering;

use super::connection::spawn_connection;
use super::fd_table::{HeldDescriptor, Item, Trust, view_of_name};
use super::shared;
use super::state::DaemonState;
use crate::error::{Error, describe_chain};
use crate::rpc::OpenRequest;
use crate::sys::crash_record;
use crate::sys::fuse_init::FuseInit;
use crate::view::ViewForm;

/// Longest time until a mount is served again: its remote may be unreachable at first. Readers
/// wait; after this time they get an error, because the mount is dead.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long until it is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// How long a mount that a worker may have died of is served before the next such one. A reader that
/// waits is answered long before, and so the worker dies of the right one.
const PROBATION: Duration = Duration::from_secs(2);

/// Adopts all held views, each in a thread of its own.
pub(super) fn adopt_all(state: &Arc<DaemonState>, held: Vec<HeldDescriptor>) {
    let (suspects, held): (Vec<_>, Vec<_>) = held
        .into_iter()
        .partition(|held| held.trust == Trust::Suspect);
    for held in held {
        adopt_view(state, held, Duration::ZERO);
    }
    for (held, number) in suspects.into_iter().zip(0..) {
        adopt_view(state, held, PROBATION * number);
    }
}

/// Adopts a held view after a pause.
fn adopt_view(state: &Arc<DaemonState>, held: HeldDescriptor, pause: Duration) {
    let (number, mount) = match (view_of_name(&held.name), serde_json::from_str(&held.item)) {
        (_, Ok(Item::Share(description))) => {
            let listener = held.fd.as_fd().try_clone_to_owned();
            let adopted = listener
                .map_err(Error::io("take over", &description.path))
                .and_then(|listener| {
                    shared::adopt_share(state, description, listener, spawn_connection)
                });
            if let Err(error) = adopted {
                give_up(state, held, &describe_chain(&error));
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
            return give_up(state, held, "this version does not know it");
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
            std::thread::sleep(pause);
            match held.trust {
                Trust::Quarantined => refuse_requests(&adopting, number, &mount.2, held),
                _ => go_on(&adopting, number, mount, held),
            }
            adopting.arrived();
            adopting.activity.disconnected();
        });
    if let Err(error) = thread {
        tracing::error!("cannot serve a mount: {error}");
        state.arrived();
        state.activity.disconnected();
    }
}

fn go_on(
    state: &Arc<DaemonState>,
    number: u64,
    (mut open, (form, numbering), init): (OpenRequest, (ViewForm, Numbering), FuseInit),
    held: HeldDescriptor,
) {
    // The notes of earlier reads are lost, and a partial trace does not help later jobs.
    open.shown.trace = false;
    open.shown.form = form;
    let started = Instant::now();
    let _at_work = crash_record::note_work(number);
    while let Err(error) = state.open_as(number, numbering, open.clone()) {
        if started.elapsed() > PATIENCE {
            return give_up(state, held, &describe_chain(&error));
        }
        tracing::warn!("a mount is waiting: {}", describe_chain(&error));
        std::thread::sleep(PAUSE);
    }
    if let Err(error) = state.go_on(number, form, &held.fd, &init) {
        state.close(number);
        give_up(state, held, &describe_chain(&error));
    }
}

/// Answers all that is asked of a mount with EIO: workers have died of answering.
fn refuse_requests(state: &Arc<DaemonState>, number: u64, init: &FuseInit, held: HeldDescriptor) {
    tracing::error!(
        "{} is not served: it crashed the worker repeatedly",
        held.name
    );
    if let Err(error) = state.refuse(number, &held.fd, init) {
        give_up(state, held, &describe_chain(&error));
    }
}

/// Gives up a mount: its users get an error, which is better than no answer.
fn give_up(state: &DaemonState, held: HeldDescriptor, why: &str) {
    tracing::error!("cannot resume {}, it is dead: {why}", held.name);
    state.let_go(held.name);
}
