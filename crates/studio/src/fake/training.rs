//! The fake's trainings: every unit that a real one has, and a number in place of weights.

use std::{collections::VecDeque, fs};

use adire_protocol::{TrainingForecast, TrainingPoint};
use sha2::{Digest, Sha256};

use super::{ADAPTER_MAGIC, squares};
use crate::{BackendError, STEPS_FOLDER, TrainingTask, UnitOutcome, read_pixels, step_file};

/// A run. Its state is a hash of the settings and the images, changed by each update.
#[derive(Clone, Debug)]
pub struct FakeRun {
    task: TrainingTask,
    prepared: usize,
    ready: bool,
    step: u32,
    state: [u8; 32],
    halved: bool,
    due: VecDeque<Due>,
}

#[derive(Clone, Debug)]
enum Due {
    Forecast,
    Save,
    Measure,
    Sample(u32, bool),
}

/// A word for the call_log.
pub(super) fn word(update: &UnitOutcome) -> String {
    match update {
        UnitOutcome::ClassImage { done, .. } => format!("class picture {done}"),
        UnitOutcome::Preparing { done, .. } => format!("prepare {done}"),
        UnitOutcome::Ready { step, .. } => format!("ready {step}"),
        UnitOutcome::Forecast(_) => "forecast".to_owned(),
        UnitOutcome::Measuring { .. } => "measuring".to_owned(),
        UnitOutcome::HeldOut { step, .. } => format!("measure {step}"),
        UnitOutcome::Step => "step".to_owned(),
        UnitOutcome::Updated(point) => format!("update {}", point.step),
        UnitOutcome::Rewound { step } => format!("rewind {step}"),
        UnitOutcome::Saved { step } => format!("save {step}"),
        UnitOutcome::Sample { step, .. } => format!("sample {step}"),
        UnitOutcome::PutOff => "put off".to_owned(),
        UnitOutcome::Finished { .. } => "finish".to_owned(),
    }
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

fn failed(error: impl std::fmt::Display) -> BackendError {
    BackendError::Failed(error.to_string())
}

impl FakeRun {
    pub(super) fn new(task: TrainingTask) -> Self {
        let state = hash(&[format!("{:?}", task.config).as_bytes()]);
        Self { task, prepared: 0, ready: false, step: 0, state, halved: false, due: VecDeque::new() }
    }

    pub(super) fn advance(&mut self, interrupted: &dyn Fn() -> bool) -> Result<UnitOutcome, BackendError> {
        let (images, config) = (&self.task.images, &self.task.config);
        if let Some(image) = images.get(self.prepared) {
            let pixels = read_pixels(&image.path).map_err(failed)?;
            self.state = hash(&[&self.state, &pixels.rgb, image.caption.as_bytes()]);
            self.prepared += 1;
            let (done, total) = (self.prepared as u32, images.len() as u32);
            return Ok(UnitOutcome::Preparing { done, total });
        }
        let instances = images.len() as u32;
        if !self.ready {
            self.load()?;
            self.ready = true;
            if !self.task.known.forecast {
                self.due.push_back(Due::Forecast);
            }
            self.plan(false);
            return Ok(UnitOutcome::Ready { step: self.step, instances, held_out: 1, truncated: 0 });
        }
        if let Some(due) = self.due.pop_front() {
            return self.due(due, interrupted);
        }
        if self.step == config.steps {
            let adapter = self.task.folder.join(format!("{}.safetensors", self.task.name));
            fs::write(&adapter, [ADAPTER_MAGIC, &self.state].concat()).map_err(failed)?;
            return Ok(UnitOutcome::Finished { adapter });
        }
        let breaks = config.learning_rate >= 1.0 && self.step + 1 == config.steps.div_ceil(2);
        if breaks && self.halved && config.learning_rate >= 1000.0 {
            return Err(BackendError::Failed(
                "Training diverged, even at half the learning rate.".to_owned(),
            ));
        }
        if breaks && !self.halved {
            self.step = 0;
            self.load()?;
            self.halved = true;
            let step = self.step;
            self.task.known.held_out.retain(|(at, _)| *at <= step);
            self.task.known.samples.retain(|(at, ..)| *at <= step);
            return Ok(UnitOutcome::Rewound { step });
        }
        self.step += 1;
        self.state = hash(&[&self.state, &self.step.to_le_bytes()]);
        let point = TrainingPoint {
            step: self.step,
            loss: Some(f64::from(self.state[0]) / 256.0),
            learning_rate: Some(config.learning_rate),
            gradient_norm: Some(0.5),
            ..TrainingPoint::default()
        };
        self.plan(true);
        Ok(UnitOutcome::Updated(point))
    }

    fn due(&mut self, due: Due, interrupted: &dyn Fn() -> bool) -> Result<UnitOutcome, BackendError> {
        let step = self.step;
        match due {
            Due::Forecast => Ok(UnitOutcome::Forecast(TrainingForecast {
                seconds: f64::from(self.task.config.steps),
                bytes: Some(1 << 20),
            })),
            Due::Save => {
                self.save()?;
                let folder = self.task.folder.join(STEPS_FOLDER);
                fs::create_dir_all(&folder).map_err(failed)?;
                let adapter = [ADAPTER_MAGIC, &self.state].concat();
                // Whole under its name, as a real one: who lists the steps may read it at once.
                let (path, part) = (folder.join(step_file(step)), folder.join("part"));
                fs::write(&part, adapter).and_then(|()| fs::rename(&part, &path)).map_err(failed)?;
                Ok(UnitOutcome::Saved { step })
            }
            Due::Measure => {
                let loss = 1.0 / f64::from(step + 1);
                self.task.known.held_out.push((step, loss));
                Ok(UnitOutcome::HeldOut { step, loss })
            }
            Due::Sample(..) if interrupted() => {
                self.due.push_front(due);
                Ok(UnitOutcome::PutOff)
            }
            Due::Sample(prompt_index, with_adapter) => {
                let seed = hash(&[&self.state, &prompt_index.to_le_bytes()]);
                self.task.known.samples.push((step, prompt_index, with_adapter));
                let pixels = squares(&seed, 64, 64);
                Ok(UnitOutcome::Sample { step, prompt_index, with_adapter, pixels })
            }
        }
    }

    fn plan(&mut self, fresh: bool) {
        let (step, config) = (self.step, &self.task.config);
        let due = |every: u32| every > 0 && (step.is_multiple_of(every) || step == config.steps);
        if due(config.checkpoint_every) {
            if fresh {
                self.due.push_back(Due::Save);
            }
            if !self.task.known.held_out.iter().any(|(at, _)| *at == step) {
                self.due.push_back(Due::Measure);
            }
        }
        if due(config.sampled_every()) {
            let with_adapter = step > 0;
            let indices = 0..config.sample_prompts.len() as u32;
            let known = &self.task.known.samples;
            let missing = indices.filter(|index| !known.contains(&(step, *index, with_adapter)));
            self.due.extend(missing.map(|index| Due::Sample(index, with_adapter)));
        }
    }

    fn load(&mut self) -> Result<(), BackendError> {
        let path = self.task.folder.join("checkpoint.safetensors");
        let Ok(bytes) = fs::read(path) else { return Ok(()) };
        let (step, state) = bytes.split_first_chunk::<4>().ok_or_else(|| failed("a short checkpoint"))?;
        self.step = u32::from_le_bytes(*step);
        self.state = state.try_into().map_err(failed)?;
        Ok(())
    }

    pub(super) fn save(&self) -> Result<(), BackendError> {
        if !self.ready {
            return Ok(());
        }
        let path = self.task.folder.join("checkpoint.safetensors");
        let part = path.with_extension("part");
        fs::write(&part, [&self.step.to_le_bytes()[..], &self.state].concat())
            .and_then(|()| fs::rename(&part, &path))
            .map_err(|error| {
                let _ = fs::remove_file(&part);
                failed(format!("The checkpoint could not be written ({error}); the previous one is intact."))
            })
    }
}
