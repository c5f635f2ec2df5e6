//! How far running generations are, and how long images take.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use adire_protocol::{GenerationEvent, GenerationSpec, Progress};

use super::{Work, state::whole};
use crate::{
    time::now,
    timing::{ImageCost, StepTimer},
};

/// Images and generations that are made beside one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    /// Images of its generation that this run made before.
    pub(crate) here: u32,
    /// Images in its batch.
    pub(crate) together: u32,
    /// Generations in its batch.
    pub(crate) generations: u32,
}

impl Work {
    /// Publishes how far a running generation is.
    pub(crate) fn progress(&self, id: &str, mut progress: Progress, counts: Counts, timer: &StepTimer) {
        let Counts { here, together, generations } = counts;
        let mut state = self.lock();
        let timing = state.timing;
        let Some(running) = state.running.iter_mut().find(|running| running.generation.id == id) else {
            return;
        };
        let known = timing.cost(&running.generation.spec);
        // What this image shows of itself is nearer to the truth than the average.
        let cost = match (timer.per_image(together).step(), known) {
            (Some(step), known) => Some(ImageCost { step, fixed: known.map_or(0.0, |cost| cost.fixed) }),
            (None, known) => known,
        };
        let images = f64::from(running.generation.left().saturating_sub(here + progress.batch));
        let steps = f64::from(progress.steps);
        let batch = |cost: ImageCost| {
            f64::from(together) * ((steps - f64::from(progress.step)) * cost.step + cost.fixed)
        };
        let later = |cost: ImageCost| images * (steps * cost.step + cost.fixed);
        progress.remaining_ms = cost.map(|cost| whole(batch(cost) + later(cost)));
        // All generations of a batch together count it once.
        let share = |cost| (Instant::now(), batch(cost) / f64::from(generations.max(1)) + later(cost));
        running.remaining = cost.map(share);
        running.progress = Some(Progress { preview: None, ..progress.clone() });
        if let Some(live) = state.lives.get(id) {
            live.send_modify(|live| live.pass(GenerationEvent::Progress(progress)));
        }
    }

    /// Updates the averages from the first image of a batch of so many that is finished, after `total`.
    pub(crate) fn record_timing(
        &self,
        spec: &GenerationSpec,
        timer: &StepTimer,
        total: Duration,
        images: u32,
    ) {
        // All of them waited for the steps, but only for this one's end.
        let steps = timer.last();
        let each = steps / images.max(1) + total.saturating_sub(steps);
        self.lock().timing.add_measurement(spec, &timer.per_image(images), each);
    }

    /// What images cost at the native size.
    pub(crate) fn cost(&self) -> Option<ImageCost> {
        self.lock().timing.native()
    }

    /// Expected milliseconds of so many images.
    pub(crate) fn expected(&self, spec: &GenerationSpec, images: u32) -> Option<f64> {
        self.lock().timing.images(spec, images)
    }

    /// The time of the next image.
    pub(crate) fn image_time(&self) -> i64 {
        let next = now().max(self.newest_image.load(Ordering::Relaxed) + 1);
        self.newest_image.store(next, Ordering::Relaxed);
        next
    }

    /// How far a running generation is, without its preview.
    pub(crate) fn running(&self, id: &str) -> Option<Progress> {
        self.lock().running.iter().find(|running| running.generation.id == id)?.progress.clone()
    }
}
