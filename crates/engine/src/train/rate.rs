//! Learning rate schedules, as transformers' `get_scheduler` defines them.

use adire_protocol::{LearningRateSchedule, TrainingConfig};

/// The learning rate of update `step`, counted from 0: a rise from zero over `warmup` updates, then the schedule's
/// own way over the rest.
pub fn learning_rate(config: &TrainingConfig, step: u32) -> f64 {
    let (step, warmup, steps) = (f64::from(step), f64::from(config.warmup), f64::from(config.steps));
    if step < warmup {
        return config.learning_rate * step / warmup.max(1.0);
    }
    let progress = ((step - warmup) / (steps - warmup).max(1.0)).min(1.0);
    config.learning_rate
        * match config.schedule {
            LearningRateSchedule::Constant => 1.0,
            LearningRateSchedule::Linear => 1.0 - progress,
            LearningRateSchedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_transformers() {
        let at = |schedule, step| {
            let config = TrainingConfig {
                schedule,
                learning_rate: 1.0,
                warmup: 4,
                steps: 12,
                ..TrainingConfig::default()
            };
            learning_rate(&config, step)
        };
        // get_scheduler(name, optimizer, num_warmup_steps=4, num_training_steps=12) at steps 0, 2, 4, 8 and 11.
        let steps = [0, 2, 4, 8, 11];
        assert_eq!(steps.map(|s| at(LearningRateSchedule::Constant, s)), [0.0, 0.5, 1.0, 1.0, 1.0]);
        assert_eq!(steps.map(|s| at(LearningRateSchedule::Linear, s)), [0.0, 0.5, 1.0, 0.5, 0.125]);
        for (step, expected) in steps.into_iter().zip([0.0, 0.5, 1.0, 0.5, 0.038_060_233_744_356_6]) {
            assert!((at(LearningRateSchedule::Cosine, step) - expected).abs() < 1e-12, "{step}");
        }
    }
}
