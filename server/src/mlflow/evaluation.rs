//! What MLflow is told of an evaluation.

use std::collections::BTreeMap;

use adire_protocol::{EvaluationRecord, EvaluationState};
use serde_json::{Value, json};

use super::{
    client::Failure,
    mirror::{Mirror, Told, own},
};

impl Mirror {
    pub(super) fn evaluation(&self, experiment: &str, record: &EvaluationRecord) -> Result<(), Failure> {
        let mut told = self.told("evaluation", &record.id)?;
        if told.artifacts {
            return Ok(());
        }
        let start = record.started_at.unwrap_or(record.created_at);
        let name = format!("{} evaluation", record.version);
        self.run(experiment, ("evaluation", &record.id), (&name, start), &mut told)?;
        let is_whole = self.whole(|| self.evaluation_parts(record, start, &mut told))?;
        let status = match record.state {
            EvaluationState::Queued => "SCHEDULED",
            EvaluationState::Running => "RUNNING",
            EvaluationState::Done => "FINISHED",
            EvaluationState::Failed => "FAILED",
            EvaluationState::Cancelled => "KILLED",
        };
        if told.status != status {
            let name = format!("{} status", record.id);
            if self.part(&name, || self.status(&told.run, status, record.finished_at))? {
                status.clone_into(&mut told.status);
            }
        }
        told.artifacts = record.state.is_final() && is_whole && told.status == status;
        self.tell("evaluation", &record.id, &told)
    }

    fn evaluation_parts(
        &self,
        record: &EvaluationRecord,
        start: i64,
        told: &mut Told,
    ) -> Result<(), Failure> {
        if !told.params {
            let mut params = vec![
                ("version".to_owned(), record.version.clone()),
                ("suite".to_owned(), record.suite.clone()),
                ("prompts".to_owned(), record.prompts.to_string()),
            ];
            params.extend(record.champion.iter().map(|champion| ("champion".to_owned(), champion.clone())));
            let name = format!("{} params", record.id);
            told.params = self.part(&name, || self.params(&told.run, &params))?;
            self.tell("evaluation", &record.id, told)?;
        }
        let detail = self.handle.block_on(self.studio.evaluation(&record.id)).map_err(own)?;
        for image in &detail.images {
            let name = format!("{}/{}/{}", image.role.name(), image.prompt, image.seed);
            if told.images.contains(&name) {
                continue;
            }
            let key = format!("{} {}", image.role.name(), image.prompt);
            let step = i64::try_from(image.seed % 1_000_000_000).unwrap_or_default();
            let part = format!("{} {name}", record.id);
            if self.part(&part, || self.image(told, &key, (step, start), &image.hash))? {
                told.images.push(name);
                self.tell("evaluation", &record.id, told)?;
            }
        }
        if record.state.is_final() {
            self.part(&format!("{} verdict", record.id), || self.verdict(record, told))?;
        }
        Ok(())
    }

    fn verdict(&self, record: &EvaluationRecord, told: &Told) -> Result<(), Failure> {
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
            self.client.post("runs/log-batch", &json!({ "run_id": told.run, "metrics": metrics }))?;
        }
        self.tag(&told.run, "adire.verdict", verdict.outcome.word())?;
        let text = serde_json::to_vec_pretty(verdict).unwrap_or_default();
        self.client.artifact(&told.root, "verdict.json", &text)
    }
}
