//! What a run shows while it goes on.

use std::time::{Duration, Instant};

use adire_protocol::TrainingConfig;
use adire_studio::UnitOutcome;
use indicatif::{DecimalBytes, HumanDuration, ProgressBar, ProgressStyle};

/// A bar for the images, then one for the updates.
pub(super) struct Progress {
    bar: ProgressBar,
    steps: u32,
    /// Moving average of the loss, which jumps from one timestep to the next.
    smooth: Option<f64>,
    /// When the last update ended, or what was between updates.
    since: Instant,
}

impl Progress {
    pub(super) fn new(config: &TrainingConfig) -> Self {
        Self {
            bar: bar(0, "picture {pos} of {len}"),
            steps: config.steps,
            smooth: None,
            since: Instant::now(),
        }
    }

    /// Shows a unit; gives the seconds since the update before it.
    pub(super) fn show(&mut self, update: &UnitOutcome) -> f64 {
        let seconds = self.since.elapsed().as_secs_f64();
        match update {
            UnitOutcome::ClassPicture { done, total } => {
                if self.bar.length() != Some((*total).into()) {
                    self.bar = bar(*total, "class picture {pos} of {len}, {eta} left");
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
                    eprintln!(
                        "{truncated} captions are longer than the text encoder takes; their ends have no effect."
                    );
                }
                eprintln!("Training on {instances} pictures, {held_out} held out to measure with.");
                if *step > 0 {
                    eprintln!("Going on after update {step} of {}.", self.steps);
                }
                self.bar = bar(self.steps, "update {pos} of {len}, loss {msg}, {eta} left");
                self.bar.set_position((*step).into());
                self.bar.reset_eta();
            }
            UnitOutcome::Forecast(forecast) => {
                let time = HumanDuration(Duration::from_secs_f64(forecast.seconds.max(0.0)));
                let memory = forecast
                    .bytes
                    .map(|bytes| format!(", and {} of memory beside what is in use", DecimalBytes(bytes)))
                    .unwrap_or_default();
                self.bar.suspend(|| eprintln!("All updates will take about {time}{memory}."));
            }
            UnitOutcome::Rewound { step } => {
                self.bar.suspend(|| {
                    eprintln!(
                        "The loss was no longer finite: back to update {step}, at half the learning rate."
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
