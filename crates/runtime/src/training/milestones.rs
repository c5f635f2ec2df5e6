//! Which checkpoint, held-out loss and samples are due at each step. Finished ones are remembered, so that
//! a resumed run repeats nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use adire_engine::train::HeldOutLoss;
use adire_protocol::TrainingConfig;
use adire_studio::KnownResults;

use super::probe::ResourceProbe;

/// An action that is due before the next step.
#[derive(Debug)]
pub(super) enum DueAction {
    Try(ResourceProbe),
    Save,
    Measure(HeldOutLoss),
    Sample { prompt: u32, with_adapter: bool },
}

/// Finished and due actions of a run.
#[derive(Debug, Default)]
pub(super) struct Milestones {
    held_out: BTreeMap<u32, f64>,
    samples: BTreeSet<(u32, u32, bool)>,
    pub(super) due: VecDeque<DueAction>,
}

impl Milestones {
    pub(super) fn new(known: &KnownResults) -> Self {
        Self {
            held_out: known.held_out.iter().copied().collect(),
            samples: known.samples.iter().copied().collect(),
            due: VecDeque::new(),
        }
    }

    /// The run stands at `step`: what is known of later ones was of another course.
    pub(super) fn forget_after(&mut self, step: u32) {
        self.held_out.retain(|at, _| *at <= step);
        self.samples.retain(|(at, ..)| *at <= step);
        self.due.clear();
    }

    pub(super) fn measured(&mut self, step: u32, loss: f64) {
        self.held_out.insert(step, loss);
    }

    pub(super) fn sampled(&mut self, step: u32, prompt: u32, with_adapter: bool) {
        self.samples.insert((step, prompt, with_adapter));
    }

    /// The first and the last held-out loss, where there are two.
    pub(super) fn held_out(&self) -> Option<(f64, f64)> {
        let (first, last) = (self.held_out.first_key_value()?, self.held_out.last_key_value()?);
        (first.0 < last.0).then_some((*first.1, *last.1))
    }

    /// Adds what is due at `step`. `fresh`: an update has just led there, so there is something new to save.
    /// `changed`: the run began with an adapter, so that its first samples are not the base's.
    pub(super) fn at(
        &mut self,
        step: u32,
        config: &TrainingConfig,
        measurement: HeldOutLoss,
        fresh: bool,
        changed: bool,
    ) {
        let due = |every: u32| every > 0 && (step.is_multiple_of(every) || step == config.steps);
        if due(config.checkpoint_every) {
            if fresh {
                self.due.push_back(DueAction::Save);
            }
            if measurement.total() > 0 && !self.held_out.contains_key(&step) {
                self.due.push_back(DueAction::Measure(measurement));
            }
        }
        if !due(config.sampled_every()) {
            return;
        }
        for prompt in 0..u32::try_from(config.sample_prompts.len()).unwrap_or(u32::MAX) {
            // Before the first update, and only then: the base stays as it is.
            let without = (step == 0).then_some(false);
            let with = (step > 0 || changed).then_some(true);
            for with_adapter in without.into_iter().chain(with) {
                if !self.samples.contains(&(step, prompt, with_adapter)) {
                    self.due.push_back(DueAction::Sample { prompt, with_adapter });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(milestones: &Milestones) -> String {
        let word = |due: &DueAction| match due {
            DueAction::Try(_) => "try".to_owned(),
            DueAction::Save => "save".to_owned(),
            DueAction::Measure(_) => "measure".to_owned(),
            DueAction::Sample { prompt, with_adapter } => {
                format!("{prompt}{}", if *with_adapter { "+" } else { "-" })
            }
        };
        milestones.due.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_known_is_not_done_again() {
        let config = TrainingConfig {
            steps: 10,
            checkpoint_every: 4,
            sample_every: Some(2),
            sample_prompts: vec!["a".to_owned(), "b".to_owned()],
            ..TrainingConfig::default()
        };
        // Without anything held out there is nothing to measure.
        let at = |milestones: &mut Milestones, step, fresh, changed| {
            milestones.due.clear();
            milestones.at(step, &config, HeldOutLoss::default(), fresh, changed);
            due(milestones)
        };
        let mut milestones = Milestones::default();
        assert_eq!(at(&mut milestones, 0, false, false), "0- 1-");
        assert_eq!(at(&mut milestones, 0, false, true), "0- 0+ 1- 1+");
        assert_eq!(at(&mut milestones, 1, true, false), "");
        assert_eq!(at(&mut milestones, 4, true, false), "save 0+ 1+");
        assert_eq!(at(&mut milestones, 10, true, false), "save 0+ 1+");
        let known = KnownResults {
            held_out: vec![(0, 0.5), (4, 0.4), (8, 0.3)],
            samples: vec![(4, 0, true)],
            forecast: true,
        };
        let mut milestones = Milestones::new(&known);
        assert_eq!(milestones.held_out(), Some((0.5, 0.3)));
        milestones.forget_after(4);
        assert_eq!(milestones.held_out(), Some((0.5, 0.4)));
        assert_eq!(at(&mut milestones, 4, false, false), "1+");
    }
}
