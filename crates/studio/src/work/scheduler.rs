//! The one task that decides what the device does next: an image, or a unit of anything else. Generations go between the
//! units of everything else, and newcomers between the images of a generation, so nobody waits for more than one unit.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    batch::{advance, advance_together, next_image},
    claim::{self, Claimer},
    kind::{OnDevice, Run, Turn},
    kinds::all_kinds,
    rest::{end, rest},
    restore,
    shadow::ShadowRun,
};
use crate::{StudioError, job::JobKind, queue::Stop, shared::Shared};

/// How long it waits after the store refused.
const AGAIN: Duration = Duration::from_secs(1);

struct Scheduler {
    shared: Arc<Shared>,
    /// In the order in which they go.
    lanes: Vec<Lane>,
    /// Pairs of shadows, unless one is being worked on.
    shadow: Option<ShadowRun>,
    /// Breaks off what is rendered for a pair.
    interrupt: Arc<AtomicBool>,
    /// What the last unit was of.
    last: Option<JobKind>,
}

/// What is under way of one kind.
struct Lane {
    kind: &'static dyn OnDevice,
    claimer: Claimer,
    /// One, and those that give way to newcomers between two units.
    runs: Vec<Box<dyn Run>>,
}

impl Lane {
    /// When the next unit is due.
    fn due(&self) -> Option<i64> {
        self.runs.iter().map(|run| run.due()).min()
    }

    /// Which run is next: one that must stop, else the one that is due first.
    fn next(&self) -> Option<usize> {
        (0..self.runs.len())
            .min_by_key(|at| (self.runs[*at].hold().stopped().is_none(), self.runs[*at].due()))
    }

    fn must_stop(&self) -> bool {
        self.runs.iter().any(|run| run.hold().stopped().is_some())
    }
}

