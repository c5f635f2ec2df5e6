//! The ledger of an adapter: `book` is what is known of the adapter and what follows from it, `chain` computes and verifies
//! digests. Both are pure.

mod book;
mod chain;

pub(crate) use book::{Alias, Book, Draft, FIRST_DIGEST, Head, Known, Verdict, stages};
pub(crate) use chain::{digest, verdict_digest, verify};

use crate::StudioError;

/// A row was changed after it was written, so nothing may follow it.
pub(crate) fn unreadable(name: &str, number: u64) -> StudioError {
    StudioError::Conflict(format!(
        "Row {number} of the ledger of {name} was changed after it was written. Restore the database from a backup."
    ))
}
