//! Blind votes: two versions' images of the same prompt and noise, in an order that differs from voter to voter and says
//! nothing about which is which. Neither the page nor the files carry a name.

use std::collections::{BTreeMap, HashSet};

use adire_protocol::{
    Ballot, BallotPair, ComparisonRecord, ComparisonState, EvaluationRole, EvaluationState, VoteChoice,
};
use uuid::Uuid;

use crate::{
    StudioError,
    client::{Who, digest},
    evaluation::{eprocess::PairOutcome, people::Votes, suite::Suite},
    png::without_texts,
    shared::Shared,
    store::{ComparisonRow, Store, VoteResult},
    tasks::blocking,
    time::now,
};

/// Fewest pairs that make a comparison.
const FEWEST_PAIRS: usize = 2;

/// Two images of the same prompt and noise.
struct Pair {
    prompt: String,
    /// Hash of the version's image.
    version: String,
    /// Hash of the other one's.
    against: String,
}

/// Starts a comparison on the images of a finished evaluation; the one that there is, if there is one.
pub(crate) async fn create(shared: &Shared, evaluation: &str) -> Result<ComparisonRecord, StudioError> {
    let row = shared.store.evaluation(evaluation).await?;
    let row = row.ok_or_else(|| StudioError::not_found("evaluation", evaluation))?;
    if let Some(known) = shared.store.comparison_of_evaluation(evaluation).await? {
        return record(shared, known).await;
    }
    if row.state() != EvaluationState::Done {
        let sentence = "The evaluation has not ended with a verdict, so its images are not complete.";
        return Err(StudioError::Conflict(sentence.to_owned()));
    }
    let comparison = ComparisonRow {
        id: Uuid::now_v7().to_string(),
        // 122 random bits.
        token: Uuid::new_v4().simple().to_string(),
        evaluation: evaluation.to_owned(),
        version: row.id_of_version(),
        against: row.id_of_champion().unwrap_or_default(),
        created_at: now(),
        closed_at: None,
    };
    let pairs = pairs(shared, &comparison).await?.len();
    if pairs < FEWEST_PAIRS {
        return Err(StudioError::Conflict(format!(
            "The evaluation has {pairs} pairs of images that differ; a comparison needs {FEWEST_PAIRS}."
        )));
    }
    shared.store.insert_comparison(&comparison).await?;
    record(shared, comparison).await
}

/// The pairs of a comparison, in the order of the suite. Images that are equal leave nothing to choose.
async fn pairs(shared: &Shared, comparison: &ComparisonRow) -> Result<Vec<Pair>, StudioError> {
    let images = shared.store.evaluation_images(&comparison.evaluation).await?;
    let row = shared.store.evaluation(&comparison.evaluation).await?;
    let suite: Suite = match row {
        Some(row) => row.suite()?,
        None => return Ok(Vec::new()),
    };
    let other = if comparison.against.is_empty() { EvaluationRole::Base } else { EvaluationRole::Champion };
    let of = |role| {
        let those = images.iter().filter(move |image| image.role == role);
        those.map(|image| ((image.prompt, image.seed), image.hash.clone())).collect::<BTreeMap<_, _>>()
    };
    let (version, mut against) = (of(EvaluationRole::Challenger), of(other));
    let pair = |((prompt, seed), version): ((u32, u64), String)| {
        let against = against.remove(&(prompt, seed)).filter(|against| *against != version)?;
        let prompt = suite.prompts.get(prompt as usize)?;
        Some(Pair { prompt: Suite::render_text(prompt, ""), version, against })
    };
    Ok(version.into_iter().filter_map(pair).collect())
}

fn word(outcome: PairOutcome) -> &'static str {
    match outcome {
        PairOutcome::Better => "better",
        PairOutcome::Worse => "worse",
        PairOutcome::Tie => "tie",
    }
}

/// What the votes so far come to.
async fn votes(store: &Store, comparison: &str) -> Result<Votes, StudioError> {
    let outcomes = store.votes(comparison).await?;
    let of_word = |text: String| {
        let all = [PairOutcome::Better, PairOutcome::Worse, PairOutcome::Tie];
        all.into_iter().find(|outcome| word(*outcome) == text)
    };
    Ok(Votes::after(outcomes.into_iter().filter_map(of_word)))
}

async fn record(shared: &Shared, row: ComparisonRow) -> Result<ComparisonRecord, StudioError> {
    let counted = votes(&shared.store, &row.id).await?;
    let pairs = pairs(shared, &row).await?.len();
    Ok(ComparisonRecord {
        page: format!("/vote/{}", row.token),
        pairs: u32::try_from(pairs).unwrap_or(u32::MAX),
        better: counted.0.better,
        worse: counted.0.worse,
        ties: counted.0.ties,
        e: counted.0.e(),
        state: counted.state(),
        more: counted.more(),
        id: row.id,
        evaluation: row.evaluation,
        version: row.version,
        against: Some(row.against).filter(|against| !against.is_empty()),
        created_at: row.created_at,
        closed_at: row.closed_at,
    })
}

/// Every comparison, newest first.
pub(crate) async fn records(shared: &Shared) -> Result<Vec<ComparisonRecord>, StudioError> {
    let mut records = Vec::new();
    for row in shared.store.comparisons().await? {
        records.push(record(shared, row).await?);
    }
    Ok(records)
}

