//! Keeping a run, and taking it up again.

use std::{fs, path::Path};

use super::Trainer;
use crate::{
    EngineError, Result,
    train::state::{self, Header},
};

impl Trainer {
    /// The whole state as the content of a file. Only right after an update: what has been added up since is not in
    /// it, and is computed again.
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

    /// Takes up a run where [`Self::checkpoint`] left it.
    ///
    /// # Errors
    /// [`EngineError::Request`]: it is no checkpoint, damaged, or of another model or other settings.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let header = state::read(bytes, &self.config, &self.parameters, &mut self.adamw, &self.device)?;
        self.micro_steps = header.micro_steps;
        (self.rate_factor, self.halved) = (header.rate_factor, header.halved);
        self.sums = vec![None; self.adamw.first.len()];
        self.losses.clear();
        self.good = bytes.to_vec();
        Ok(())
    }

    /// Writes [`Self::checkpoint`] to a file that is whole at any moment.
    ///
    /// # Errors
    /// [`EngineError::Request`] when it cannot be written; what was there before is then untouched.
    pub fn save(&self, path: &Path) -> Result<()> {
        state::save(path, &self.checkpoint()?).map_err(|error| {
            EngineError::Request(format!(
                "the checkpoint {} cannot be written ({error}); the one before it is untouched",
                path.display()
            ))
        })
    }

    /// Takes up the run of a file that [`Self::save`] wrote.
    ///
    /// # Errors
    /// As [`Self::restore`]; the file cannot be read.
    pub fn load(&mut self, path: &Path) -> Result<()> {
        let bytes = fs::read(path).map_err(|error| {
            EngineError::Request(format!("the checkpoint {} cannot be read ({error})", path.display()))
        })?;
        self.restore(&bytes)
    }
}
