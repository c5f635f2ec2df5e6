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

    // The last vote has the verdict decided again, once; nothing is rendered or scored again.
    let known = studio.evaluations(Some("adire")).await.unwrap();
    assert_eq!(known.len(), 2);
    let again = ended(&studio, &known[0].id).await.evaluation;
    let criterion = people(&again).unwrap();
    assert!(!criterion.muted && criterion.outcome == VerdictOutcome::Pass, "{criterion:?}");
    assert!(criterion.reason.contains("People prefer it to adire@v1: 8 votes"), "{}", criterion.reason);
    // The other evaluation has the same votes, and offers no others.
    assert_eq!(studio.comparison_of(&again.id).await.unwrap().unwrap().id, comparison.id);
    let same = studio.compare(&again.id).await.unwrap();
    assert_eq!((&same.id, same.better, same.closed_at), (&comparison.id, 8, found.closed_at));
    assert_eq!(studio.comparisons().await.unwrap().len(), 1);
    // Only shown where the gate's settings say so.
    studio.set_gate_policy(GatePolicy { toml: "[people]\nmuted = true\n".to_owned() }).await.unwrap();
    let shown = studio.rerun_evaluation(&evaluation.id, EvaluationStepName::Verdict).await.unwrap();
    assert!(people(&ended(&studio, &shown.id).await.evaluation).unwrap().muted);
}

#[tokio::test]
async fn a_new_evaluation_begins_no_new_votes() {
    let (folder, studio, _) = fresh().await;
    let evaluation = evaluated(&studio, folder.path()).await;
    let comparison = studio.compare(&evaluation.id).await.unwrap();
    let voter = who("voter");
    assert!(studio.vote(token(&comparison), 0, VoteChoice::Left, &voter).await.unwrap());
    let again = studio.rerun_evaluation(&evaluation.id, EvaluationStepName::Verdict).await.unwrap();
    let again = ended(&studio, &again.id).await.evaluation;
    let (one, two) = tokio::join!(studio.compare(&again.id), studio.compare(&evaluation.id));
    assert_eq!((&one.unwrap().id, &two.unwrap().id), (&comparison.id, &comparison.id));
    // Votes that were ended without a result go on where they were.
    studio.close_comparison(&comparison.id).await.unwrap();
    let reopened = studio.compare(&again.id).await.unwrap();
    assert_eq!((&reopened.id, reopened.closed_at), (&comparison.id, None));
    assert_eq!(reopened.better + reopened.worse, 1);
    assert!(!studio.vote(token(&comparison), 0, VoteChoice::Left, &voter).await.unwrap(), "voted before");
    assert!(studio.vote(token(&comparison), 1, VoteChoice::Left, &voter).await.unwrap());
}

#[tokio::test]
async fn private_prompts_are_not_shown_to_voters() {
    let (folder, studio, _) = fresh().await;
    for content in ["one", "two"] {
        studio.add_adapter(new("adire", None, file(folder.path(), content, content))).await.unwrap();
    }
    let text = "{\"name\": \"x\", \"seeds\": [1], \"prompts\": [\"a, {trigger}\", \"b, {trigger}\", \"mine, {trigger}\"], \
                \"private\": [\"mine, {trigger}\"]}";
    let wanted = EvaluationRequest {
        version: "adire@v2".to_owned(),
        against: Some("adire@v1".to_owned()),
        suite: Some(text.to_owned()),
        ..EvaluationRequest::default()
    };
    let evaluation = ended(&studio, &studio.evaluate(wanted).await.unwrap().id).await.evaluation;
    let comparison = studio.compare(&evaluation.id).await.unwrap();
    assert_eq!(comparison.pairs, 2);
    let voter = who("voter");
    assert!(studio.ballot_image(token(&comparison), 2, VoteChoice::Left, &voter).await.is_err());
    let mut prompts = Vec::new();
    while let Some(pair) = studio.ballot(token(&comparison), &voter).await.unwrap().pair {
        studio.vote(token(&comparison), pair.number, VoteChoice::Same, &voter).await.unwrap();
        prompts.push(pair.prompt);
    }
    prompts.sort();
    assert_eq!(prompts, ["a", "b"]);
    let samples = studio.publication("adire@v2").await.unwrap().samples;
    assert_eq!(samples.len(), 2);
    assert!(samples.iter().all(|(prompt, _)| !prompt.contains("mine")), "{samples:?}");
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
