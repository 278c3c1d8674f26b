//! Every order of the steps of a saver, a collector, and people who delete and squash, up to a bound.
//!
//! The tests of whole repositories (`store/tests/store/collecting`) take a few orders at random.
//! This model takes all of them, with a few objects and a clock that ticks in half hours, so that
//! it finds bugs that need many steps in one order. Only storing and listing are made up here:
//! planning, executing, confirming and publishing are the code that runs in jobs.

mod objects;

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use objects::*;

use super::*;
use crate::error::Error;
use crate::gc::inventory::Referring;
use crate::id::LayerId;
use crate::layer::{self};
use crate::pack::{self, PackRef};
use crate::progress::Silent;
use crate::refs::{self, RefRecord, superseded_saves};
use crate::remote::DynRemote;

/// The events apart from collection.
#[derive(Debug, Clone, Copy)]
struct ModelCase {
    /// The key that is saved; the path was restored from `k`.
    key: &'static str,
    squashes: bool,
    others_squash: bool,
    /// A fault that the model must find: the parts of a squashed layer do not count as needed.
    forgets_parts: bool,
}

#[derive(Debug, Clone)]
enum CollectorState {
    Idle,
    /// Has listed objects and read the list.
    Listed {
        inventory: Inventory,
        began: u64,
    },
    Planned {
        inventory: Inventory,
        plan: Box<GcPlan>,
        began: u64,
    },
}

#[derive(Debug, Clone)]
enum SaverState {
    Idle,
    Begun {
        condemned: Condemned,
        existing: Vec<RefRecord>,
    },
    Stored {
        condemned: Condemned,
        existing: Vec<RefRecord>,
        own: LayerId,
    },
    Done,
}

#[derive(Debug, Clone)]
struct ModelState {
    now: u64,
    objects: Objects,
    collector: CollectorState,
    saver: SaverState,
    /// Whether others can still delete, or squash, `k`.
    deletes: bool,
    squashes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ModelStep {
    Wait,
    Delete,
    OthersSquash,
    List,
    Plan,
    Sweep,
    /// The collector dies after this many writes.
    SweepAndDie(u32),
    Begin,
    Store,
    Publish,
    /// The saver is stopped for so long before its record is visible, and its clock with it.
    PublishAfterSleep(u64),
}

const STEPS: [ModelStep; 12] = [
    ModelStep::Wait,
    ModelStep::Delete,
    ModelStep::OthersSquash,
    ModelStep::List,
    ModelStep::Plan,
    ModelStep::Sweep,
    ModelStep::SweepAndDie(1),
    ModelStep::SweepAndDie(2),
    ModelStep::Begin,
    ModelStep::Store,
    ModelStep::Publish,
    ModelStep::PublishAfterSleep(4),
];

struct GcModel {
    case: ModelCase,
    runtime: tokio::runtime::Runtime,
}

impl GcModel {
    fn start(&self) -> ModelState {
        let first = record("k", 1, vec![info(BASE, &[])], Vec::new());
        let mut objects = Objects::new();
        objects.insert(
            first.name().record(&first.id),
            first.encode().unwrap().into(),
        );
        objects.insert(layer::object_key(&BASE), Bytes::from_static(b"x"));
        objects.insert(pack::object_key(&BASE_PACK), Bytes::from_static(b"x"));
        ModelState {
            now: 0,
            objects,
            collector: CollectorState::Idle,
            saver: SaverState::Idle,
            deletes: true,
            squashes: self.case.others_squash,
        }
    }

    /// Runs real code on the objects of a state.
    fn on<T>(
        &self,
        state: &mut ModelState,
        set_up: impl FnOnce(&MemoryRemote),
        work: impl AsyncFnOnce(&DynRemote) -> T,
    ) -> T {
        let memory = Arc::new(MemoryRemote::default());
        *memory.objects.lock() = std::mem::take(&mut state.objects);
        set_up(&memory);
        let remote: DynRemote = memory.clone();
        let done = self.runtime.block_on(work(&remote));
        state.objects = std::mem::take(&mut memory.objects.lock());
        done
    }

