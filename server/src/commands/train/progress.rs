//! Progress of a training run on the terminal.

use std::time::{Duration, Instant};

use adire_protocol::TrainingConfig;
use adire_studio::UnitOutcome;
use indicatif::{DecimalBytes, HumanDuration, ProgressBar, ProgressStyle};

/// Progress bar: first over the images, then over the optimizer steps.
pub(super) struct Progress {
    bar: ProgressBar,
    steps: u32,
    /// Moving average of the training loss, which is noisy.
    smooth: Option<f64>,
    /// End of the last optimizer step, or of the last work between steps.
    since: Instant,
}

impl Progress {
    pub(super) fn new(config: &TrainingConfig) -> Self {
        Self { bar: bar(0, "image {pos} of {len}"), steps: config.steps, smooth: None, since: Instant::now() }
    }

    /// Shows the outcome of a unit; returns the seconds since the previous step.
    pub(super) fn show(&mut self, update: &UnitOutcome) -> f64 {
        let seconds = self.since.elapsed().as_secs_f64();
        match update {
            UnitOutcome::ClassImage { done, total } => {
                if self.bar.length() != Some((*total).into()) {
                    self.bar = bar(*total, "class image {pos} of {len}, {eta} left");
                }
                self.bar.set_position((*done).into());
            }
            UnitOutcome::Preparing { done, total } => {
                self.bar.set_length(u64::from(*total));
                self.bar.set_position(u64::from(*done));
            }
            UnitOutcome::Ready { step, instances, held_out, truncated } => {
                self.bar.finish_and_clear();
                if *truncated > 0 {
                    eprintln!("{truncated} captions exceed the text encoder's limit and were cut.");
                }
                eprintln!("Training on {instances} images, {held_out} held out.");
                if *step > 0 {
                    eprintln!("Resuming after step {step} of {}.", self.steps);
                }
                self.bar = bar(self.steps, "step {pos} of {len}, loss {msg}, {eta} left");
                self.bar.set_position((*step).into());
                self.bar.reset_eta();
            }
            UnitOutcome::Forecast(forecast) => {
                let time = HumanDuration(Duration::from_secs_f64(forecast.seconds.max(0.0)));
                let memory = forecast
                    .bytes
                    .map(|bytes| format!(" and {} of additional memory", DecimalBytes(bytes)))
                    .unwrap_or_default();
                self.bar.suspend(|| eprintln!("All steps will take about {time}{memory}."));
            }
            UnitOutcome::Rewound { step } => {
                self.bar.suspend(|| {
                    eprintln!(
                        "The loss became NaN or infinite: rolled back to step {step} and halved the learning rate."
                    );
                });
                self.bar.set_position((*step).into());
            }
            UnitOutcome::Updated(point) => {
                let loss = point.loss.unwrap_or_default();
                let mean = self.smooth.map_or(loss, |mean| 0.95 * mean + 0.05 * loss);
                self.smooth = Some(mean);
                self.bar.set_position(point.step.into());
                self.bar.set_message(format!("{mean:.4}"));
            }
            _ => {}
        }
        if !matches!(update, UnitOutcome::Step) {
            self.since = Instant::now();
        }
        seconds
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn bar(length: u32, words: &str) -> ProgressBar {
    let bar = ProgressBar::new(length.into());
    if let Ok(style) = ProgressStyle::with_template(&format!("{{bar:32}} {words}")) {
        bar.set_style(style);
    }
    bar
}
