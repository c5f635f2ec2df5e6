//! From cosines to a verdict.

/// Lowers every threshold once a concept that wants special care has been found (fixed in diffusers).
const SPECIAL_CARE: f32 = 0.01;

/// What the checker says of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct SafetyVerdict {
    /// Whether any concept was found.
    pub flagged: bool,
    /// Cosine minus threshold of each concept, rounded to three decimals; above 0 is found.
    pub concept_scores: Vec<f32>,
    /// The same for those that want special care; one that is found adds 0.01 to all scores after it.
    pub special_scores: Vec<f32>,
}

impl SafetyVerdict {
    /// From the cosines and the thresholds of both lists, as StableDiffusionSafetyChecker computes it, in f32.
    pub(super) fn new(special_care: (&[f32], &[f32]), concepts: (&[f32], &[f32])) -> Self {
        let mut adjustment = 0.0;
        let mut special_scores = Vec::with_capacity(special_care.0.len());
        for (cosine, threshold) in special_care.0.iter().zip(special_care.1) {
            let score = thousandths(cosine - threshold + adjustment);
            if score > 0.0 {
                adjustment = SPECIAL_CARE;
            }
            special_scores.push(score);
        }
        let score = |(cosine, threshold): (&f32, &f32)| thousandths(cosine - threshold + adjustment);
        let concept_scores: Vec<f32> = concepts.0.iter().zip(concepts.1).map(score).collect();
        Self { flagged: concept_scores.iter().any(|score| *score > 0.0), concept_scores, special_scores }
    }
}

/// numpy's `round(x, 3)`.
fn thousandths(x: f32) -> f32 {
    (x * 1000.0).round_ties_even() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_care_lowers_what_comes_after() {
        let none = SafetyVerdict::new((&[0.1, 0.1], &[0.2, 0.2]), (&[0.195], &[0.2]));
        assert_eq!((none.flagged, none.special_scores), (false, vec![-0.1, -0.1]));
        assert_eq!(none.concept_scores, [-0.005]);
        let care = SafetyVerdict::new((&[0.3, 0.195], &[0.2, 0.2]), (&[0.195], &[0.2]));
        assert_eq!((care.flagged, care.special_scores), (true, vec![0.1, 0.005]));
        assert_eq!(care.concept_scores, [0.005]);
        // What rounds to nothing is not found.
        assert!(!SafetyVerdict::new((&[], &[]), (&[0.2004], &[0.2])).flagged);
        assert!(SafetyVerdict::new((&[], &[]), (&[0.2006], &[0.2])).flagged);
    }
}
