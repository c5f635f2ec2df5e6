//! Forecasts a run's time and memory with three trial steps that are rolled back.

use std::time::Instant;

use adire_engine::{Result, train::Trainer};
use adire_protocol::TrainingForecast;

use super::memory::MemoryKind;

/// Number of trial steps. The first one allocates memory and is excluded from the timing.
const STEPS: u32 = 3;

/// Trial steps in progress.
#[derive(Debug, Default)]
pub(super) struct ResourceProbe {
    /// The run's state before them.
    before: Vec<u8>,
    done: u32,
    seconds: f64,
    bytes: Option<u64>,
    /// Which memory is measured.
    memory: MemoryKind,
    /// What was left there before the first of them.
    available: Option<u64>,
}

impl ResourceProbe {
    /// Makes the next step; what was found, after the last one, when everything is as before.
    pub(super) fn step(&mut self, trainer: &mut Trainer) -> Result<Option<TrainingForecast>> {
        if self.done == 0 {
            self.before = trainer.checkpoint()?;
            self.memory = MemoryKind::of(trainer.device());
            self.available = self.memory.available(trainer.device());
        }
        let device = trainer.device().clone();
        let begun = Instant::now();
        let (tried, taken) = self.memory.peak_during(&device, || trainer.micro_step());
        if self.done > 0 {
            self.seconds += begun.elapsed().as_secs_f64();
        }
        self.bytes = self.bytes.max(taken);
        self.done += 1;
        if tried.is_err() || self.done == STEPS {
            trainer.restore(&self.before)?;
        }
        tried?;
        if self.done < STEPS {
            return Ok(None);
        }
        let step = self.seconds / f64::from(STEPS - 1);
        Ok(Some(TrainingForecast { seconds: step * micro_steps(trainer), bytes: self.bytes }))
    }

    /// Why the run does not fit into memory.
    pub(super) fn refusal(&self) -> Option<String> {
        self.memory.refusal(self.bytes?, self.available?)
    }
}

/// Micro-steps of the whole run: an epoch's last update may have fewer of them than the others.
fn micro_steps(trainer: &Trainer) -> f64 {
    let config = trainer.config();
    let batches = trainer.data().instances.len().div_ceil(config.batch.max(1) as usize).max(1);
    let updates = batches.div_ceil(config.accumulation.max(1) as usize);
    f64::from(config.steps) * batches as f64 / updates as f64
}
