//! Preparing: what is evaluated, the dataset behind it, and which images that takes.

use adire_protocol::{EvaluationStepName, StepState};

use super::{At, EvaluationRun, subject::Subject};
use crate::{
    AdapterFile, JudgeInfo,
    evaluation::{
        evidence::Facts,
        plan::{Plan, Subjects},
        steps::Inputs,
    },
    queue::Stop,
    shared::Shared,
    work::Progressed,
};

/// What `prepare` has found out.
pub(super) struct Prepared {
    pub(super) plan: Plan,
    pub(super) judge: JudgeInfo,
    pub(super) challenger: AdapterFile,
    pub(super) champion: Option<AdapterFile>,
    pub(super) facts: Facts,
    /// sha256 of the plan.
    pub(super) plan_hash: String,
    pub(super) dataset_hash: String,
}

impl EvaluationRun {
    pub(super) async fn prepare(&mut self, shared: &Shared) -> Result<Progressed, Stop> {
        let judge = shared.worker.judge().await??;
        let subject = Subject::read(shared, &self.row).await?;
        let plan = Plan::new(&Subjects {
            suite: &self.suite,
            trigger: &subject.trigger,
            champion: subject.champion.as_ref().map(|(_, trigger)| trigger.as_str()),
            captions: &subject.captions,
        });
        let mut warnings: Vec<String> = self.suite.warning().into_iter().collect();
        warnings.extend(subject.warnings.iter().cloned());
        let model = &shared.model;
        let mut inputs: Inputs = [
            ("version", self.row.hash.clone()),
            ("champion", self.row.champion_hash.clone().unwrap_or_default()),
            ("base_model", model.hash.clone()),
            ("suite", self.suite.hash()),
            ("dataset", subject.dataset_hash.clone()),
            ("device", model.device.clone()),
            ("precision", model.dtype.clone()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        inputs.insert("held_out_images".to_owned(), subject.held_out.join(" ").to_string());
        self.begin_step(shared, EvaluationStepName::Prepare, inputs).await?;
        let plan_hash = plan.digest();
        let images = u32::try_from(plan.slots.len()).unwrap_or(u32::MAX);
        shared.store.plan_evaluation(&self.hold.lease, &judge.name, images, &warnings).await?;
        let log = vec![
            format!("{images} images, judge {}.", judge.name),
            format!(
                "{} training and {} held-out images of the dataset.",
                subject.training.len(),
                subject.held_out.len()
            ),
        ];
        self.end_step(shared, StepState::Done, plan_hash.clone(), log).await?;
        let Subject {
            challenger,
            champion,
            dataset,
            training,
            held_out,
            applied_layers,
            dataset_hash,
            lacks,
            ..
        } = subject;
        let facts = Facts { applied_layers, dataset, training, held_out, lacks };
        let champion = champion.map(|(file, _)| file);
        self.images = Vec::with_capacity(plan.slots.len());
        self.prepared = Some(Prepared { plan, judge, challenger, champion, facts, plan_hash, dataset_hash });
        self.at = At::Render;
        Ok(Progressed::More)
    }
}
