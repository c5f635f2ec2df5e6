//! Evidence that grows pair by pair: which of two versions is better more often. It may be looked at after every pair.
//! Pure.

use super::statistics::{ln_e_value, votes_to_go};

/// Largest difference of two scores that counts as none: features are computed in f32.
const TIE: f64 = 1e-6;
/// e from which a tie is rejected: at most 1 in 20 true ties ever gets there (Ville's inequality).
const DECIDES: f64 = 20.0;

/// What a pair shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairOutcome {
    /// The challenger has the higher score.
    Better,
    /// The champion has it.
    Worse,
    /// Neither; such pairs do not count.
    Tie,
}

impl PairOutcome {
    /// Compares two scores of which the higher is better. Scores that are not finite are a tie.
    pub fn of(champion: f64, challenger: f64) -> Self {
        let difference = challenger - champion;
        if difference > TIE {
            Self::Better
        } else if difference < -TIE {
            Self::Worse
        } else {
            Self::Tie
        }
    }
}

/// A beta-binomial e-process against “both are equally often better”: `e = 2ⁿ · B(1 + w, 1 + n − w)` after `w` wins of `n`
/// pairs without a tie. Both directions count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EProcess {
    /// Pairs in which the challenger is better.
    pub better: u32,
    /// Pairs in which the champion is.
    pub worse: u32,
    /// Pairs without a difference.
    pub ties: u32,
    /// Who turned out better, and after how many pairs; once decided, it stays.
    pub decided: Option<(PairOutcome, u32)>,
}

impl EProcess {
    /// After these pairs, in order.
    pub fn after(outcomes: impl IntoIterator<Item = PairOutcome>) -> Self {
        let mut process = Self::default();
        outcomes.into_iter().for_each(|outcome| process.add(outcome));
        process
    }

    fn add(&mut self, outcome: PairOutcome) {
        *match outcome {
            PairOutcome::Better => &mut self.better,
            PairOutcome::Worse => &mut self.worse,
            PairOutcome::Tie => &mut self.ties,
        } += 1;
        if self.decided.is_none() && self.ln_e() >= DECIDES.ln() {
            let leads = if self.better > self.worse { PairOutcome::Better } else { PairOutcome::Worse };
            self.decided = Some((leads, self.pairs()));
        }
    }

    /// Pairs, ties included.
    pub fn pairs(&self) -> u32 {
        self.better + self.worse + self.ties
    }

    /// The e-value after the last pair; 1 before the first. Finite up to 1,000 pairs.
    pub fn e(&self) -> f64 {
        self.ln_e().exp()
    }

    fn ln_e(&self) -> f64 {
        ln_e_value(self.better, self.better + self.worse)
    }

    /// About how many more pairs decide, if they go on as so far, ties included; `None`: it is decided, or too close to say.
    pub fn more_pairs(&self) -> Option<u32> {
        let counted = self.better + self.worse;
        if self.decided.is_some() || counted == 0 {
            return None;
        }
        let votes = votes_to_go(self.better.max(self.worse), counted)?;
        Some((f64::from(votes) * f64::from(self.pairs()) / f64::from(counted)).ceil() as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::{PairOutcome::*, *};

    fn counts(better: u32, worse: u32) -> EProcess {
        let (wins, losses) = (vec![Better; better as usize], vec![Worse; worse as usize]);
        EProcess::after(wins.into_iter().chain(losses))
    }

    fn near(ours: f64, exact: f64) {
        assert!((ours - exact).abs() <= 1e-9 * exact, "{ours} is not {exact}");
    }

    #[test]
    fn e_has_its_closed_form() {
        // B(1 + w, 1 + n − w) = w! (n − w)! / (n + 1)!
        for (better, worse, exact) in [
            (0, 0, 1.0),
            (1, 0, 1.0),
            (0, 1, 1.0),
            (2, 0, 4.0 / 3.0),
            (1, 1, 2.0 / 3.0),
            (3, 1, 16.0 * 6.0 / 120.0),
            (5, 5, 1024.0 / 2772.0),
            (8, 0, 256.0 / 9.0),
            (0, 10, 1024.0 / 11.0),
        ] {
            near(counts(better, worse).e(), exact);
        }
        assert!(counts(1_000, 0).e().is_finite());
    }

    #[test]
    fn seven_wins_do_not_decide_and_eight_do() {
        assert_eq!(counts(7, 0).decided, None, "128 / 8 = 16");
        assert_eq!(counts(8, 0).decided, Some((Better, 8)));
        assert_eq!(counts(0, 8).decided, Some((Worse, 8)));
        assert_eq!(counts(7, 0).more_pairs(), Some(1));
        // Ties change nothing but the time that a decision takes.
        let mut slow = counts(4, 0);
        (0..4).for_each(|_| slow.add(Tie));
        near(slow.e(), counts(4, 0).e());
        assert_eq!(slow.more_pairs(), Some(8));
        (0..4).for_each(|_| slow.add(Better));
        assert_eq!(slow.decided, Some((Better, 12)));
        // What is decided stays so: e may fall again.
        (0..20).for_each(|_| slow.add(Worse));
        assert!(slow.e() < 20.0);
        assert_eq!((slow.decided, slow.more_pairs()), (Some((Better, 12)), None));
    }

    #[test]
    fn equal_scores_are_a_tie() {
        assert_eq!(PairOutcome::of(0.7, 0.7 + 1e-9), Tie);
        assert_eq!(PairOutcome::of(0.7, 0.71), Better);
        assert_eq!(PairOutcome::of(-0.1, -0.2), Worse);
        assert_eq!(PairOutcome::of(f64::NAN, 1.0), Tie);
    }

    #[test]
    fn looks_after_each_of_200_pairs_seldom_reject_a_true_tie() {
        // xorshift64* with a fixed seed.
        let mut state = 20_261_127_u64;
        let mut coin = || {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            if state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 63 == 1 { Better } else { Worse }
        };
        let runs = 2_000;
        let rejected =
            (0..runs).filter(|_| EProcess::after((0..200).map(|_| coin())).decided.is_some()).count();
        assert!(rejected > 0 && rejected * 20 < runs, "{rejected} of {runs}");
    }

    #[test]
    fn a_clear_preference_is_found() {
        // Four of five, in a fixed order.
        let outcomes = (0..100).map(|at| if at % 5 == 2 { Worse } else { Better });
        let (leads, after) = EProcess::after(outcomes).decided.unwrap();
        assert_eq!(leads, Better);
        assert!((12..40).contains(&after), "{after}");
    }
}
