//! Evaluations: a job whose units are images to render and images to score. What a step has made is stored before the next
//! one begins; images are kept by their recipe, so a run that is taken up again, or another evaluation, renders none twice.
//!
//! One file for each step: `prepare` (with `subject`), `render`, `score`, `decide` (verdict, promotion and publication).

mod decide;
mod prepare;
mod render;
mod score;
mod subject;

use std::{sync::Arc, time::Instant};

use adire_protocol::{
    EvaluationImage, EvaluationRequest, EvaluationStep, EvaluationStepName, QueuedKind, StepState, WaitReason,
};
use futures::future::BoxFuture;

use self::{prepare::Prepared, render::Counts};
use super::kind::{Entry, Kind, OnDevice, Progressed, Run, Turn, Wait, behind};
use crate::{
    StudioError,
    evaluation::{
        evidence::{Found, Scored},
        policy::Policy,
        steps::{self, Inputs},
        suite::Suite,
    },
    job::{Claimed, JobKind},
    queue::{Hold, Stop},
    shared::Shared,
    store::{About, EvaluationRow, OpenJob},
};

/// Evaluations: one at a time, between generations.
pub(super) struct Evaluations;

impl Kind for Evaluations {
    fn kind(&self) -> JobKind {
        JobKind::Evaluation
    }

    fn about(&self) -> About {
        About::EVALUATION
    }

    fn entry(&self, job: &OpenJob) -> Result<Entry, StudioError> {
        let request: EvaluationRequest = job.read("evaluation")?;
        Ok(Entry {
            kind: QueuedKind::Evaluation,
            title: request.version,
            detail: "evaluation".to_owned(),
            page: format!("/admin/evaluations/{}", job.id),
        })
    }

    fn wait<'a>(
        &'a self,
        shared: &'a Shared,
        _job: &'a OpenJob,
        before: &'a [OpenJob],
    ) -> BoxFuture<'a, Result<Wait, StudioError>> {
        Box::pin(async move {
            let why = behind(before) + "; runs while no generation waits";
            Ok(Wait { why, ms: wait_ms(shared, before).await? })
        })
    }

    fn advice(&self) -> &'static str {
        "It may need more memory than is available."
    }

    fn on_device(&'static self) -> Option<&'static dyn OnDevice> {
        Some(self)
    }
}

impl OnDevice for Evaluations {
    fn begin<'a>(
        &'a self,
        shared: &'a Arc<Shared>,
        _claimed: Claimed,
        hold: Arc<Hold>,
    ) -> BoxFuture<'a, Result<Box<dyn Run>, Stop>> {
        Box::pin(async move {
            let run: Box<dyn Run> = Box::new(EvaluationRun::begin(shared, hold).await?);
            Ok(run)
        })
    }

    fn unit_reason(&self) -> Option<WaitReason> {
        Some(WaitReason::EvaluationStep)
    }

    fn turn(&self, shared: &Shared, _last: Option<JobKind>) -> Turn {
        // A generation that is about to be claimed goes first, too.
        if shared.work.next_turn().is_some() { Turn::NotNow } else { Turn::InOrder }
    }
}

/// Expected milliseconds of the generations that wait and of the evaluations in `before`; `None` where that is not known.
async fn wait_ms(shared: &Shared, before: &[OpenJob]) -> Result<Option<u64>, StudioError> {
    let mut ms = 0.0;
    for job in before {
        let running = if job.is_running() { shared.store.evaluation(&job.id).await? } else { None };
        let left = match running {
            Some(row) if row.images > 0 => 1.0 - (row.images_done as f64 / row.images as f64).min(1.0),
            _ => 1.0,
        };
        ms += left * job.cost as f64;
    }
    let generations = if shared.work.is_busy() { shared.work.status().wait_ms } else { Some(0) };
    Ok(generations.map(|first| first + ms.round() as u64))
}

/// An evaluation that this node runs.
struct EvaluationRun {
    hold: Arc<Hold>,
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
    Publish,
}

impl EvaluationRun {
    async fn begin(shared: &Shared, hold: Arc<Hold>) -> Result<Self, StudioError> {
        let id = hold.lease.job.clone();
        let missing = || StudioError::not_found("evaluation", &id);
        let row = shared.store.evaluation(&id).await?.ok_or_else(missing)?;
        if row.base != shared.model.hash {
            return Err(StudioError::Conflict(
                "The evaluation was requested for another base model than the loaded one. Evaluate the version again."
                    .to_owned(),
            ));
        }
        let policy = Policy::parse(&row.policy).map_err(|error| StudioError::Storage(error.to_string()))?;
        let suite = row.suite()?;
        tracing::info!(evaluation = row.id, version = row.id_of_version(), "started");
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

    async fn advance(&mut self, shared: &Arc<Shared>) -> Result<Progressed, Stop> {
        let progressed = match self.at {
            At::Prepare => self.prepare(shared).await?,
            At::Render => self.render(shared).await?,
            At::Score => self.score(shared).await?,
            At::Verdict => self.decide(shared).await?,
            At::Promote => self.promote(shared).await?,
            At::Publish => self.publish(shared).await?,
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
        step.device = Some(format!("{} {}", shared.model.device, shared.model.dtype));
        if name == EvaluationStepName::Render {
            step.seeds = self.prepared()?.plan.seeds();
        }
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
        match &step.reused_from {
            // The outputs may come from another evaluation than the one before, which `why` compares with.
            Some(_) if state == StepState::Reused && step.why != steps::EQUAL => {
                steps::REUSED.clone_into(&mut step.why);
            }
            Some(_) if state == StepState::Reused => {}
            _ if state == StepState::Reused => step.why.push_str(steps::FOUND),
            _ => step.reused_from = None,
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

impl Run for EvaluationRun {
    fn hold(&self) -> &Arc<Hold> {
        &self.hold
    }

    fn unit<'a>(&'a mut self, shared: &'a Arc<Shared>) -> BoxFuture<'a, Result<Progressed, Stop>> {
        Box::pin(self.advance(shared))
    }
}

fn lost() -> Stop {
    Stop::Failed("The evaluation's steps ran out of order; please report it.".to_owned())
}
