//! Claiming: candidates from the database, the policy's pick, compare-and-set. Whoever is slower looks again.

use std::time::Instant;

use crate::{
    StudioError,
    job::{Claimed, JobKind, pick},
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

    /// The next job; `None`: nothing waits.
    pub(crate) async fn claim(&mut self, store: &Store) -> Result<Option<Claimed>, StudioError> {
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
            if let Some(claimed) = store.take(picked, &self.node).await? {
                self.resident = Some(claimed.wants.clone());
                return Ok(Some(claimed));
            }
        }
    }
}
