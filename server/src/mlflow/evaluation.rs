//! What MLflow receives about an evaluation.

use std::collections::BTreeMap;

use adire_protocol::{EvaluationRecord, EvaluationState};
use serde_json::{Value, json};

use super::{
    client::Failure,
    mirror::{Mirror, Sent, own},
};

impl Mirror {
    pub(super) fn evaluation(&self, experiment: &str, record: &EvaluationRecord) -> Result<(), Failure> {
        let mut sent = self.sent("evaluation", &record.id)?;
        if sent.artifacts {
            return Ok(());
        }
        let start = record.started_at.unwrap_or(record.created_at);
        let name = format!("{} evaluation", record.version);
        self.run(experiment, ("evaluation", &record.id), (&name, start), &mut sent)?;
        let is_whole = self.whole(|| self.evaluation_parts(record, start, &mut sent))?;
        let status = match record.state {
            EvaluationState::Queued => "SCHEDULED",
            EvaluationState::Running => "RUNNING",
            EvaluationState::Done => "FINISHED",
            EvaluationState::Failed => "FAILED",
            EvaluationState::Cancelled => "KILLED",
        };
        if sent.status != status {
            let name = format!("{} status", record.id);
            if self.part(&name, || self.status(&sent.run, status, record.finished_at))? {
                status.clone_into(&mut sent.status);
            }
        }
        sent.artifacts = record.state.is_final() && is_whole && sent.status == status;
        self.save_sent("evaluation", &record.id, &sent)
    }

    fn evaluation_parts(
        &self,
        record: &EvaluationRecord,
        start: i64,
        sent: &mut Sent,
    ) -> Result<(), Failure> {
        if !sent.params {
            let mut params = vec![
                ("version".to_owned(), record.version.clone()),
                ("suite".to_owned(), record.suite.clone()),
                ("prompts".to_owned(), record.prompts.to_string()),
            ];
            params.extend(record.champion.iter().map(|champion| ("champion".to_owned(), champion.clone())));
            let name = format!("{} params", record.id);
            sent.params = self.part(&name, || self.params(&sent.run, &params))?;
            self.save_sent("evaluation", &record.id, sent)?;
        }
        let detail = self.handle.block_on(self.studio.evaluation(&record.id)).map_err(own)?;
        for image in &detail.images {
            let name = format!("{}/{}/{}", image.role.name(), image.prompt, image.seed);
            if sent.images.contains(&name) {
                continue;
            }
            let key = format!("{} {}", image.role.name(), image.prompt);
            let step = i64::try_from(image.seed % 1_000_000_000).unwrap_or_default();
            let part = format!("{} {name}", record.id);
            if self.part(&part, || self.image(sent, &key, (step, start), &image.hash))? {
                sent.images.push(name);
                self.save_sent("evaluation", &record.id, sent)?;
            }
        }
        if record.state.is_final() {
            self.part(&format!("{} verdict", record.id), || self.verdict(record, sent))?;
        }
        Ok(())
    }

    fn verdict(&self, record: &EvaluationRecord, sent: &Sent) -> Result<(), Failure> {
        let Some(verdict) = &record.verdict else { return Ok(()) };
        let criteria = verdict.criteria.iter();
        let criteria = criteria.filter_map(|criterion| Some((criterion.kind.clone(), criterion.value?)));
        let values: BTreeMap<String, f64> =
            verdict.metrics.iter().map(|(name, value)| (name.clone(), *value)).chain(criteria).collect();
        let time = record.finished_at.unwrap_or(record.created_at);
        let metrics: Vec<Value> = values
            .into_iter()
            .filter(|(_, value)| value.is_finite())
            .map(|(key, value)| json!({ "key": key, "value": value, "timestamp": time, "step": 0 }))
            .collect();
        if !metrics.is_empty() {
            self.client.post("runs/log-batch", &json!({ "run_id": sent.run, "metrics": metrics }))?;
        }
        self.tag(&sent.run, "adire.verdict", verdict.outcome.word())?;
        let text = serde_json::to_vec_pretty(verdict).unwrap_or_default();
        self.client.artifact(&sent.root, "verdict.json", &text)
    }
}