    /// The state after a step; `None` when it cannot be taken now.
    fn after(&self, before: &ModelState, step: ModelStep) -> Option<ModelState> {
        let mut state = before.clone();
        match step {
            ModelStep::Wait if state.now < LAST => state.now += 1,
            ModelStep::Delete if state.deletes => {
                state.deletes = false;
                let head = name("k").head();
                let folder = head.as_str().trim_end_matches("~h");
                state
                    .objects
                    .retain(|key, _| !key.as_str().starts_with(folder));
            }
            ModelStep::OthersSquash if state.squashes && state.deletes => {
                state.squashes = false;
                let layers = vec![info(SQUASHED_BY_OTHERS, &[BASE])];
                state.objects.insert(
                    layer::object_key(&SQUASHED_BY_OTHERS),
                    Bytes::from_static(b"x"),
                );
                state
                    .objects
                    .insert(pack::object_key(&PACK_OF_OTHERS), Bytes::from_static(b"x"));
                let first = record("k", 1, Vec::new(), Vec::new());
                let new = record("k", 2, layers, vec![first.id]);
                state.objects.remove(&first.name().record(&first.id));
                state
                    .objects
                    .insert(new.name().record(&new.id), new.encode().unwrap().into());
            }
            ModelStep::List => self.list(&mut state)?,
            ModelStep::Plan => Self::plan(&mut state)?,
            ModelStep::Sweep => self.sweep(&mut state, None)?,
            ModelStep::SweepAndDie(writes) => self.sweep(&mut state, Some(writes))?,
            ModelStep::Begin => self.begin(&mut state)?,
            ModelStep::Store => self.store(&mut state)?,
            ModelStep::Publish => self.publish(&mut state, 0)?,
            ModelStep::PublishAfterSleep(ticks) => self.publish(&mut state, ticks)?,
            ModelStep::Wait | ModelStep::Delete | ModelStep::OthersSquash => return None,
        }
        Some(state)
    }

    fn list(&self, state: &mut ModelState) -> Option<()> {
        let CollectorState::Idle = state.collector else {
            return None;
        };
        let condemned = self.on(
            state,
            |_| {},
            async |remote| Condemned::read(remote).await.unwrap(),
        );
        let layers = layers_in(&state.objects).into_iter().map(|id| {
            let packs = packs_of(&id);
            (id, Referring { size: 1, packs })
        });
        let inventory = Inventory {
            condemned,
            layers: layers.collect(),
            packs: packs_in(&state.objects)
                .into_iter()
                .map(|id| (id, 1))
                .collect(),
            ..Inventory::default()
        };
        let began = state.now;
        state.collector = CollectorState::Listed { inventory, began };
        Some(())
    }

    fn options(began: u64) -> GcOptions {
        GcOptions {
            grace: MIN_GRACE,
            older_than: None,
            dry_run: false,
            now: time(began),
        }
    }

    fn plan(state: &mut ModelState) -> Option<()> {
        let CollectorState::Listed { inventory, began } = &state.collector else {
            return None;
        };
        let (mut inventory, began) = (inventory.clone(), *began);
        for record in records_in(&state.objects) {
            inventory
                .saves
                .entry(record.name())
                .or_default()
                .push(record);
        }
        let plan = Box::new(plan_collection(&inventory, &Self::options(began)));
        state.collector = CollectorState::Planned {
            inventory,
            plan,
            began,
        };
        Some(())
    }

    fn sweep(&self, state: &mut ModelState, writes: Option<u32>) -> Option<()> {
        let CollectorState::Planned {
            inventory,
            plan,
            began,
        } = state.collector.clone()
        else {
            return None;
        };
        let (mut plan, now) = (plan, time(state.now));
        let dies = writes.is_some();
        let swept = self.on(
            state,
            |memory| *memory.writes_left.lock() = writes,
            async |remote| {
                let options = Self::options(began);
                execute_plan(remote, &inventory, &mut plan, &options, now, &Silent).await
            },
        );
        match swept {
            Ok(()) | Err(Error::TookTooLong { .. }) => {}
            Err(_) if dies => {}
            Err(error) => panic!("{error}"),
        }
        state.collector = CollectorState::Idle;
        Some(())
    }

