//! What MLflow receives about a training run.

use std::collections::HashMap;

use adire_protocol::{TrainingPoint, TrainingRun, TrainingSample, TrainingState};
use serde_json::{Map, Value, json};

use super::{
    client::Failure,
    mirror::{Mirror, Sent, VALUE, own},
};

/// Points of one batch; each is at most five metrics, and MLflow takes a thousand.
const POINTS: usize = 180;

impl Mirror {
    pub(super) fn training(&self, experiment: &str, run: &TrainingRun) -> Result<(), Failure> {
        let mut sent = self.sent("training", &run.id)?;
        let status = status(run.state);
        if sent.status == status && sent.artifacts && run.state.is_resting() {
            return Ok(());
        }
        let start = run.started_at.unwrap_or(run.created_at);
        self.run(experiment, ("training", &run.id), (&run.name, start), &mut sent)?;
        let is_whole = self.whole(|| self.training_parts(run, start, &mut sent))?;
        if sent.status != status {
            let name = format!("{} status", run.id);
            if self.part(&name, || self.status(&sent.run, status, run.finished_at))? {
                status.clone_into(&mut sent.status);
            }
        }
        let has_ended =
            matches!(run.state, TrainingState::Done | TrainingState::Failed | TrainingState::Cancelled);
        sent.artifacts = has_ended && is_whole;
        self.save_sent("training", &run.id, &sent)
    }

    fn training_parts(&self, run: &TrainingRun, start: i64, sent: &mut Sent) -> Result<(), Failure> {
        if !sent.params {
            let config = serde_json::to_value(&run.config).unwrap_or_default();
            let mut params = flat(&config);
            params.push(("dataset_hash".to_owned(), run.dataset_hash.clone()));
            let from = run.continue_from.iter().map(|from| ("continue_from".to_owned(), from.clone()));
            params.extend(from);
            sent.params = self.part(&format!("{} params", run.id), || {
                self.params(&sent.run, &params)?;
                if run.note.is_empty() {
                    Ok(())
                } else {
                    self.tag(&sent.run, "mlflow.note.content", &run.note)
                }
            })?;
            self.save_sent("training", &run.id, sent)?;
        }
        let (points, samples) = self.handle.block_on(self.studio.numbered_training(&run.id)).map_err(own)?;
        self.part(&format!("{} points", run.id), || self.points(run, start, &points, sent))?;
        self.samples(run, start, &samples, sent)?;
        if run.state == TrainingState::Done && !sent.artifacts {
            if let Some(version) = &run.version {
                self.part(&format!("{} adapter", run.id), || self.adapter(&sent.root, version))?;
            }
            let config = serde_json::to_vec_pretty(&run.config).unwrap_or_default();
            self.part(&format!("{} config", run.id), || {
                self.client.artifact(&sent.root, "config.json", &config)
            })?;
        }
        Ok(())
    }

    fn points(
        &self,
        run: &TrainingRun,
        start: i64,
        points: &[(u64, TrainingPoint)],
        sent: &mut Sent,
    ) -> Result<(), Failure> {
        // Times follow from the points themselves, so a point that is sent again is the same one.
        let mut at = HashMap::new();
        let mut seconds = 0.0;
        for (_, point) in points {
            seconds += point.seconds.unwrap_or_default();
            at.insert(point.step, start + (seconds * 1e3) as i64);
        }
        let mut new: Vec<&(u64, TrainingPoint)> =
            points.iter().filter(|(number, _)| *number > sent.number).collect();
        new.sort_by_key(|(number, _)| *number);
        for batch in new.chunks(POINTS) {
            let mut metrics = Vec::new();
            for (_, point) in batch {
                let values = [
                    ("loss", point.loss),
                    ("held_out_loss", point.held_out_loss),
                    ("learning_rate", point.learning_rate),
                    ("gradient_norm", point.gradient_norm),
                    ("seconds_per_step", point.seconds),
                ];
                let time = at.get(&point.step).copied().unwrap_or(start);
                for (key, value) in values {
                    if let Some(value) = value.filter(|value| value.is_finite()) {
                        metrics.push(
                            json!({ "key": key, "value": value, "timestamp": time, "step": point.step }),
                        );
                    }
                }
            }
            if !metrics.is_empty() {
                self.client.post("runs/log-batch", &json!({ "run_id": sent.run, "metrics": metrics }))?;
            }
            sent.number = batch.last().map_or(sent.number, |(number, _)| *number);
            self.save_sent("training", &run.id, sent)?;
        }
        Ok(())
    }

    fn samples(
        &self,
        run: &TrainingRun,
        start: i64,
        samples: &[(u64, TrainingSample)],
        sent: &mut Sent,
    ) -> Result<(), Failure> {
        for (_, sample) in samples {
            let TrainingSample { step, prompt_index, with_adapter, hash, .. } = sample;
            let name = format!("{step}/{prompt_index}/{with_adapter}/{}", &hash[..8]);
            if sent.images.contains(&name) {
                continue;
            }
            let key = format!("sample {prompt_index}{}", if *with_adapter { "" } else { " base" });
            let part = format!("{} {name}", run.id);
            if self.part(&part, || self.image(sent, &key, (i64::from(*step), start), hash))? {
                sent.images.push(name);
                self.save_sent("training", &run.id, sent)?;
            }
        }
        Ok(())
    }
}

fn status(state: TrainingState) -> &'static str {
    match state {
        TrainingState::Queued | TrainingState::Paused => "SCHEDULED",
        TrainingState::Running => "RUNNING",
        TrainingState::Done => "FINISHED",
        TrainingState::Failed => "FAILED",
        TrainingState::Cancelled => "KILLED",
    }
}

/// Settings as params: names with points, values as text.
fn flat(value: &Value) -> Vec<(String, String)> {
    fn add(prefix: &str, object: &Map<String, Value>, to: &mut Vec<(String, String)>) {
        for (name, value) in object {
            let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match value {
                Value::Null => {}
                Value::Object(inner) => add(&name, inner, to),
                Value::String(text) => to.push((name, text.chars().take(VALUE).collect())),
                other => to.push((name, other.to_string().chars().take(VALUE).collect())),
            }
        }
    }
    let mut flat = Vec::new();
    if let Value::Object(object) = value {
        add("", object, &mut flat);
    }
    flat.retain(|(_, value)| !value.is_empty());
    flat
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_become_params() {
        let value = json!({ "a": 1, "b": { "c": "x", "d": null }, "e": ["p", "q"], "f": "" });
        let expected = [("a", "1"), ("b.c", "x"), ("e", "[\"p\",\"q\"]")];
        let expected: Vec<(String, String)> =
            expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        assert_eq!(flat(&value), expected);
    }
}
