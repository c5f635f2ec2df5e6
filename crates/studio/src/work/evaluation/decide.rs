//! The verdict, and the promotion and publication that may follow from it.

use std::sync::Arc;

use adire_protocol::{EvaluationStepName, PromotionRequest, PushRequest, StepState, VerdictOutcome};

use super::{At, EvaluationRun, lost};
use crate::{
    StudioError,
    evaluation::{
        evidence, gate,
        people::Votes,
        steps::{self, Inputs},
    },
    production, push_queue,
    queue::Stop,
    registry::{Mover, Registry},
    shared::Shared,
    time::now,
    votes,
    work::Progressed,
};

impl EvaluationRun {
    pub(super) async fn decide(&mut self, shared: &Shared) -> Result<Progressed, Stop> {
        let Some(scored) = self.scored.take() else { return Err(lost()) };
        let mut inputs = Inputs::new();
        inputs.insert("scores".to_owned(), steps::digest(&scored.output));
        inputs.insert("gate".to_owned(), self.policy.hash());
        let against = self.row.id_of_champion().unwrap_or_default();
        let people = votes::between(&shared.store, &self.row.id_of_version(), &against).await?;
        if let Some(Votes(votes)) = &people {
            let counts = format!("{} for, {} against, {} for neither", votes.better, votes.worse, votes.ties);
            inputs.insert("people".to_owned(), counts);
        }
        self.begin_step(shared, EvaluationStepName::Verdict, inputs).await?;
        let evidence = gate::Evidence { people, ..self.evidence(&scored)? };
        let verdict = gate::judge(&evidence, &self.policy);
        let prepared = self.prepared()?;
        let verdict = evidence::verdict(
            verdict,
            &scored,
            &prepared.facts,
            (self.stopped_early.clone(), self.render.failed.clone()),
            self.policy.hash(),
        );
        shared.store.save_verdict(&self.hold.lease, &self.row, &verdict, now()).await?;
        let log = verdict.criteria.iter().map(|criterion| criterion.reason.clone()).collect();
        let output = serde_json::to_string(&verdict).map_err(|error| Stop::Failed(error.to_string()))?;
        self.end_step(shared, StepState::Done, steps::digest(&output), log).await?;
        tracing::info!(
            evaluation = self.row.id,
            version = self.row.id_of_version(),
            outcome = verdict.outcome.word(),
            "verdict"
        );
        let request = self.row.request()?;
        self.at = if request.promote { At::Promote } else { At::Publish };
        let more = verdict.outcome == VerdictOutcome::Pass && (request.promote || request.publish.is_some());
        Ok(if more { Progressed::More } else { Progressed::Done })
    }

    pub(super) async fn promote(&mut self, shared: &Arc<Shared>) -> Result<Progressed, Stop> {
        let id = self.row.id_of_version();
        let inputs: Inputs = [("version".to_owned(), self.row.hash.clone())].into_iter().collect();
        self.begin_step(shared, EvaluationStepName::Promote, inputs).await?;
        let registry = Registry {
            store: shared.store.clone(),
            blobs: shared.blobs.clone(),
            by: Mover::Gate,
            base: Some(shared.model.hash.clone()),
        };
        // A run that is taken up again after the move finds it made.
        let book = shared.store.book(&self.row.name).await?;
        let line = if book.production() == Some(self.row.version()) {
            format!("{id} is in production.")
        } else {
            let reason = format!("Passed evaluation {}.", self.row.id);
            match registry.promote(&id, PromotionRequest { reason, force: false }).await {
                Ok(made) => {
                    let made = production::after(shared.clone(), made).await.made;
                    format!("{id} is in production by move {} of the ledger.", made.number)
                }
                // Production or the gate's settings have changed since this was queued, or the version was set aside.
                Err(StudioError::Conflict(why)) => return self.skip(shared, why).await,
                Err(error) => return Err(error.into()),
            }
        };
        self.end_step(shared, StepState::Done, steps::digest(&line), vec![line.clone()]).await?;
        self.at = At::Publish;
        Ok(if self.row.request()?.publish.is_some() { Progressed::More } else { Progressed::Done })
    }

    pub(super) async fn publish(&mut self, shared: &Arc<Shared>) -> Result<Progressed, Stop> {
        let Some(repository) = self.row.request()?.publish else { return Ok(Progressed::Done) };
        let inputs = [("version", &self.row.hash), ("repository", &repository)];
        let inputs = inputs.into_iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
        self.begin_step(shared, EvaluationStepName::Publish, inputs).await?;
        let request = PushRequest { repository, private: true, license: None, base_model: None };
        let id = self.row.id_of_version();
        match push_queue::submit(shared, &id, request).await {
            Ok(push) => {
                if let Some((step, _)) = &mut self.step {
                    step.push = Some(push.id.clone());
                }
                let line = format!("The push of {id} to {} is queued.", push.request.repository);
                self.end_step(shared, StepState::Done, steps::digest(&push.id), vec![line]).await?;
                Ok(Progressed::Done)
            }
            // It was deleted meanwhile.
            Err(error @ StudioError::NotFound { .. }) => self.skip(shared, error.to_string()).await,
            Err(error) => Err(error.into()),
        }
    }

    /// Ends the step and the evaluation without what was requested.
    async fn skip(&mut self, shared: &Shared, why: String) -> Result<Progressed, Stop> {
        if let Some((step, _)) = &mut self.step {
            step.why.clone_from(&why);
        }
        self.end_step(shared, StepState::Skipped, steps::digest(&why), vec![why]).await?;
        Ok(Progressed::Done)
    }
}
