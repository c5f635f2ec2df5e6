//! Saving and restoring checkpoints.

use std::{fs, path::Path};

use super::Trainer;
use crate::{
    EngineError, Result,
    train::state::{self, Header},
    write_whole,
};

impl Trainer {
    /// Serialises the whole state. Gradients accumulated since the last optimizer step are not included and are computed
    /// again.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn checkpoint(&self) -> Result<Vec<u8>> {
        let header = Header {
            config: self.config.clone(),
            steps_done: self.adamw.steps_done,
            micro_steps: self.micro_steps - self.losses.len() as u64,
            rate_factor: self.rate_factor,
            halved: self.halved,
        };
        state::write(&header, &self.parameters, &self.adamw)
    }

    /// Restores the state that [`Self::checkpoint`] saved.
    ///
    /// # Errors
    /// [`EngineError::Request`]: not a checkpoint, damaged, or of another model or configuration.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let header = state::read(bytes, &self.config, &self.parameters, &mut self.adamw, &self.device)?;
        self.micro_steps = header.micro_steps;
        (self.rate_factor, self.halved) = (header.rate_factor, header.halved);
        self.sums = vec![None; self.adamw.first.len()];
        self.losses.clear();
        self.good = bytes.to_vec();
        Ok(())
    }

    /// Writes [`Self::checkpoint`] to a file, atomically.
    ///
    /// # Errors
    /// [`EngineError::Request`] when it cannot be written; a previous checkpoint is kept.
    pub fn save(&self, path: &Path) -> Result<()> {
        let bytes = self.checkpoint()?;
        write_whole(path, |part| fs::write(part, &bytes)).map_err(|error| {
            EngineError::Request(format!(
                "cannot write the checkpoint {} ({error}); the previous one is kept",
                path.display()
            ))
        })
    }

    /// Restores the state from a file that [`Self::save`] wrote.
    ///
    /// # Errors
    /// As [`Self::restore`]; the file cannot be read.
    pub fn load(&mut self, path: &Path) -> Result<()> {
        let bytes = fs::read(path).map_err(|error| {
            EngineError::Request(format!("cannot read the checkpoint {} ({error})", path.display()))
        })?;
        self.restore(&bytes)
    }
}
