//! What the votes of a comparison come to.

use crate::{
    StudioError,
    evaluation::{eprocess::PairOutcome, people::Votes},
    store::Store,
};

/// The name of an outcome in the store.
pub(crate) fn word(outcome: PairOutcome) -> &'static str {
    match outcome {
        PairOutcome::Better => "better",
        PairOutcome::Worse => "worse",
        PairOutcome::Tie => "tie",
    }
}

/// What the votes so far come to.
pub(crate) async fn votes(store: &Store, comparison: &str) -> Result<Votes, StudioError> {
    let outcomes = store.votes(comparison).await?;
    let of_word = |text: String| {
        let all = [PairOutcome::Better, PairOutcome::Worse, PairOutcome::Tie];
        all.into_iter().find(|outcome| word(*outcome) == text)
    };
    Ok(Votes::after(outcomes.into_iter().filter_map(of_word)))
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
