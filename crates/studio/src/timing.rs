//! Measured cost of images, and estimates derived from it. Time is assumed to grow with the
//! number of pixels and with the calls of the model that a sampler's step needs; which is accurate enough for a waiting
//! visitor.

use std::time::Duration;

use adire_protocol::GenerationSpec;

/// Weight of a new measurement in the moving average.
const NEW: f64 = 0.3;

/// Moving averages at the model's native size, for steps of one call of the model, in milliseconds; `None` before the first image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    native_pixels: f64,
    average: Option<ImageCost>,
}

/// Cost of an image in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ImageCost {
    /// One denoising step.
    pub(crate) step: f64,
    /// The rest of an image: text encoding, VAE, PNG, storing.
    pub(crate) fixed: f64,
}

/// When the steps of one image ended, counted from its start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StepTimer {
    first: Option<Duration>,
    last: Duration,
    count: u32,
}

impl StepTimer {
    pub(crate) fn record_step(&mut self, since_start: Duration) {
        self.first.get_or_insert(since_start);
        self.last = since_start;
        self.count += 1;
    }

    /// When the last step ended.
    pub(crate) fn last(&self) -> Duration {
        self.last
    }

    /// The time of one of so many images that were made at once.
    pub(crate) fn per_image(&self, images: u32) -> Self {
        let images = images.max(1);
        Self { first: self.first.map(|first| first / images), last: self.last / images, count: self.count }
    }

    /// Milliseconds per step. The first step also holds the text encoding, so two are needed.
    pub(crate) fn step(&self) -> Option<f64> {
        let first = self.first.filter(|_| self.count > 1)?;
        Some(millis(self.last - first) / f64::from(self.count - 1))
    }
}

impl Timing {
    pub(crate) fn new(native_size: u32, known: Option<(f64, f64)>) -> Self {
        let side = f64::from(native_size.max(1));
        let average = known.map(|(step, fixed)| ImageCost { step, fixed });
        Self { native_pixels: side * side, average }
    }

    /// The averages at the native size.
    pub(crate) fn native(&self) -> Option<ImageCost> {
        self.average
    }

    /// The cost at the size of `spec`.
    pub(crate) fn cost(&self, spec: &GenerationSpec) -> Option<ImageCost> {
        let step = self.step_scale(spec) * calls_per_step(spec);
        let fixed = self.scale(spec.final_size());
        self.average.map(|native| ImageCost { step: native.step * step, fixed: native.fixed * fixed })
    }

    /// Milliseconds of `pictures` whole images of `spec`.
    pub(crate) fn images(&self, spec: &GenerationSpec, images: u32) -> Option<f64> {
        let cost = self.cost(spec)?;
        Some(f64::from(images) * (f64::from(spec.total_steps()) * cost.step + cost.fixed))
    }

    /// Updates the averages from a finished image.
    pub(crate) fn add_measurement(&mut self, spec: &GenerationSpec, timer: &StepTimer, total: Duration) {
        // An image of a single step says nothing of steps and the rest apart; it is used only when nothing
        // better is known.
        let alone = || self.average.is_none().then(|| millis(timer.last));
        let Some(lap) = timer.step().or_else(alone) else { return };
        let fixed = (millis(total) - lap * f64::from(timer.count)).max(0.0) / self.scale(spec.final_size());
        let step = lap / (self.step_scale(spec) * calls_per_step(spec));
        let mix = |old: f64, new: f64| old + NEW * (new - old);
        self.average = Some(match self.average {
            Some(old) => ImageCost { step: mix(old.step, step), fixed: mix(old.fixed, fixed) },
            None => ImageCost { step, fixed },
        });
    }

    fn scale(&self, (width, height): (u32, u32)) -> f64 {
        f64::from(width.max(1)) * f64::from(height.max(1)) / self.native_pixels
    }

    /// Of the mean step: those of a second pass work on more pixels.
    fn step_scale(&self, spec: &GenerationSpec) -> f64 {
        let first = f64::from(spec.first_pass().steps());
        let second = spec.hires.as_ref().map_or(0.0, |hires| f64::from(hires.pass().steps()));
        let work = first * self.scale((spec.width, spec.height)) + second * self.scale(spec.final_size());
        work / (first + second).max(1.0)
    }
}

fn calls_per_step(spec: &GenerationSpec) -> f64 {
    f64::from(spec.sampling.sampler.model_calls(spec.steps)) / f64::from(spec.steps.max(1))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
