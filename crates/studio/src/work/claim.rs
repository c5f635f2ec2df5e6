//! Claiming: candidates from the database, the policy's pick, compare-and-set. Whoever is slower looks again.

use std::{sync::Arc, time::Instant};

use super::{kind::Kind, rest::rest};
use crate::{
    StudioError,
    job::{Claimed, JobKind, MAX_ATTEMPTS, given_up, pick},
    queue::{Hold, Stop},
    shared::Shared,
    store::Store,
};

/// How many of those that wait are looked at.
const WINDOW: i64 = 64;

/// What one worker remembers between its claims of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Claimer {
    /// The node, as rows name it.
    pub(crate) node: String,
    pub(crate) kind: JobKind,
    /// Hash of the model that is loaded.
    pub(crate) model: String,
    /// What the last job wanted: its adapters are in effect.
    pub(crate) resident: Option<String>,
    /// The head of the queue, since it was first passed over.
    head: Option<(String, Instant)>,
}

impl Claimer {
    pub(crate) fn new(node: &str, kind: JobKind, model: &str) -> Self {
        Self { node: node.to_owned(), kind, model: model.to_owned(), resident: None, head: None }
    }

    /// The next job; `None`: nothing waits. `only`: the one that waits, where that is known.
    pub(crate) async fn claim(
        &mut self,
        store: &Store,
        only: Option<String>,
    ) -> Result<Option<Claimed>, StudioError> {
        if let Some(id) = only.filter(|_| store.is_alone())
            && let Some(claimed) = store.take(&id, &self.node).await?
        {
            self.head = None;
            self.resident = Some(claimed.wants.clone());
            return Ok(Some(claimed));
        }
        loop {
            let candidates = store.candidates(self.kind, &self.model, WINDOW).await?;
            let Some(head) = candidates.first() else {
                self.head = None;
                return Ok(None);
            };
            let since = match &self.head {
                Some((id, since)) if *id == head.id => *since,
                _ => Instant::now(),
            };
            self.head = Some((head.id.clone(), since));
            let Some(picked) = pick(&candidates, self.resident.as_deref(), since.elapsed()) else {
                return Ok(None);
            };
            if let Some(claimed) = store.take(&picked.id, &self.node).await? {
                self.resident = Some(claimed.wants.clone());
                return Ok(Some(claimed));
            }
        }
    }
}

/// Claims the next job of a kind and holds it; `None`: nothing waits. One that was claimed too often without gaining anything
/// fails instead. `only`: the one that waits, where that is known.
pub(super) async fn next(
    shared: &Shared,
    kind: &dyn Kind,
    claimer: &mut Claimer,
    mut only: Option<String>,
) -> Result<Option<(Claimed, Arc<Hold>)>, StudioError> {
    loop {
        let Some(claimed) = claimer.claim(&shared.store, only.take()).await? else { return Ok(None) };
        if let Some(held) = hold(shared, kind, claimed).await {
            return Ok(Some(held));
        }
    }
}

/// The same for one job in particular; `None`: it has been claimed elsewhere, has ended, or fails.
pub(super) async fn this(
    shared: &Shared,
    kind: &dyn Kind,
    claimer: &Claimer,
    id: &str,
) -> Result<Option<(Claimed, Arc<Hold>)>, StudioError> {
    match shared.store.take(id, &claimer.node).await? {
        Some(claimed) => Ok(hold(shared, kind, claimed).await),
        None => Ok(None),
    }
}

/// Holds a job that has been claimed, unless that was too often.
async fn hold(shared: &Shared, kind: &dyn Kind, claimed: Claimed) -> Option<(Claimed, Arc<Hold>)> {
    let hold = shared.work.hold(&claimed);
    if !given_up(claimed.attempts) {
        return Some((claimed, hold));
    }
    let (what, advice) = (kind.kind().in_words(), kind.advice());
    let message =
        format!("The server crashed {MAX_ATTEMPTS} times during this {what}, so it is not retried. {advice}");
    rest(shared, &hold, kind, Err(Stop::Failed(message.trim_end().to_owned())), None).await;
    None
}
