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

use adire_protocol::GenerationEvent;

use super::{
    Progressed,
    claim::Claimer,
    evaluation::EvaluationRun,
    generation::{GenerationRun, Made, last_event, without_folders},
    restore,
    shadow::ShadowRun,
    training::TrainingRun,
};
use crate::{
    StudioError,
    job::{Asked, EndedBy, JobKind, JobState, Outcome},
    queue::{Hold, Stop},
    shared::Shared,
    store::Release,
};

/// How long it waits after the store refused.
const AGAIN: Duration = Duration::from_secs(1);
/// Time between two tries to write how a job ended, and how many there are before it is left to another claim.
const RETRY: Duration = Duration::from_millis(250);
const TRIES: u32 = 4;

struct Scheduler {
    shared: Arc<Shared>,
    generations: Claimer,
    trainings: Claimer,
    evaluations: Claimer,
    /// Generations under way: one, and those that give way to newcomers.
    runs: Vec<GenerationRun>,
    /// The training under way.
    training: Option<TrainingRun>,
    /// The evaluation under way.
    evaluation: Option<EvaluationRun>,
    /// Pairs of shadows, unless one is being worked on.
    shadow: Option<ShadowRun>,
    /// Breaks off what is rendered for a pair.
    interrupt: Arc<AtomicBool>,
    /// What the last unit was of.
    last: Option<JobKind>,
}

/// Serves the queue until the studio closes.
pub(crate) async fn run(shared: Arc<Shared>) {
    let claimer = |kind| Claimer::new(&shared.work.node, kind, &shared.model.hash);
    let (generations, trainings) = (claimer(JobKind::Generation), claimer(JobKind::Training));
    let evaluations = claimer(JobKind::Evaluation);
    let shadow = ShadowRun::default();
    let mut scheduler = Scheduler {
        interrupt: shadow.interrupt.clone(),
        shadow: Some(shadow),
        shared,
        generations,
        trainings,
        evaluations,
        runs: Vec::new(),
        training: None,
        evaluation: None,
        last: None,
    };
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
    let Scheduler { shared, runs, training, evaluation, .. } = scheduler;
    for run in runs {
        stopped(&shared, &run.hold, Stop::Closing).await;
    }
    if let Some(evaluation) = evaluation {
        end_other(&shared, &evaluation.hold, Stop::Closing).await;
    }
    if let Some(mut training) = training {
        // It has been signalled to stop, so this writes a checkpoint.
        let stop = training.unit(&shared).await.err().unwrap_or(Stop::Closing);
        rest(&shared, training, Err(stop)).await;
    }
}

impl Scheduler {
    /// Claims what is due: a training where none is under way, and the next generation unless one is under way that is due
    /// before it. `during`: whose unit the device is doing meanwhile.
    async fn take_on(&mut self, during: Option<JobKind>) -> Result<(), StudioError> {
        if self.training.is_none() && during != Some(JobKind::Training) {
            self.take_on_training().await?;
        }
        if self.evaluation.is_none() && during != Some(JobKind::Evaluation) {
            self.take_on_evaluation().await?;
        }
        let due = self.runs.iter().map(GenerationRun::due).min();
        let next = self.shared.work.next_turn();
        if during == Some(JobKind::Generation) || next.is_none_or(|turn| due.is_some_and(|due| due <= turn)) {
            return Ok(());
        }
        let Some(claimed) = self.generations.claim(&self.shared.store).await? else {
            // What waits here has been claimed or ended elsewhere.
            return restore::refresh(&self.shared).await;
        };
        match GenerationRun::begin(&self.shared, claimed).await {
            Ok(run) => self.runs.push(run),
            Err((hold, stop)) => stopped(&self.shared, &hold, stop).await,
        }
        Ok(())
    }

    async fn take_on_training(&mut self) -> Result<(), StudioError> {
        if !self.shared.work.look_for_training() {
            return Ok(());
        }
        let Some(claimed) = self.trainings.claim(&self.shared.store).await? else { return Ok(()) };
        match TrainingRun::begin(&self.shared, claimed).await {
            Ok(mut run) => {
                if self.gives_way() {
                    run.give_way(&self.shared);
                }
                self.training = Some(run);
            }
            Err((hold, stop)) => {
                end_training(&self.shared, &hold, stop).await;
                self.shared.work.training_waits();
            }
        }
        Ok(())
    }

    async fn take_on_evaluation(&mut self) -> Result<(), StudioError> {
        if !self.shared.work.look_for_evaluation() {
            return Ok(());
        }
        let Some(claimed) = self.evaluations.claim(&self.shared.store).await? else { return Ok(()) };
        match EvaluationRun::begin(&self.shared, claimed).await {
            Ok(run) => self.evaluation = Some(run),
            Err((hold, stop)) => {
                end_other(&self.shared, &hold, stop).await;
                self.shared.work.evaluation_waits();
            }
        }
        Ok(())
    }

