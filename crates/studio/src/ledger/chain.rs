//! The ledger's chain of digests: how one is computed, and what a broken chain says. `docs/registry.md` shows how to do the
//! same by hand.

use std::collections::BTreeMap;

use adire_protocol::{LedgerCheck, LedgerFault, LedgerMove};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::book::{Alias, Book, FIRST_DIGEST};
use crate::StudioError;

/// sha256 of the previous digest, a newline and the row as a compact JSON array.
///
/// # Errors
/// None in practice: the row holds texts and numbers only.
pub(crate) fn digest(made: &LedgerMove) -> Result<String, StudioError> {
    let LedgerMove {
        number, at, who, name, action, alias, from_version, to_version, verdict, reason, ..
    } = made;
    let row = (number, at, who, name, action, alias, from_version, to_version, verdict, reason);
    // Rows of older programs have no digest of their verdict, and keep theirs.
    let row = match &made.verdict_digest {
        None => json(&row)?,
        Some(of_verdict) => {
            let (number, at, who, name, action, alias, from_version, to_version, verdict, reason) = row;
            let row =
                (number, at, who, name, action, alias, from_version, to_version, verdict, reason, of_verdict);
            json(&row)?
        }
    };
    Ok(hex::encode(Sha256::digest(format!("{}\n{row}", made.previous_digest))))
}

/// sha256 of a verdict: a compact JSON array of what the gate wrote.
///
/// # Errors
/// As [`digest`].
pub(crate) fn verdict_digest(row: &impl Serialize) -> Result<String, StudioError> {
    Ok(hex::encode(Sha256::digest(json(row)?)))
}

fn json(row: &impl Serialize) -> Result<String, StudioError> {
    serde_json::to_string(row).map_err(|error| StudioError::Storage(format!("JSON: {error}.")))
}

/// Compares every row with its digest, the row before it, the ledger's end and the aliases.
///
/// # Errors
/// As [`digest`].
pub(crate) fn verify(book: &Book) -> Result<LedgerCheck, StudioError> {
    let last = book.moves.last().map_or(FIRST_DIGEST, |made| made.digest.as_str());
    Ok(LedgerCheck {
        name: book.name.clone(),
        moves: book.moves.len() as u64,
        digest: last.to_owned(),
        fault: match (rows(&book.moves)?, book.unreadable) {
            (Some(fault), _) => Some(fault),
            (None, Some(number)) => changed(number),
            (None, None) => end(book, last).or_else(|| verdicts(book)).or_else(|| aliases(book)),
        },
    })
}

fn fault(number: u64, message: impl Into<String>) -> Option<LedgerFault> {
    Some(LedgerFault { number, message: message.into() })
}

fn changed(number: u64) -> Option<LedgerFault> {
    fault(number, format!("Row {number} was changed after it was written."))
}

fn rows(moves: &[LedgerMove]) -> Result<Option<LedgerFault>, StudioError> {
    let mut previous = FIRST_DIGEST;
    for (expected, made) in (1..).zip(moves) {
        if made.number != expected {
            return Ok(fault(
                expected,
                format!("Row {expected} is missing; row {} follows instead.", made.number),
            ));
        }
        if digest(made)? != made.digest {
            return Ok(changed(expected));
        }
        if made.previous_digest != previous {
            return Ok(fault(expected, format!("Row {expected} does not follow the row before it.")));
        }
        previous = &made.digest;
    }
    Ok(None)
}

/// Rows at the end are not held by a later one.
fn end(book: &Book, last: &str) -> Option<LedgerFault> {
    let count = book.moves.len() as u64;
    let head = book.head.clone().unwrap_or_default();
    match count.cmp(&head.moves) {
        std::cmp::Ordering::Less => {
            let gone = count + 1;
            fault(gone, format!("Row {gone} is missing: the ledger had {} rows.", head.moves))
        }
        std::cmp::Ordering::Greater => {
            let extra = head.moves + 1;
            fault(extra, format!("Row {extra} was added past the end of the ledger."))
        }
        std::cmp::Ordering::Equal if head.digest != last => {
            fault(count, format!("Row {count} is not the row that the ledger ended with."))
        }
        std::cmp::Ordering::Equal => None,
    }
}

/// Verdicts are those that rows rest on.
fn verdicts(book: &Book) -> Option<LedgerFault> {
    let broken = book.moves.iter().find_map(|made| {
        let (id, digest) = (made.verdict.as_ref()?, made.verdict_digest.as_ref()?);
        match book.verdicts.iter().find(|verdict| verdict.id == *id) {
            Some(verdict) if verdict.digest == *digest => None,
            Some(_) => Some((made.number, "was changed after it was given")),
            None => Some((made.number, "is missing")),
        }
    });
    let (number, what) = broken?;
    fault(number, format!("The verdict that row {number} rests on {what}."))
}

/// Aliases stand where their last moves put them.
fn aliases(book: &Book) -> Option<LedgerFault> {
    let mut last: BTreeMap<&str, &LedgerMove> = BTreeMap::new();
    for made in &book.moves {
        last.extend(made.alias.as_deref().map(|alias| (alias, made)));
    }
    for Alias { alias, version, digest } in &book.aliases {
        let Some(made) = last.remove(alias.as_str()) else {
            return fault(1, format!("No row sets the alias {alias}, which stands for v{version}."));
        };
        if made.to_version != Some(*version) || made.digest != *digest {
            let number = made.number;
            return fault(
                number,
                format!("The alias {alias} stands for v{version}, but not by row {number}."),
            );
        }
    }
    let missing = last.into_values().find(|made| made.to_version.is_some())?;
    let alias = missing.alias.as_deref().unwrap_or_default();
    fault(missing.number, format!("The alias {alias}, which row {} set, is missing.", missing.number))
}

#[cfg(test)]
mod tests {
    use adire_protocol::LedgerAction;

    use super::*;

    /// Computed by Python: `hashlib.sha256((previous + "\n" + json.dumps(row, separators=(",", ":"),
    /// ensure_ascii=False)).encode())`.
    #[test]
    fn a_digest_can_be_computed_by_hand() {
        let made = LedgerMove {
            number: 1,
            at: 1_790_000_000_000,
            who: "admin".to_owned(),
            name: "adire".to_owned(),
            action: LedgerAction::Promote,
            alias: Some("production".to_owned()),
            from_version: None,
            to_version: Some(2),
            verdict: None,
            verdict_digest: None,
            reason: "Denser “dots”\nand\ttabs".to_owned(),
            previous_digest: FIRST_DIGEST.to_owned(),
            digest: String::new(),
        };
        assert_eq!(
            digest(&made).unwrap(),
            "64055b386ad43c0df3874213e3756db88f94b415e79ba95ce5576a9ab61eff80"
        );
        // By the same line, with the digest of the verdict at the end of the row.
        let rests =
            LedgerMove { verdict: Some("v".to_owned()), verdict_digest: Some("ab".repeat(32)), ..made };
        assert_eq!(
            digest(&rests).unwrap(),
            "b1988b2506a5cd751781d3af82e04005e6e5fe2018114f6e96034dff26f3616a"
        );
    }
}
