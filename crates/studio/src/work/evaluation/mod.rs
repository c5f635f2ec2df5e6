//! Evaluations: a job whose units are images to render and images to score. What a step has made is stored before the next
//! one begins; images are kept by their recipe, so a run that is taken up again, or another evaluation, renders none twice.
//!
//! One file for each step: `prepare` (with `subject`), `render`, `score`, `decide` (verdict and promotion).

mod decide;
mod prepare;
mod render;
mod score;
mod subject;

use std::{sync::Arc, time::Instant};

use adire_protocol::{EvaluationImage, EvaluationStep, EvaluationStepName, StepState};

use self::{prepare::Prepared, render::Counts};
use super::Progressed;
use crate::{
    StudioError,
    evaluation::{
        evidence::{Found, Scored},
        policy::Policy,
        steps::{self, Inputs},
        suite::Suite,
    },
    job::{Claimed, MAX_ATTEMPTS},
    queue::{Hold, Stop},
    shared::Shared,
    store::EvaluationRow,
};

/// An evaluation that this node runs.
pub(crate) struct EvaluationRun {
    pub(crate) hold: Arc<Hold>,
    row: EvaluationRow,
    policy: Policy,
    suite: Suite,
    prepared: Option<Prepared>,
    at: At,
    /// Slots that are done, from the first on.
    next: usize,
    /// Blocks that are scored.
    block: usize,
    /// Of each slot its image; `None`: it could not be rendered.
    images: Vec<Option<EvaluationImage>>,
    found: Found,
    scored: Option<Scored>,
    stopped_early: Option<String>,
    render: Counts,
    step: Option<(EvaluationStep, Instant)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Prepare,
    Render,
    Score,
    Verdict,
    Promote,
}

impl EvaluationRun {
    /// Takes on an evaluation that has been claimed.
    pub(super) async fn begin(shared: &Shared, claimed: Claimed) -> Result<Self, (Arc<Hold>, Stop)> {
        let hold = shared.work.hold(&claimed);
        match Self::read(shared, hold.clone()).await {
            Ok(_) if claimed.attempts > MAX_ATTEMPTS => Err((
                hold,
                Stop::Failed(format!(
                    "The server crashed {MAX_ATTEMPTS} times during this evaluation, so it is not restarted \
                     automatically. It may need more memory than is available."
                )),
            )),
            Ok(run) => {
                tracing::info!(evaluation = run.row.id, version = run.row.id_of_version(), "started");
                Ok(run)
            }
            Err(error) => Err((hold, error.into())),
        }
    }

    async fn read(shared: &Shared, hold: Arc<Hold>) -> Result<Self, StudioError> {
        let id = hold.lease.job.clone();
        let missing = || StudioError::NotFound { what: "evaluation", id: id.chars().take(80).collect() };
        let row = shared.store.evaluation(&id).await?.ok_or_else(missing)?;
        if row.base != shared.model.hash {
            return Err(StudioError::Conflict(
                "The evaluation was requested for another base model than the loaded one. Evaluate the version again."
                    .to_owned(),
            ));
        }
        let policy = Policy::parse(&row.policy).map_err(|error| StudioError::Storage(error.to_string()))?;
        let suite = row.suite()?;
        Ok(Self {
            hold,
            row,
            policy,
            suite,
            prepared: None,
            at: At::Prepare,
            next: 0,
            block: 0,
            images: Vec::new(),
            found: Found::default(),
            scored: None,
            stopped_early: None,
            render: Counts::default(),
            step: None,
        })
    }

    /// Does its next unit.
    pub(super) async fn unit(&mut self, shared: &Arc<Shared>) -> Result<Progressed, Stop> {
        if let Some(stop) = self.hold.stopped() {
            return Err(stop);
        }
        let progressed = match self.at {
            At::Prepare => self.prepare(shared).await?,
            At::Render => self.render(shared).await?,
            At::Score => self.score(shared).await?,
            At::Verdict => self.decide(shared).await?,
            At::Promote => self.promote(shared).await?,
        };
        shared.work.notify(&self.row.id);
        Ok(progressed)
    }
    async fn before(
        &self,
        shared: &Shared,
        name: EvaluationStepName,
    ) -> Result<Option<EvaluationStep>, StudioError> {
        let own = shared.store.steps(&self.row.id).await?;
        Ok(own.into_iter().find(|step| step.name == name))
    }

    async fn begin_step(
        &mut self,
        shared: &Shared,
        name: EvaluationStepName,
        inputs: Inputs,
    ) -> Result<(), Stop> {
        let before = shared.store.step_before(&self.row.id, &self.row.name, name).await?;
        let mut step = steps::begun(name, inputs, before.as_ref());
        if self.row.request()?.rerun == Some(name) {
            "It was requested to run again.".clone_into(&mut step.why);
        }
        if let Some(key) = &step.key {
            step.reused_from = shared.store.earlier_step(&self.row.id, name, key).await?;
        }
        shared.store.save_step(&self.hold.lease, &step, false).await?;
        self.step = Some((step, Instant::now()));
        Ok(())
    }

    async fn end_step(
        &mut self,
        shared: &Shared,
        state: StepState,
        outputs: String,
        log: Vec<String>,
    ) -> Result<(), Stop> {
        let Some((mut step, since)) = self.step.take() else { return Ok(()) };
        step.state = state;
        if state != StepState::Reused {
            step.reused_from = None;
        }
        step.outputs = Some(outputs);
        step.seconds = Some(since.elapsed().as_secs_f64());
        step.log = log;
        Ok(shared.store.save_step(&self.hold.lease, &step, true).await?)
    }

    fn prepared(&self) -> Result<&Prepared, Stop> {
        self.prepared.as_ref().ok_or_else(lost)
    }
}

fn lost() -> Stop {
    Stop::Failed("The evaluation's steps ran out of order; please report it.".to_owned())
}
