//! Blind votes: two versions' images of the same prompt and noise, in an order that differs from voter to voter and says
//! nothing about which is which. Neither the page nor the files carry a name.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use adire_protocol::{
    Ballot, BallotPair, ComparisonRecord, ComparisonState, EvaluationRole, EvaluationState, VoteChoice,
};
use uuid::Uuid;

use crate::{
    StudioError,
    client::{Who, digest},
    evaluation::{eprocess::PairOutcome, suite::Suite},
    evaluations,
    png::without_texts,
    shared::Shared,
    store::{ComparisonRow, VoteResult},
    tasks::{blocking, detached},
    time::now,
    votes::{votes, word},
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

/// Starts a comparison of a finished evaluation's versions on its images. Two versions have one comparison, whatever
/// evaluations there are: an existing one takes votes again, unless they have decided.
pub(crate) async fn create(shared: &Shared, evaluation: &str) -> Result<ComparisonRecord, StudioError> {
    let row = shared.store.evaluation(evaluation).await?;
    let row = row.ok_or_else(|| StudioError::not_found("evaluation", evaluation))?;
    let (version, against) = (row.id_of_version(), row.id_of_champion().unwrap_or_default());
    if let Some(mut known) = shared.store.comparison_between(&version, &against).await? {
        let undecided = votes(&shared.store, &known.id).await?.state() == ComparisonState::Undecided;
        if undecided && known.closed_at.take().is_some() {
            shared.store.reopen_comparison(&known.id).await?;
        }
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
        version: version.clone(),
        against: against.clone(),
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
    // Another request may have been faster.
    let stored = shared.store.comparison_between(&version, &against).await?;
    record(shared, stored.unwrap_or(comparison)).await
}

/// The pairs of a comparison, in the order of the suite. Images that are equal leave nothing to choose, and a prompt that
/// is not to be shown has none.
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
        let prompt = suite.prompts.get(prompt as usize).filter(|prompt| !suite.is_private(prompt))?;
        Some(Pair { prompt: Suite::render_text(prompt, ""), version, against })
    };
    Ok(version.into_iter().filter_map(pair).collect())
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

/// The comparison of an evaluation's versions.
pub(crate) async fn of_evaluation(
    shared: &Shared,
    evaluation: &str,
) -> Result<Option<ComparisonRecord>, StudioError> {
    let Some(row) = shared.store.evaluation(evaluation).await? else { return Ok(None) };
    let against = row.id_of_champion().unwrap_or_default();
    match shared.store.comparison_between(&row.id_of_version(), &against).await? {
        Some(row) => record(shared, row).await.map(Some),
        None => Ok(None),
    }
}

/// Takes no more votes, and has the verdict count those that there are.
pub(crate) async fn close(shared: &Arc<Shared>, id: &str) -> Result<ComparisonRecord, StudioError> {
    let row = shared.store.comparison(id).await?;
    let row = row.ok_or_else(|| StudioError::not_found("comparison", id))?;
    let row = end(shared, row).await?;
    record(shared, row).await
}

/// Closes a comparison. The first to do so has the newest evaluation of the versions decided again.
async fn end(shared: &Arc<Shared>, row: ComparisonRow) -> Result<ComparisonRow, StudioError> {
    let at = now();
    let has_votes = votes(&shared.store, &row.id).await?.0.pairs() > 0;
    if shared.store.close_comparison(&row.id, at).await? && has_votes {
        let (own, version, against) = (shared.clone(), row.version.clone(), row.against.clone());
        // The votes count whatever becomes of this; the button on the evaluation's page does the same.
        let decided = detached(async move { evaluations::decide_again(own, &version, &against).await });
        if let Err(error) = decided.await {
            tracing::warn!(%error, version = row.version, "the verdict was not decided again");
        }
    }
    Ok(ComparisonRow { closed_at: row.closed_at.or(Some(at)), ..row })
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
    shared: &Arc<Shared>,
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
        end(shared, row).await?;
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