/// The comparison on the images of an evaluation.
pub(crate) async fn of_evaluation(
    shared: &Shared,
    evaluation: &str,
) -> Result<Option<ComparisonRecord>, StudioError> {
    match shared.store.comparison_of_evaluation(evaluation).await? {
        Some(row) => record(shared, row).await.map(Some),
        None => Ok(None),
    }
}

/// Takes no more votes.
pub(crate) async fn close(shared: &Shared, id: &str) -> Result<ComparisonRecord, StudioError> {
    shared.store.close_comparison(id, now()).await?;
    let row = shared.store.comparison(id).await?;
    record(shared, row.ok_or_else(|| StudioError::not_found("comparison", id))?).await
}

/// What people say of two versions; an empty name is the base model. `None`: nobody has voted.
pub(crate) async fn between(
    store: &Store,
    version: &str,
    against: &str,
) -> Result<Option<Votes>, StudioError> {
    let Some(row) = store.comparison_between(version, against).await? else { return Ok(None) };
    let counted = votes(store, &row.id).await?;
    Ok((counted.0.pairs() > 0).then_some(counted))
}

async fn of_token(shared: &Shared, token: &str) -> Result<ComparisonRow, StudioError> {
    let row = shared.store.comparison_of_token(token).await?;
    // The token is a secret: the error does not repeat it.
    row.ok_or_else(|| StudioError::not_found("comparison", "of this link"))
}

/// Whether the version's image is on the left for this voter: half of all pairs, in no visible order.
fn version_is_left(comparison: &ComparisonRow, pair: u32, visitor: &str) -> bool {
    digest("side", &format!("{}/{pair}/{visitor}", comparison.id))
        .as_bytes()
        .first()
        .is_some_and(|b| b % 2 == 0)
}

/// What a voter sees next. Without a visitor's cookie votes cannot be kept apart, so the pair is absent.
pub(crate) async fn ballot(shared: &Shared, token: &str, who: &Who) -> Result<Ballot, StudioError> {
    let row = of_token(shared, token).await?;
    let pairs = pairs(shared, &row).await?;
    let counted = votes(&shared.store, &row.id).await?;
    let open = row.closed_at.is_none() && counted.state() == ComparisonState::Undecided;
    let (mut voted, mut next) = (0, None);
    if let Some(visitor) = &who.visitor {
        let seen: HashSet<i64> = shared.store.pairs_of_voter(&row.id, visitor).await?.into_iter().collect();
        voted = seen.len();
        let unseen = (0..).zip(&pairs).filter(|(number, _)| !seen.contains(&i64::from(*number)));
        // Each voter in an order of their own, so that all pairs get votes when few voters see them all.
        let order = |number: u32| digest("order", &format!("{}/{number}/{visitor}", row.id));
        next = unseen.min_by_key(|(number, _)| order(*number)).filter(|_| open);
    }
    Ok(Ballot {
        token: token.to_owned(),
        pair: next.map(|(number, pair)| BallotPair { number, prompt: pair.prompt.clone() }),
        voted: u32::try_from(voted).unwrap_or(u32::MAX),
        pairs: u32::try_from(pairs.len()).unwrap_or(u32::MAX),
        open,
        more: counted.more(),
    })
}

/// Counts a vote. A second one on the same pair by the same voter, or one that comes too late, changes nothing.
pub(crate) async fn vote(
    shared: &Shared,
    token: &str,
    pair: u32,
    choice: VoteChoice,
    who: &Who,
) -> Result<VoteResult, StudioError> {
    let row = of_token(shared, token).await?;
    let visitor = voter(who)?;
    if pair as usize >= pairs(shared, &row).await?.len() {
        return Err(StudioError::not_found("pair", &pair.to_string()));
    }
    let left = version_is_left(&row, pair, visitor);
    let outcome = match choice {
        VoteChoice::Same => PairOutcome::Tie,
        VoteChoice::Left if left => PairOutcome::Better,
        VoteChoice::Right if !left => PairOutcome::Better,
        VoteChoice::Left | VoteChoice::Right => PairOutcome::Worse,
    };
    let before = votes(&shared.store, &row.id).await?;
    if before.state() != ComparisonState::Undecided {
        return Ok(VoteResult::Closed);
    }
    let counted = shared.store.vote(&row.id, pair, visitor, word(outcome), now()).await?;
    if votes(&shared.store, &row.id).await?.state() != ComparisonState::Undecided {
        shared.store.close_comparison(&row.id, now()).await?;
    }
    Ok(counted)
}

fn voter(who: &Who) -> Result<&str, StudioError> {
    let sentence = "A cookie tells votes apart. Allow cookies for this site, then open the link again.";
    who.visitor.as_deref().ok_or_else(|| StudioError::NotAllowed(sentence.to_owned()))
}

/// An image of a pair, without texts.
pub(crate) async fn image(
    shared: &Shared,
    token: &str,
    pair: u32,
    side: VoteChoice,
    who: &Who,
) -> Result<Vec<u8>, StudioError> {
    let row = of_token(shared, token).await?;
    let visitor = voter(who)?;
    let pairs = pairs(shared, &row).await?;
    let images = pairs.get(pair as usize).ok_or_else(|| StudioError::not_found("pair", &pair.to_string()))?;
    let of_version = version_is_left(&row, pair, visitor) == (side == VoteChoice::Left);
    let hash = if of_version { &images.version } else { &images.against };
    let blob =
        shared.blobs.get(hash).await?.ok_or_else(|| StudioError::not_found("image", "of this pair"))?;
    let file = blob.bytes().await?;
    blocking(move || without_texts(&file)).await
}