    /// Whether training waits for generations.
    fn gives_way(&self) -> bool {
        self.shared.training.settings().yield_to_generations && self.shared.work.is_busy()
    }

    /// Whose unit is next.
    fn next(&self) -> Option<JobKind> {
        let Some(training) = &self.training else {
            return self.next_without_training();
        };
        let takes_turns = !self.shared.training.settings().yield_to_generations;
        if training.hold.stopped().is_some() || (takes_turns && self.last == Some(JobKind::Generation)) {
            return Some(JobKind::Training);
        }
        if !self.runs.is_empty() {
            return Some(JobKind::Generation);
        }
        // An evaluation lasts minutes, a training run hours: the shorter one goes first.
        if let Some(kind) = self.next_without_training() {
            return Some(kind);
        }
        // One is about to be written: its image goes first.
        (!self.gives_way()).then_some(JobKind::Training)
    }

    fn next_without_training(&self) -> Option<JobKind> {
        if !self.runs.is_empty() {
            return Some(JobKind::Generation);
        }
        // A generation that is about to be written goes first here, too.
        (self.evaluation.is_some() && self.shared.work.next_turn().is_none()).then_some(JobKind::Evaluation)
    }

    /// Does the unit that is due next; without one, waits until something has changed.
    async fn unit(&mut self) {
        let next = self.next();
        if next != Some(JobKind::Training)
            && self.gives_way()
            && let Some(training) = &mut self.training
        {
            training.give_way(&self.shared);
        }
        match next {
            Some(JobKind::Generation) => self.image().await,
            Some(JobKind::Training) => self.training_unit().await,
            Some(JobKind::Evaluation) => self.evaluation_unit().await,
            // Not the device's.
            Some(JobKind::Push) => {}
            None if self.shared.work.next_turn().is_some() => return,
            None => {
                if !self.shadow_unit().await {
                    self.shared.work.changed().await;
                }
            }
        }
        self.last = next;
    }

    async fn image(&mut self) {
        let Some(at) = (0..self.runs.len()).min_by_key(|at| self.runs[*at].due()) else { return };
        let mut run = self.runs.swap_remove(at);
        let shared = self.shared.clone();
        let result = self.beside(Some(JobKind::Generation), run.unit(&shared)).await;
        match result {
            Ok(Made::Some) => return self.runs.push(run),
            Ok(Made::All) => {
                done(&shared, &run.hold, None).await;
                shared.work.shadow_waits();
            }
            Ok(Made::Ended(number)) => {
                let id = run.hold.lease.job.as_str();
                tracing::info!(job = id, "ended");
                shared.work.let_go(id, Some(number), Some(GenerationEvent::Done));
                shared.work.shadow_waits();
            }
            Err(stop) => stopped(&shared, &run.hold, stop).await,
        }
        // After the last event: nobody waits for it.
        shared.remember_cost().await;
    }

    async fn training_unit(&mut self) {
        let Some(mut run) = self.training.take() else { return };
        let shared = self.shared.clone();
        match self.beside(Some(JobKind::Training), run.unit(&shared)).await {
            Ok(Progressed::More) => self.training = Some(run),
            other => {
                rest(&shared, run, other.map(|_| ())).await;
                shared.work.training_waits();
            }
        }
    }

    async fn evaluation_unit(&mut self) {
        let Some(mut run) = self.evaluation.take() else { return };
        let shared = self.shared.clone();
        match self.beside(Some(JobKind::Evaluation), run.unit(&shared)).await {
            Ok(Progressed::More) => return self.evaluation = Some(run),
            Ok(Progressed::Done) => {
                end(&shared, &run.hold, Outcome::Done { version: None }, None).await;
            }
            Err(stop) => end_other(&shared, &run.hold, stop).await,
        }
        shared.work.evaluation_waits();
    }

