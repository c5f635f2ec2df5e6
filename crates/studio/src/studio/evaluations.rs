//! The studio's evaluation API.

use adire_protocol::{
    EvaluationDetail, EvaluationRecord, EvaluationRequest, EvaluationStepName, GatePolicy, MetricInfo,
};

use crate::{JobEventStream, Studio, StudioError, evaluations, events, job::JobKind, tasks::detached};

impl Studio {
    /// Validates and queues an evaluation.
    ///
    /// # Errors
    /// No such version, a version of another adapter to compare with, a suite that cannot be read.
    pub async fn evaluate(&self, request: EvaluationRequest) -> Result<EvaluationRecord, StudioError> {
        detached(evaluations::submit(self.shared().clone(), request)).await
    }

    /// Queues an evaluation again, with the same version, suite and comparison, so that `step` runs once more.
    ///
    /// # Errors
    /// No such evaluation or step; a version that was deleted meanwhile.
    pub async fn rerun_evaluation(
        &self,
        id: &str,
        step: EvaluationStepName,
    ) -> Result<EvaluationRecord, StudioError> {
        detached(evaluations::rerun(self.shared().clone(), id.to_owned(), step)).await
    }

    /// Every evaluation, newest first; those of one adapter, if a name is given.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn evaluations(&self, name: Option<&str>) -> Result<Vec<EvaluationRecord>, StudioError> {
        evaluations::records(self.shared(), name).await
    }

    /// An evaluation with its images.
    ///
    /// # Errors
    /// No such evaluation.
    pub async fn evaluation(&self, id: &str) -> Result<EvaluationDetail, StudioError> {
        evaluations::detail(self.shared(), id).await
    }

    /// Cancels an evaluation within one step.
    ///
    /// # Errors
    /// No such evaluation, or one that has ended.
    pub async fn cancel_evaluation(&self, id: &str) -> Result<EvaluationRecord, StudioError> {
        detached(evaluations::cancel(self.shared().clone(), id.to_owned())).await
    }

    /// How an evaluation stands, then how it stands whenever something has changed; ends with it, or when the studio closes.
    /// `None`: it has ended, and `after` is its last event.
    ///
    /// # Errors
    /// No such evaluation.
    pub async fn evaluation_events(
        &self,
        id: &str,
        after: u64,
    ) -> Result<Option<JobEventStream>, StudioError> {
        events::follow(self.shared().clone(), id, Some(JobKind::Evaluation), after).await
    }

    /// What evaluations measure.
    pub fn metrics(&self) -> &[MetricInfo] {
        &self.shared().metrics
    }

    /// The gate's settings for the loaded model, every value written out.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn gate_policy(&self) -> Result<GatePolicy, StudioError> {
        Ok(GatePolicy { toml: evaluations::policy(self.shared()).await?.to_toml() })
    }

    /// Replaces the gate's settings for the loaded model.
    ///
    /// # Errors
    /// Not TOML, an unknown key, a number out of range.
    pub async fn set_gate_policy(&self, policy: GatePolicy) -> Result<GatePolicy, StudioError> {
        evaluations::set_policy(self.shared(), policy).await?;
        self.gate_policy().await
    }
}
