//! Blind votes between two versions, and what the gate makes of them.

use adire_protocol::{
    ComparisonRecord, ComparisonState, EvaluationRecord, EvaluationRequest, EvaluationStepName, GatePolicy,
    VerdictOutcome, VoteChoice,
};

use super::{
    adapters::{file, new},
    evaluation::{ended, suite},
    *,
};

/// Two versions, evaluated against each other.
async fn evaluated(studio: &Studio, folder: &Path) -> EvaluationRecord {
    for content in ["one", "two"] {
        studio.add_adapter(new("adire", None, file(folder, content, content))).await.unwrap();
    }
    let wanted = EvaluationRequest {
        version: "adire@v2".to_owned(),
        against: Some("adire@v1".to_owned()),
        suite: Some(suite(6)),
        ..EvaluationRequest::default()
    };
    ended(studio, &studio.evaluate(wanted).await.unwrap().id).await.evaluation
}

fn token(comparison: &ComparisonRecord) -> &str {
    comparison.page.strip_prefix("/vote/").unwrap()
}

/// The side on which this voter sees the version, by the pixels of the evaluation's images.
async fn side_of_version(
    studio: &Studio,
    comparison: &ComparisonRecord,
    pair: u32,
    voter: &Client,
) -> VoteChoice {
    let left = studio.ballot_image(token(comparison), pair, VoteChoice::Left, voter).await.unwrap();
    let images = studio.evaluation(&comparison.evaluation).await.unwrap().images;
    let left = crate::decode_pixels(&left).unwrap();
    for image in images.iter().filter(|image| image.role == adire_protocol::EvaluationRole::Challenger) {
        if crate::decode_pixels(&studio.image(&image.hash).await.unwrap()).unwrap() == left {
            return VoteChoice::Left;
        }
    }
    VoteChoice::Right
}

#[tokio::test]
async fn voters_see_pairs_without_names_and_each_vote_counts_once() {
    let (folder, studio, _) = fresh().await;
    let evaluation = evaluated(&studio, folder.path()).await;
    let comparison = studio.compare(&evaluation.id).await.unwrap();
    assert_eq!(studio.compare(&evaluation.id).await.unwrap(), comparison, "there is one");
    assert_eq!((comparison.version.as_str(), comparison.against.as_deref()), ("adire@v2", Some("adire@v1")));
    assert!(comparison.pairs >= 6, "{}", comparison.pairs);
    assert_eq!(token(&comparison).len(), 32);
    let (voter, token) = (who("voter"), token(&comparison));
    let (mut sides, mut seen) = (Vec::new(), Vec::new());
    for voted in 0..comparison.pairs {
        let ballot = studio.ballot(token, &voter).await.unwrap();
        assert_eq!((ballot.voted, ballot.pairs), (voted, comparison.pairs));
        let Some(pair) = ballot.pair else { break };
        assert!(!seen.contains(&pair.number));
        seen.push(pair.number);
        let again = studio.ballot(token, &voter).await.unwrap().pair.unwrap();
        assert_eq!(again, pair, "a reload changes nothing");
        for side in [VoteChoice::Left, VoteChoice::Right] {
            let image = studio.ballot_image(token, pair.number, side, &voter).await.unwrap();
            let has = |words: &[u8]| image.windows(words.len()).any(|window| window == words);
            assert!(!has(b"adire") && !has(b"tEXt") && !has(b"iTXt"));
        }
        sides.push(side_of_version(&studio, &comparison, pair.number, &voter).await);
        assert!(studio.vote(token, pair.number, VoteChoice::Same, &voter).await.unwrap());
        assert!(
            !studio.vote(token, pair.number, VoteChoice::Left, &voter).await.unwrap(),
            "one vote for a pair"
        );
    }
    assert!(sides.contains(&VoteChoice::Left) && sides.contains(&VoteChoice::Right), "{sides:?}");
    let ballot = studio.ballot(token, &voter).await.unwrap();
    assert!(ballot.pair.is_none() && ballot.open);
    let counted = studio.comparisons().await.unwrap().remove(0);
    assert_eq!((counted.better, counted.worse, counted.ties), (0, 0, comparison.pairs));

    assert!(studio.vote(token, 99, VoteChoice::Left, &who("other")).await.is_err());
    let refused = studio.vote(token, 0, VoteChoice::Left, &nobody()).await.unwrap_err().to_string();
    assert!(refused.contains("Allow cookies"), "{refused}");
    assert!(studio.ballot(token, &nobody()).await.unwrap().pair.is_none());
    for wrong in ["", "x", &"0".repeat(32)] {
        assert!(studio.ballot(wrong, &voter).await.is_err());
    }
}