    fn begin(&self, state: &mut ModelState) -> Option<()> {
        let SaverState::Idle = state.saver else {
            return None;
        };
        let target = name(self.case.key);
        let (mut condemned, existing) = self.on(
            state,
            |_| {},
            async |remote| {
                let condemned = Condemned::read(remote).await.unwrap();
                (
                    condemned,
                    refs::read_records(remote, &target).await.unwrap(),
                )
            },
        );
        condemned.read = time(state.now);
        state.saver = SaverState::Begun {
            condemned,
            existing,
        };
        Some(())
    }

    fn store(&self, state: &mut ModelState) -> Option<()> {
        let SaverState::Begun {
            condemned,
            existing,
        } = state.saver.clone()
        else {
            return None;
        };
        // Nothing is built upon a pack that was condemned when the saver began.
        let own = match condemned.packs.contains_key(&BASE_PACK) {
            true => OWN,
            false => OWN_WITH_MOVED,
        };
        let squashed = self.case.squashes.then_some(SQUASHED);
        for layer in squashed.into_iter().chain([own]) {
            state
                .objects
                .insert(layer::object_key(&layer), Bytes::from_static(b"x"));
        }
        state
            .objects
            .insert(pack::object_key(&OWN_PACK), Bytes::from_static(b"x"));
        state.saver = SaverState::Stored {
            condemned,
            existing,
            own,
        };
        Some(())
    }

