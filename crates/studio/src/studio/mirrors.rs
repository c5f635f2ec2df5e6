//! The studio's API for mirrors: programs that send what happens here to another server.

use std::sync::PoisonError;

use adire_protocol::{Tracking, TrainingPoint, TrainingSample};
use serde_json::Value;

use super::Studio;
use crate::StudioError;

/// Points and samples with the numbers of their events.
type Numbered<T> = Vec<(u64, T)>;

impl Studio {
    /// How much of something a server (`target`) has received; `None`: nothing.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn mirror(&self, target: &str, kind: &str, id: &str) -> Result<Option<Value>, StudioError> {
        self.shared().store.mirror((target, kind, id)).await
    }

    /// Notes how far.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn set_mirror(
        &self,
        target: &str,
        kind: &str,
        id: &str,
        state: &Value,
    ) -> Result<(), StudioError> {
        self.shared().store.set_mirror((target, kind, id), state).await
    }

    /// Every point and sample of a training run, with the numbers of their events, which grow.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn numbered_training(
        &self,
        id: &str,
    ) -> Result<(Numbered<TrainingPoint>, Numbered<TrainingSample>), StudioError> {
        let store = &self.shared().store;
        let points = store.points(id, 0).await?.into_iter();
        let samples = store.samples(id, 0).await?.into_iter();
        Ok((
            points.map(|(number, point)| (number.cast_unsigned(), point)).collect(),
            samples.map(|(number, sample)| (number.cast_unsigned(), sample)).collect(),
        ))
    }

    /// Says how the tracking server stands, for the monitoring page.
    pub fn set_tracking(&self, tracking: Tracking) {
        *self.shared().tracking.lock().unwrap_or_else(PoisonError::into_inner) = Some(tracking);
    }
}