#[tokio::test]
async fn a_preference_is_found_ends_the_votes_and_joins_the_verdict() {
    let (folder, studio, _) = fresh().await;
    let evaluation = evaluated(&studio, folder.path()).await;
    let people = |record: &EvaluationRecord| {
        let criteria = record.verdict.clone().unwrap().criteria;
        criteria.into_iter().find(|criterion| criterion.kind == "people")
    };
    assert_eq!(people(&evaluation), None);
    let comparison = studio.compare(&evaluation.id).await.unwrap();
    let mut votes = 0;
    'all: for voter in 0..10 {
        let voter = who(&format!("voter {voter}"));
        while let Some(pair) = studio.ballot(token(&comparison), &voter).await.unwrap().pair {
            let side = side_of_version(&studio, &comparison, pair.number, &voter).await;
            assert!(studio.vote(token(&comparison), pair.number, side, &voter).await.unwrap());
            votes += 1;
            if votes == 8 {
                break 'all;
            }
        }
    }
    let found = studio.comparisons().await.unwrap().remove(0);
    assert_eq!((found.better, found.worse, found.state), (8, 0, ComparisonState::Better));
    assert!(found.closed_at.is_some() && found.more.is_none() && found.e > 20.0);
    let late = who("late");
    assert!(!studio.ballot(token(&comparison), &late).await.unwrap().open);
    assert!(!studio.vote(token(&comparison), 0, VoteChoice::Left, &late).await.unwrap());

    // The verdict is decided again with the votes; nothing is rendered or scored again.
    let again = studio.rerun_evaluation(&evaluation.id, EvaluationStepName::Verdict).await.unwrap();
    let again = ended(&studio, &again.id).await.evaluation;
    let criterion = people(&again).unwrap();
    assert!(criterion.muted && criterion.outcome == VerdictOutcome::Pass, "{criterion:?}");
    assert!(criterion.reason.contains("People prefer it to adire@v1: 8 votes"), "{}", criterion.reason);
    // Counted where the gate's settings say so.
    studio.set_gate_policy(GatePolicy { toml: "[people]\nmuted = false\n".to_owned() }).await.unwrap();
    let counted = studio.rerun_evaluation(&evaluation.id, EvaluationStepName::Verdict).await.unwrap();
    assert!(!people(&ended(&studio, &counted.id).await.evaluation).unwrap().muted);
}

#[tokio::test]
async fn the_admin_ends_a_comparison() {
    let (folder, studio, _) = fresh().await;
    let evaluation = evaluated(&studio, folder.path()).await;
    let comparison = studio.compare(&evaluation.id).await.unwrap();
    let voter = who("voter");
    assert!(studio.vote(token(&comparison), 0, VoteChoice::Left, &voter).await.unwrap());
    let closed = studio.close_comparison(&comparison.id).await.unwrap();
    assert_eq!((closed.state, closed.closed_at.is_some()), (ComparisonState::Undecided, true));
    assert!(!studio.vote(token(&comparison), 1, VoteChoice::Left, &voter).await.unwrap());
    assert!(studio.ballot(token(&comparison), &voter).await.unwrap().pair.is_none());
    assert!(studio.close_comparison("x").await.is_err() && studio.compare("x").await.is_err());
}