/// Serves the queue until the studio closes.
pub(crate) async fn run(shared: Arc<Shared>) {
    let lane = |kind: &'static dyn OnDevice| Lane {
        claimer: Claimer::new(&shared.work.node, kind.kind(), &shared.model.hash),
        kind,
        runs: Vec::new(),
    };
    let lanes = all_kinds().filter_map(|kind| kind.on_device()).map(lane).collect();
    let shadow = ShadowRun::default();
    let interrupt = shadow.interrupt.clone();
    let mut scheduler = Scheduler { lanes, shadow: Some(shadow), interrupt, last: None, shared };
    while !scheduler.shared.work.is_closing() {
        match scheduler.take_on(None).await {
            Ok(()) => scheduler.unit().await,
            Err(StudioError::ShuttingDown) => break,
            Err(error) => {
                tracing::error!(%error, "no job could be claimed");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
    let Scheduler { shared, lanes, .. } = scheduler;
    for Lane { kind, runs, .. } in lanes {
        for mut run in runs {
            if run.hold().stopped().is_none() {
                run.hold().stop(Stop::Closing);
            }
            let result = advance(run.as_mut(), &shared).await;
            end(&shared, kind, run, result).await;
        }
    }
}

impl Scheduler {
    /// Claims what is due of every kind. `during`: whose unit the device is doing meanwhile.
    async fn take_on(&mut self, during: Option<JobKind>) -> Result<(), StudioError> {
        for at in 0..self.lanes.len() {
            if during != Some(self.lanes[at].kind.kind()) {
                self.take_on_of(at).await?;
            }
        }
        Ok(())
    }

    async fn take_on_of(&mut self, at: usize) -> Result<(), StudioError> {
        let (shared, lane, last) = (self.shared.clone(), &mut self.lanes[at], self.last);
        let kind = lane.kind;
        if !kind.may_wait(&shared.work, lane.due()) {
            return Ok(());
        }
        let only = kind.only_waiting(&shared.work);
        let Some((claimed, hold)) = claim::next(&shared, kind, &mut lane.claimer, only).await? else {
            // What waits in the copy has been claimed or ended elsewhere.
            return if kind.is_copied() { restore::refresh(&shared).await } else { Ok(()) };
        };
        match kind.begin(&shared, claimed, hold.clone()).await {
            Ok(mut run) => {
                if kind.turn(&shared, last) == Turn::NotNow {
                    run.give_way(&shared);
                }
                lane.runs.push(run);
            }
            Err(stop) => rest(&shared, &hold, kind, Err(stop), None).await,
        }
        Ok(())
    }

    /// Whose unit is next.
    fn next(&self) -> Option<usize> {
        let busy = || (0..self.lanes.len()).filter(|at| !self.lanes[*at].runs.is_empty());
        let turn = |at: &usize| self.lanes[*at].kind.turn(&self.shared, self.last);
        // A stop takes no time, and a request waits for it.
        busy()
            .find(|at| self.lanes[*at].must_stop())
            .or_else(|| busy().find(|at| turn(at) == Turn::First))
            .or_else(|| busy().find(|at| turn(at) == Turn::InOrder))
    }

    /// Does the unit that is due next; without one, waits until something has changed.
    async fn unit(&mut self) {
        let next = self.next();
        for at in (0..self.lanes.len()).filter(|at| Some(*at) != next) {
            let lane = &mut self.lanes[at];
            if lane.kind.turn(&self.shared, self.last) == Turn::NotNow {
                lane.runs.iter_mut().for_each(|run| run.give_way(&self.shared));
            }
        }
        let kind = next.map(|at| self.lanes[at].kind.kind());
        match next {
            Some(at) => self.unit_of(at).await,
            // A generation waits to be claimed.
            None if self.shared.work.next_turn().is_some() => return,
            None => {
                if !self.shadow_unit().await {
                    self.shared.work.changed().await;
                }
            }
        }
        self.last = kind;
    }

    async fn unit_of(&mut self, at: usize) {
        let lane = &mut self.lanes[at];
        let Some(next) = lane.next() else { return };
        let (kind, run) = (lane.kind, lane.runs.swap_remove(next));
        let shared = self.shared.clone();
        let runs = self.together(at, run).await;
        shared.work.set_unit(runs.iter().map(|run| run.hold().lease.job.clone()).collect());
        let more = self.beside(Some(kind), advance_together(runs, kind, &shared)).await;
        self.lanes[at].runs.extend(more);
    }

    /// A run with those whose next images share a batch with its own: of those under way first, then of those that wait.
    async fn together(&mut self, at: usize, run: Box<dyn Run>) -> Vec<Box<dyn Run>> {
        let (shared, lane) = (self.shared.clone(), &mut self.lanes[at]);
        let most = shared.worker.batch();
        let spec = next_image(run.as_ref()).filter(|_| most > 1);
        let mut runs = vec![run];
        let Some(spec) = spec else { return runs };
        let shares = |run: &dyn Run| next_image(run).is_some_and(|other| other.shares_batch(&spec));
        lane.runs.sort_by_key(|run| run.due());
        while runs.len() < most
            && let Some(other) = lane.runs.iter().position(|run| shares(run.as_ref()))
        {
            runs.push(lane.runs.remove(other));
        }
        for id in shared.work.waiting_like(&spec, most - runs.len()) {
            if shared.work.is_closing() {
                break;
            }
            let claimed = claim::this(&shared, lane.kind, &lane.claimer, &id).await;
            let (claimed, hold) = match claimed {
                Ok(Some(claimed)) => claimed,
                // Another node has claimed it.
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(%error, "a generation could not join a batch");
                    break;
                }
            };
            match lane.kind.begin(&shared, claimed, hold.clone()).await {
                Ok(run) if shares(run.as_ref()) => runs.push(run),
                Ok(run) => lane.runs.push(run),
                Err(stop) => rest(&shared, &hold, lane.kind, Err(stop), None).await,
            }
        }
        runs
    }

    /// Does a unit of a shadow's pair if nothing else is there to do; whether there was one.
    async fn shadow_unit(&mut self) -> bool {
        let work = &self.shared.work;
        // A run that gives way is about to continue, and a request that is being written is about to wait.
        let idle = !self.has_runs() && !work.is_busy() && !work.is_closing();
        if !idle || !work.look_for_shadow() {
            return false;
        }
        let Some(mut run) = self.shadow.take() else { return false };
        // Before the unit, so that what comes from now on breaks it off.
        self.interrupt.store(false, Ordering::Relaxed);
        let shared = self.shared.clone();
        let worked = self.beside(None, run.unit(&shared)).await;
        self.shadow = Some(run);
        match worked {
            Ok(more) => {
                if more {
                    shared.work.shadow_waits();
                }
                more
            }
            Err(error) => {
                // It is looked for again with the next beat.
                tracing::warn!(%error, "a shadow's pair was put off");
                false
            }
        }
    }

    fn has_runs(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.runs.is_empty())
    }

    /// Does a unit; what comes meanwhile is taken on already. `None`: a shadow's, which gives way to every job.
    async fn beside<T>(&mut self, kind: Option<&'static dyn OnDevice>, unit: impl Future<Output = T>) -> T {
        let mut unit = pin!(unit);
        let shared = self.shared.clone();
        shared.work.set_unit_reason(kind.and_then(|kind| kind.unit_reason()));
        let during = kind.map(|kind| kind.kind());
        let result = loop {
            tokio::select! {
                result = &mut unit => break result,
                () = shared.work.changed() => {
                    let mut ended = None;
                    let claimed = {
                        let mut claim = pin!(self.take_on(during));
                        // The unit continues meanwhile: it may hold what the claim waits for, the database's write lock.
                        loop {
                            tokio::select! {
                                claimed = &mut claim => break claimed,
                                result = &mut unit, if ended.is_none() => ended = Some(result),
                            }
                        }
                    };
                    if let Err(error) = claimed {
                        tracing::warn!(%error, "no job could be claimed");
                    }
                    if kind.is_none() && (self.has_runs() || shared.work.is_closing()) {
                        self.interrupt.store(true, Ordering::Relaxed);
                    }
                    if let Some(result) = ended {
                        break result;
                    }
                }
            }
        };
        shared.work.set_unit_reason(None);
        result
    }
}
