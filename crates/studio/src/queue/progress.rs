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

impl Work {
    /// Publishes how far a running generation is. `here` counts images made by this run, before those of `progress`; `together`
    /// those that are made at once, other generations' included.
    pub(crate) fn progress(
        &self,
        id: &str,
        mut progress: Progress,
        here: u32,
        together: u32,
        timer: &StepTimer,
    ) {
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
        let remaining = cost.map(|cost| {
            let this = (steps - f64::from(progress.step)) * cost.step + cost.fixed;
            f64::from(together) * this + images * (steps * cost.step + cost.fixed)
        });
        progress.remaining_ms = remaining.map(whole);
        running.remaining = remaining.map(|ms| (Instant::now(), ms));
        running.progress = Some(Progress { preview: None, ..progress.clone() });
        if let Some(live) = state.lives.get(id) {
            live.send_modify(|live| live.pass(GenerationEvent::Progress(progress)));
        }
    }

    /// Updates the averages from images that were finished together.
    pub(crate) fn record_timing(
        &self,
        spec: &GenerationSpec,
        timer: &StepTimer,
        total: Duration,
        images: u32,
    ) {
        let each = total / images.max(1);
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
