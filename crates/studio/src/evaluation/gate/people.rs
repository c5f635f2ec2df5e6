//! Whether people prefer the version in blind votes.

use adire_protocol::{ComparisonState, VerdictOutcome};

use super::{Criterion, CriterionKind, Evidence};
use crate::evaluation::{people::MAX_VOTES, policy::Policy};

/// Shown where people have voted or the policy wants them to. Unless the policy says otherwise it counts once people prefer
/// one of the two: asking alone must not hold a version back.
pub(super) fn criterion(evidence: &Evidence, policy: &Policy) -> Option<Criterion> {
    let reference = evidence.champion.as_deref().unwrap_or("the base model");
    let Some(votes) = &evidence.people else {
        let reason = format!("Nobody has compared it with {reference} yet.");
        let missing = Criterion::new(CriterionKind::People, false, VerdictOutcome::Inconclusive, reason);
        return (policy.people.muted == Some(false)).then_some(missing);
    };
    let (better, worse, ties) = (votes.0.better, votes.0.worse, votes.0.ties);
    let counts = format!("{better} votes for it, {worse} against, {ties} for neither");
    let (outcome, reason) = match votes.state() {
        ComparisonState::Better => {
            (VerdictOutcome::Pass, format!("People prefer it to {reference}: {counts}."))
        }
        ComparisonState::Worse => (VerdictOutcome::Fail, format!("People prefer {reference}: {counts}.")),
        ComparisonState::NoDifference => {
            let sentence = format!("No difference from {reference} in {MAX_VOTES} votes: {counts}.");
            (VerdictOutcome::Inconclusive, sentence)
        }
        ComparisonState::Undecided => {
            let more = votes.more().map(|more| format!(" About {more} more decide.")).unwrap_or_default();
            (VerdictOutcome::Inconclusive, format!("Undecided against {reference}: {counts}.{more}"))
        }
    };
    let muted = policy.people.muted.unwrap_or(outcome == VerdictOutcome::Inconclusive);
    let mut criterion = Criterion::new(CriterionKind::People, muted, outcome, reason);
    let counted = better + worse;
    criterion.value = (counted > 0).then(|| f64::from(better) / f64::from(counted.max(1)));
    criterion.threshold = Some(0.5);
    Some(criterion)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::{eprocess::PairOutcome, gate::judge, people::Votes};

    fn found(better: usize, worse: usize, toml: &str) -> (VerdictOutcome, Option<Criterion>) {
        let outcomes =
            [PairOutcome::Better].repeat(better).into_iter().chain([PairOutcome::Worse].repeat(worse));
        let votes = Votes::after(outcomes);
        let people = (better + worse > 0).then_some(votes);
        let evidence = Evidence { people, champion: Some("a@v1".to_owned()), ..Evidence::default() };
        let policy = Policy::parse(toml).unwrap();
        let verdict = judge(&evidence, &policy);
        let criterion = verdict.criteria.into_iter().find(|one| one.kind == CriterionKind::People);
        (verdict.outcome, criterion)
    }

    const ALONE: &str = "[floors]\nmuted = true\n[adherence]\nmuted = true\n[style]\nmuted = true\n[copying]\nmuted = true\n\
                         [people]\nmuted = false\n";

    #[test]
    fn people_decide_only_where_the_policy_lets_them() {
        assert_eq!(found(0, 0, "").1, None);
        let (_, counted) = found(8, 0, "");
        assert!(!counted.unwrap().muted, "a preference counts");
        assert_eq!(found(0, 8, "").0, VerdictOutcome::Fail);
        let (_, undecided) = found(7, 0, "");
        assert!(undecided.unwrap().muted, "votes that have not decided hold nothing back");
        let (_, shown) = found(8, 0, "[people]\nmuted = true\n");
        let shown = shown.unwrap();
        assert!(shown.muted && shown.outcome == VerdictOutcome::Pass, "{shown:?}");
        assert!(shown.reason.contains("prefer it to a@v1: 8 votes for it"), "{}", shown.reason);
        for (better, worse, outcome, words) in [
            (0, 0, VerdictOutcome::Inconclusive, "Nobody has compared it"),
            (8, 0, VerdictOutcome::Pass, "People prefer it"),
            (0, 8, VerdictOutcome::Fail, "People prefer a@v1"),
            (7, 0, VerdictOutcome::Inconclusive, "About 1 more decide."),
        ] {
            let (verdict, criterion) = found(better, worse, ALONE);
            let criterion = criterion.unwrap();
            assert_eq!((verdict, criterion.outcome), (outcome, outcome), "{better}:{worse}");
            assert!(criterion.reason.contains(words), "{}", criterion.reason);
        }
    }
}
