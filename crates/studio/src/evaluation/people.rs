//! Votes of people between two versions. They may be counted after every vote: the e-process keeps its promise. Pure.

use adire_protocol::ComparisonState;

use super::eprocess::{EProcess, PairOutcome};

/// Votes after which none are taken any more: a difference that has not shown by then is small.
pub const MAX_VOTES: u32 = 200;

/// What votes come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Votes(pub EProcess);

impl Votes {
    /// After these votes, in order; those beyond the last that counts are left out.
    pub fn after(outcomes: impl IntoIterator<Item = PairOutcome>) -> Self {
        Self(EProcess::after(outcomes.into_iter().take(MAX_VOTES as usize)))
    }

    /// What they say.
    pub fn state(&self) -> ComparisonState {
        match self.0.decided {
            Some((PairOutcome::Worse, _)) => ComparisonState::Worse,
            Some(_) => ComparisonState::Better,
            None if self.0.pairs() >= MAX_VOTES => ComparisonState::NoDifference,
            None => ComparisonState::Undecided,
        }
    }

    /// About how many more votes decide, if they go on as so far; `None`: decided, or too few to say.
    pub fn more(&self) -> Option<u32> {
        let most = MAX_VOTES.saturating_sub(self.0.pairs());
        (self.state() == ComparisonState::Undecided).then_some(())?;
        // Too close to say: then all of them.
        match self.0.better + self.0.worse {
            0..4 => None,
            _ => Some(self.0.more_pairs().map_or(most, |more| more.min(most))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Uniform numbers below 1, xorshift64* with a fixed seed.
    fn numbers(mut state: u64) -> impl FnMut() -> f64 {
        move || {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    /// Votes one by one, with a look after each, until they end: what they say, and after how many.
    fn run(preference: f64, next: &mut impl FnMut() -> f64) -> (ComparisonState, u32) {
        let mut outcomes = Vec::new();
        loop {
            let outcome = if next() < preference { PairOutcome::Better } else { PairOutcome::Worse };
            outcomes.push(outcome);
            let votes = Votes::after(outcomes.iter().copied());
            if votes.state() != ComparisonState::Undecided {
                return (votes.state(), votes.0.pairs());
            }
        }
    }

    #[test]
    fn a_true_tie_seldom_becomes_a_difference_and_always_ends() {
        let mut next = numbers(20_261_127);
        let runs: Vec<_> = (0..1_000).map(|_| run(0.5, &mut next)).collect();
        let wrong = runs.iter().filter(|(state, _)| *state != ComparisonState::NoDifference).count();
        assert!(wrong > 0 && wrong <= 50, "{wrong} of 1,000");
        assert!(runs.iter().all(|(_, votes)| *votes <= 200));
    }

    #[test]
    fn a_preference_of_70_to_30_is_found_in_60_votes() {
        let mut next = numbers(4_711);
        let mut runs: Vec<_> = (0..1_000).map(|_| run(0.7, &mut next)).collect();
        runs.sort_by_key(|(_, votes)| *votes);
        assert!(runs[500].1 <= 60, "{}", runs[500].1);
        let right = runs.iter().filter(|(state, _)| *state == ComparisonState::Better).count();
        assert!(right >= 950, "{right} of 1,000");
    }

    #[test]
    fn how_many_more_is_said_when_it_can_be() {
        use PairOutcome::{Better, Tie, Worse};
        let of = |outcomes: &[PairOutcome], times: usize| {
            Votes::after(outcomes.iter().copied().cycle().take(outcomes.len() * times))
        };
        assert_eq!(of(&[Better], 3).more(), None);
        assert_eq!(of(&[Better], 7).more(), Some(1));
        assert_eq!((of(&[Better], 8).more(), of(&[Better], 8).state()), (None, ComparisonState::Better));
        assert_eq!(of(&[Worse], 8).state(), ComparisonState::Worse);
        // Too close to say: as many as are still taken.
        assert_eq!(of(&[Better, Worse], 10).more(), Some(180));
        assert_eq!(of(&[Tie], 200).state(), ComparisonState::NoDifference);
        assert_eq!(of(&[Better, Worse, Tie], 100).0.pairs(), 200);
    }
}
