//! What MLflow is told of a training run.

use std::collections::HashMap;

use adire_protocol::{TrainingPoint, TrainingRun, TrainingSample, TrainingState};
use serde_json::{Map, Value, json};

use super::{
    client::Failure,
    mirror::{Mirror, Told, VALUE, own},
};

/// Points of one batch; each is at most five metrics, and MLflow takes a thousand.
const POINTS: usize = 180;

impl Mirror {
    pub(super) fn training(&self, experiment: &str, run: &TrainingRun) -> Result<(), Failure> {
        let mut told = self.told("training", &run.id)?;
        let status = status(run.state);
        if told.status == status && told.artifacts && run.state.is_resting() {
            return Ok(());
        }
        let start = run.started_at.unwrap_or(run.created_at);
        self.run(experiment, ("training", &run.id), (&run.name, start), &mut told)?;
        let is_whole = self.whole(|| self.training_parts(run, start, &mut told))?;
        if told.status != status {
            let name = format!("{} status", run.id);
            if self.part(&name, || self.status(&told.run, status, run.finished_at))? {
                status.clone_into(&mut told.status);
            }
        }
        let has_ended =
            matches!(run.state, TrainingState::Done | TrainingState::Failed | TrainingState::Cancelled);
        told.artifacts = has_ended && is_whole;
        self.tell("training", &run.id, &told)
    }

    fn training_parts(&self, run: &TrainingRun, start: i64, told: &mut Told) -> Result<(), Failure> {
        if !told.params {
            let config = serde_json::to_value(&run.config).unwrap_or_default();
            let mut params = flat(&config);
            params.push(("dataset_hash".to_owned(), run.dataset_hash.clone()));
            let from = run.continue_from.iter().map(|from| ("continue_from".to_owned(), from.clone()));
            params.extend(from);
            told.params = self.part(&format!("{} params", run.id), || {
                self.params(&told.run, &params)?;
                if run.note.is_empty() {
                    Ok(())
                } else {
                    self.tag(&told.run, "mlflow.note.content", &run.note)
                }
            })?;
            self.tell("training", &run.id, told)?;
        }
        let (points, samples) = self.handle.block_on(self.studio.numbered_training(&run.id)).map_err(own)?;
        self.part(&format!("{} points", run.id), || self.points(run, start, &points, told))?;
        self.samples(run, start, &samples, told)?;
        if run.state == TrainingState::Done && !told.artifacts {
            if let Some(version) = &run.version {
                self.part(&format!("{} adapter", run.id), || self.adapter(&told.root, version))?;
            }
            let config = serde_json::to_vec_pretty(&run.config).unwrap_or_default();
            self.part(&format!("{} config", run.id), || {
                self.client.artifact(&told.root, "config.json", &config)
            })?;
        }
        Ok(())
    }

    fn points(
        &self,
        run: &TrainingRun,
        start: i64,
        points: &[(u64, TrainingPoint)],
        told: &mut Told,
    ) -> Result<(), Failure> {
        // Times follow from the points themselves, so a point that is sent again is the same one.
        let mut at = HashMap::new();
        let mut seconds = 0.0;
        for (_, point) in points {
            seconds += point.seconds.unwrap_or_default();
            at.insert(point.step, start + (seconds * 1e3) as i64);
        }
        let mut new: Vec<&(u64, TrainingPoint)> =
            points.iter().filter(|(number, _)| *number > told.number).collect();
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
                self.client.post("runs/log-batch", &json!({ "run_id": told.run, "metrics": metrics }))?;
            }
            told.number = batch.last().map_or(told.number, |(number, _)| *number);
            self.tell("training", &run.id, told)?;
        }
        Ok(())
    }

    fn samples(
        &self,
        run: &TrainingRun,
        start: i64,
        samples: &[(u64, TrainingSample)],
        told: &mut Told,
    ) -> Result<(), Failure> {
        for (_, sample) in samples {
            let TrainingSample { step, prompt_index, with_adapter, hash, .. } = sample;
            let name = format!("{step}/{prompt_index}/{with_adapter}/{}", &hash[..8]);
            if told.images.contains(&name) {
                continue;
            }
            let key = format!("sample {prompt_index}{}", if *with_adapter { "" } else { " base" });
            let part = format!("{} {name}", run.id);
            if self.part(&part, || self.image(told, &key, (i64::from(*step), start), hash))? {
                told.images.push(name);
                self.tell("training", &run.id, told)?;
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
