//! The verdict, and the promotion that may follow from it.

use std::sync::Arc;

use adire_protocol::{EvaluationStepName, PromotionRequest, StepState, VerdictOutcome};

use super::{At, EvaluationRun, lost};
use crate::{
    comparisons,
    evaluation::{
        evidence, gate,
        people::Votes,
        steps::{self, Inputs},
    },
    production,
    queue::Stop,
    registry::{Mover, Registry},
    shared::Shared,
    time::now,
    work::Progressed,
};

impl EvaluationRun {
    pub(super) async fn decide(&mut self, shared: &Shared) -> Result<Progressed, Stop> {
        let Some(scored) = self.scored.take() else { return Err(lost()) };
        let mut inputs = Inputs::new();
        inputs.insert("scores".to_owned(), steps::digest(&scored.output));
        inputs.insert("gate".to_owned(), self.policy.hash());
        let against = self.row.id_of_champion().unwrap_or_default();
        let people = comparisons::between(&shared.store, &self.row.id_of_version(), &against).await?;
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
            self.stopped_early.clone(),
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
        let promote = self.row.request()?.promote && verdict.outcome == VerdictOutcome::Pass;
        self.at = At::Promote;
        Ok(if promote { Progressed::More } else { Progressed::Done })
    }

    pub(super) async fn promote(&mut self, shared: &Arc<Shared>) -> Result<Progressed, Stop> {
        let id = self.row.id_of_version();
        let inputs: Inputs = [("version".to_owned(), self.row.hash.clone())].into_iter().collect();
        self.begin_step(shared, EvaluationStepName::Promote, inputs).await?;
        let registry = Registry { store: shared.store.clone(), blobs: shared.blobs.clone(), by: Mover::Gate };
        // A run that is taken up again after the move finds it made.
        let book = shared.store.book(&self.row.name).await?;
        let line = if book.production() == Some(self.row.version()) {
            format!("{id} is in production.")
        } else {
            let reason = format!("Passed evaluation {}.", self.row.id);
            let made = registry.promote(&id, PromotionRequest { reason, force: false }).await?;
            let made = production::after(shared.clone(), made).await.made;
            format!("{id} is in production by move {} of the ledger.", made.number)
        };
        self.end_step(shared, StepState::Done, steps::digest(&line), vec![line.clone()]).await?;
        Ok(Progressed::Done)
    }
}