    /// Does a unit of a shadow's pair if nothing else is there to do; whether there was one.
    async fn shadow_unit(&mut self) -> bool {
        let work = &self.shared.work;
        // A training run that gives way is about to go on, and a request that is being written is about to wait.
        let idle = self.training.is_none() && !work.is_busy() && !work.is_closing();
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

    /// Does a unit; what comes meanwhile is taken on already. `None`: a shadow's, which gives way to a generation.
    async fn beside<T>(&mut self, kind: Option<JobKind>, unit: impl Future<Output = T>) -> T {
        let mut unit = pin!(unit);
        let shared = self.shared.clone();
        shared.work.set_device(kind);
        let result = loop {
            tokio::select! {
                result = &mut unit => break result,
                () = shared.work.changed() => {
                    let mut ended = None;
                    let claimed = {
                        let mut claim = pin!(self.take_on(kind));
                        // The unit goes on meanwhile: it may hold what the claim waits for, the database's write lock.
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
                    if kind.is_none() && (!self.runs.is_empty() || shared.work.is_closing()) {
                        self.interrupt.store(true, Ordering::Relaxed);
                    }
                    if let Some(result) = ended {
                        break result;
                    }
                }
            }
        };
        shared.work.set_device(None);
        result
    }
}

/// Writes that a job has reached its end, and publishes it.
async fn done(shared: &Shared, hold: &Hold, version: Option<&str>) -> bool {
    let event = version.is_none().then_some(GenerationEvent::Done);
    end(shared, hold, Outcome::Done { version }, event).await
}

/// Writes why a generation stops, and publishes it.
async fn stopped(shared: &Shared, hold: &Hold, stop: Stop) {
    let id = hold.lease.job.as_str();
    match stop {
        Stop::Failed(message) => {
            // The whole of it is for the log.
            tracing::error!(generation = id, message, "failed");
            let message = without_folders(&message);
            let event = last_event(&Stop::Failed(message.clone()));
            end(shared, hold, Outcome::Failed(&message), event).await;
        }
        Stop::LeaseLost => shared.work.let_go(id, None, None),
        Stop::Closing | Stop::Asked(_) => {
            give_back(shared, hold, &stop).await;
        }
    }
}

/// Writes how a training run ends or why it stops, and clears it away.
async fn rest(shared: &Shared, run: TrainingRun, result: Result<(), Stop>) {
    shared.worker.end_training();
    match (result, &run.version) {
        (Ok(()), version) => {
            tracing::info!(training = run.hold.lease.job, version, "done");
            if done(shared, &run.hold, version.as_deref()).await {
                shared.training.forget_checkpoint(&run.hold.lease.job).await;
            }
        }
        (Err(stop), _) => end_training(shared, &run.hold, stop).await,
    }
    *shared.training.active() = None;
    shared.work.notify_all();
}

async fn end_training(shared: &Shared, hold: &Hold, stop: Stop) {
    let id = hold.lease.job.as_str();
    match stop {
        Stop::Failed(message) => {
            tracing::warn!(training = id, message, "failed");
            end(shared, hold, Outcome::Failed(&message), None).await;
        }
        Stop::LeaseLost => shared.work.let_go(id, None, None),
        Stop::Closing | Stop::Asked(_) => {
            if give_back(shared, hold, &stop).await == Some(JobState::Cancelled) {
                shared.training.forget_checkpoint(id).await;
            }
        }
    }
}

/// Writes why a job stops that leaves nothing behind.
async fn end_other(shared: &Shared, hold: &Hold, stop: Stop) {
    let id = hold.lease.job.as_str();
    match stop {
        Stop::Failed(message) => {
            tracing::warn!(job = id, message, "failed");
            end(shared, hold, Outcome::Failed(&message), None).await;
        }
        Stop::LeaseLost => shared.work.let_go(id, None, None),
        Stop::Closing | Stop::Asked(_) => {
            give_back(shared, hold, &stop).await;
        }
    }
}

/// Writes how a job ends and publishes it; whether it could be written. `event`: the last event of its stream.
async fn end(shared: &Shared, hold: &Hold, outcome: Outcome<'_>, event: Option<GenerationEvent>) -> bool {
    let id = hold.lease.job.as_str();
    for attempt in 1..=TRIES {
        let by = EndedBy::Holder(&hold.lease, shared.work.next_event(id));
        match shared.store.end(by, outcome).await {
            Ok(number) => {
                // None: somebody else has it, and says how it ends.
                tracing::info!(job = id, state = outcome.state().name(), written = number.is_some(), "ended");
                shared.work.let_go(id, number, event.filter(|_| number.is_some()));
                return number.is_some();
            }
            Err(error) => {
                tracing::error!(job = id, %error, attempt, "its end could not be stored");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
    // The row still says `running`: once its lease has ended, it is claimed again.
    shared.work.let_go(id, None, event);
    false
}

/// Lets a job wait again, or end as requested; which of these.
async fn give_back(shared: &Shared, hold: &Hold, stop: &Stop) -> Option<JobState> {
    let id = hold.lease.job.as_str();
    match shared.store.release(Release::Held(&hold.lease)).await {
        Ok(released) => {
            let released = released.first();
            let event = released.filter(|released| released.state != JobState::Queued);
            shared.work.let_go(id, event.map(|released| released.event), None);
            released.map(|released| released.state)
        }
        Err(error) => {
            // It stays `running`: its lease ends, or this node starts again.
            tracing::warn!(job = id, %error, "could not be given back");
            let passing = if *stop == Stop::Asked(Asked::Cancel) { last_event(stop) } else { None };
            shared.work.let_go(id, None, passing);
            None
        }
    }
}