    fn publish(&self, state: &mut ModelState, sleeps: u64) -> Option<()> {
        let SaverState::Stored {
            condemned,
            existing,
            own,
        } = state.saver.clone()
        else {
            return None;
        };
        if state.now + sleeps > LAST {
            return None;
        }
        let base = [info(BASE, &[])];
        let named: HashSet<_> = existing
            .iter()
            .flat_map(|it| it.layers.iter().map(|layer| layer.id))
            .collect();
        let supersedes = superseded_saves(&existing);
        let (mut stack, _) = refs::unite_records(existing);
        refs::append_layers(&mut stack, &base);
        let mut parts = Vec::new();
        if self.case.squashes {
            let below: Vec<_> = stack.iter().map(|layer| layer.id).collect();
            parts = std::mem::replace(&mut stack, vec![info(SQUASHED, &below)]);
        }
        if self.case.forgets_parts {
            parts.clear();
        }
        stack.push(info(own, &[]));
        let packs = packs_of(&own).into_iter().map(|id| PackRef {
            id,
            length: 1,
            trailer: 0,
            hash: None,
        });
        let is_old = state.now > 1;
        let needs = Needs::of(&stack, &parts, &base, &named, is_old, packs.collect());
        let record = record(self.case.key, 3, stack, supersedes);
        let now = time(state.now);
        let wakes = (sleeps > 0).then(|| time(state.now + sleeps));
        let published = self.on(
            state,
            |memory| *memory.wakes.lock() = wakes,
            async |remote| publish_confirmed(remote, &record, &condemned, &needs, now).await,
        );
        match published {
            Ok(()) | Err(Error::BeingCollected { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        state.now += sleeps;
        state.saver = SaverState::Done;
        Some(())
    }

    /// Takes every order of steps; returns the shortest one after which a record leads nowhere, and the
    /// number of states.
    fn explore(&self) -> Result<usize, Vec<ModelStep>> {
        let start = self.start();
        let mut seen = HashSet::from([start.key()]);
        let mut pending: Vec<(ModelState, Option<Rc<StepHistory>>)> = vec![(start, None)];
        while !pending.is_empty() {
            let mut next = Vec::new();
            for (state, history) in &pending {
                for step in STEPS {
                    let Some(after) = self.after(state, step) else {
                        continue;
                    };
                    let history = Some(Rc::new(StepHistory {
                        step,
                        before: history.clone(),
                    }));
                    if !after.is_whole() {
                        return Err(in_order(history));
                    }
                    if seen.insert(after.key()) {
                        next.push((after, history));
                    }
                }
            }
            pending = next;
        }
        Ok(seen.len())
    }
}

/// The steps to a state, the last one first.
struct StepHistory {
    step: ModelStep,
    before: Option<Rc<StepHistory>>,
}

fn in_order(history: Option<Rc<StepHistory>>) -> Vec<ModelStep> {
    let mut steps = Vec::new();
    let mut last = history;
    while let Some(link) = last {
        steps.push(link.step);
        last = link.before.clone();
    }
    steps.reverse();
    steps
}

impl ModelState {
    /// Whether all that records lead to is there.
    fn is_whole(&self) -> bool {
        let (layers, packs) = (layers_in(&self.objects), packs_in(&self.objects));
        let has_packs = |layer: &LayerId| packs_of(layer).iter().all(|pack| packs.contains(pack));
        let used = used_layers(&self.objects);
        used.iter()
            .all(|layer| layers.contains(layer) && has_packs(layer))
    }

    /// Equal for states that go on alike.
    fn key(&self) -> [u8; 32] {
        let list = |list: &Condemned| format!("{:?} {:?} {}", list.layers, list.packs, list.read);
        let seen = |seen: &Inventory, began: u64| {
            let (layers, packs) = (seen.layers.keys(), seen.packs.keys());
            let condemned = (&seen.condemned.layers, &seen.condemned.packs);
            let saves: Vec<_> = seen.saves.values().flatten().map(|it| it.id).collect();
            format!("{layers:?} {packs:?} {condemned:?} {saves:?} {began}")
        };
        let collector = match &self.collector {
            CollectorState::Idle => String::new(),
            CollectorState::Listed { inventory, began } => {
                format!("listed {}", seen(inventory, *began))
            }
            CollectorState::Planned {
                inventory, began, ..
            } => format!("planned {}", seen(inventory, *began)),
        };
        let saves = |records: &[RefRecord]| -> Vec<_> { records.iter().map(|it| it.id).collect() };
        let saver = match &self.saver {
            SaverState::Idle => String::new(),
            SaverState::Begun {
                condemned,
                existing,
            } => format!("begun {} {:?}", list(condemned), saves(existing)),
            SaverState::Stored {
                condemned,
                existing,
                own,
            } => format!("stored {} {:?} {own}", list(condemned), saves(existing)),
            SaverState::Done => "done".to_owned(),
        };
        let mut hasher = blake3::Hasher::new();
        for (key, body) in &self.objects {
            hasher
                .update(key.as_str().as_bytes())
                .update(b"\0")
                .update(body);
        }
        let rest = (self.now, self.deletes, self.squashes);
        hasher.update(format!("{collector} {saver} {rest:?}").as_bytes());
        *hasher.finalize().as_bytes()
    }
}

fn explore_case(case: ModelCase) -> Result<usize, Vec<ModelStep>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    GcModel { case, runtime }.explore()
}

const CASES: [ModelCase; 3] = [
    ModelCase {
        key: "other",
        squashes: false,
        others_squash: false,
        forgets_parts: false,
    },
    ModelCase {
        key: "other",
        squashes: true,
        others_squash: false,
        forgets_parts: false,
    },
    ModelCase {
        key: "k",
        squashes: false,
        others_squash: true,
        forgets_parts: false,
    },
];

#[test]
fn no_order_of_steps_loses_what_a_record_names() {
    for case in CASES {
        let states = explore_case(case).unwrap_or_else(|steps| panic!("{case:?}: {steps:#?}"));
        // Far fewer would mean that a step can never be taken.
        assert!(states > 3_000, "{case:?}: {states}");
    }
}

/// A model that could not fail would prove nothing.
#[test]
fn a_squash_whose_parts_do_not_count_loses_their_packs() {
    let steps = explore_case(ModelCase {
        forgets_parts: true,
        ..CASES[1]
    });
    let steps = steps.expect_err("the fault was not found");
    assert!(
        steps.contains(&ModelStep::Delete) && steps.contains(&ModelStep::Sweep),
        "{steps:?}"
    );
}
