//! What may move where. Each rule looks at the registry as it stands and gives the row to write, or says why not and what
//! to do instead.

use std::collections::HashMap;

use adire_protocol::{LedgerAction, MAX_REASON_CHARS, PRODUCTION, Stage, VerdictOutcome, is_alias};

use crate::{
    StudioError,
    ledger::{Book, Draft, Known, Verdict},
};

/// A reason without the space around it.
pub(super) fn reason(text: &str, required: bool) -> Result<String, StudioError> {
    let text = text.trim();
    let chars = text.chars().count();
    let message = match chars {
        0 if required => "Enter a reason; the ledger keeps it.".to_owned(),
        ..=MAX_REASON_CHARS => return Ok(text.to_owned()),
        _ => format!("The reason has {chars} characters; the limit is {MAX_REASON_CHARS}."),
    };
    Err(StudioError::invalid("reason", message))
}

/// What a verdict must have been given on to count: production, the gate's settings and the base model may have changed since.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Terms {
    /// Hashes of the base models that count: the loaded one, and the one that the version was trained on. Empty: neither is
    /// known, and any counts.
    pub(crate) bases: Vec<String>,
    /// sha256 of the gate's settings now, by base model.
    pub(crate) policies: HashMap<String, String>,
}

impl Terms {
    /// Why a verdict does not count; `None`: it does.
    fn objection(&self, book: &Book, verdict: &Verdict) -> Option<String> {
        let id = id(book, verdict.version);
        let named =
            |version: Option<u32>| version.map_or_else(|| "the base model".to_owned(), |v| format!("v{v}"));
        let base = verdict.base.as_ref().filter(|base| self.bases.is_empty() || self.bases.contains(base));
        let Some(base) = base else {
            return Some(format!("the last verdict on {id} was given on another base model"));
        };
        let production = book.production();
        if verdict.champion != production {
            let now = production.map_or_else(|| "nothing is".to_owned(), |v| format!("v{v} is"));
            return Some(format!(
                "the last verdict on {id} was given against {}, and {now} in production",
                named(verdict.champion)
            ));
        }
        (self.policies.get(base) != Some(&verdict.policy_hash))
            .then(|| format!("the gate's settings have changed since the last verdict on {id}"))
    }
}

/// A candidate or archived version goes to production.
pub(crate) fn promote(
    book: &Book,
    version: u32,
    force: bool,
    reason: String,
    terms: &Terms,
) -> Result<Draft, StudioError> {
    let Known { hidden, .. } = known(book, version)?;
    let id = id(book, version);
    if *hidden {
        return conflict(format!("{id} is hidden from visitors. Show it first, then promote it."));
    }
    match book.stage(version) {
        Stage::Production => return conflict(format!("{id} is already in production.")),
        Stage::Rejected => {
            return conflict(format!("{id} is rejected. Reopen it as a candidate first, then promote it."));
        }
        Stage::Candidate | Stage::Archived => {}
    }
    let latest = book.latest_verdict(version);
    let counts = |verdict: &&Verdict| verdict.version == version && terms.objection(book, verdict).is_none();
    let (verdict, lacks) = match (book.verdicts.iter().rfind(counts), latest) {
        (Some(verdict), _) if verdict.outcome == VerdictOutcome::Pass => (Some(verdict), None),
        (Some(verdict), _) => {
            let lacks = format!("the last verdict on {id} is “{}”. Evaluate it", verdict.outcome.word());
            (Some(verdict), Some(lacks))
        }
        (None, Some(verdict)) => {
            let objection = terms.objection(book, verdict).unwrap_or_default();
            (Some(verdict), Some(format!("{objection}. Evaluate it again")))
        }
        (None, None) => (None, Some(format!("{id} has no verdict. Evaluate it"))),
    };
    match lacks {
        Some(lacks) if !force => conflict(format!("Not promoted: {lacks}, or force the promotion.")),
        _ => Ok(Draft {
            action: LedgerAction::Promote,
            alias: Some(PRODUCTION.to_owned()),
            from: book.production(),
            to: Some(version),
            verdict: verdict.map(|verdict| verdict.id.clone()),
            reason,
        }),
    }
}

/// Production returns to an earlier version: the last one before the present one, or `to`.
pub(super) fn roll_back(book: &Book, to: Option<u32>, reason: String) -> Result<Draft, StudioError> {
    let back = book.way_back();
    let to = match to {
        Some(to) if back.contains(&to) => to,
        Some(to) => {
            known(book, to)?;
            return conflict(format!(
                "{} is not one of the last three production versions. Promote it instead.",
                id(book, to)
            ));
        }
        None => match back.first() {
            Some(last) => *last,
            None => {
                return conflict(format!("{} has no earlier production version to return to.", book.name));
            }
        },
    };
    Ok(Draft {
        action: LedgerAction::Rollback,
        alias: Some(PRODUCTION.to_owned()),
        from: book.production(),
        to: Some(to),
        verdict: None,
        reason,
    })
}

/// The file of the version in production is damaged: `to`, an earlier version with a sound file, replaces it.
pub(super) fn replace_damaged(
    book: &Book,
    damaged: u32,
    to: Option<u32>,
    reason: String,
) -> Result<Draft, StudioError> {
    if book.production() != Some(damaged) {
        return conflict(format!("{} is not in production.", id(book, damaged)));
    }
    let (action, alias) = (LedgerAction::Damaged, Some(PRODUCTION.to_owned()));
    Ok(Draft { action, alias, from: Some(damaged), to, verdict: None, reason })
}

/// A version becomes rejected, archived or a candidate again.
pub(super) fn change_stage(
    book: &Book,
    version: u32,
    to: Stage,
    reason: String,
) -> Result<Draft, StudioError> {
    known(book, version)?;
    let (id, stage) = (id(book, version), book.stage(version));
    if stage == to {
        return conflict(format!("{id} is already {}.", adjective(to)));
    }
    let in_production = stage == Stage::Production;
    let action = match to {
        Stage::Production => return conflict(format!("Promote {id} instead.")),
        Stage::Rejected => LedgerAction::Reject,
        Stage::Archived => LedgerAction::Archive,
        Stage::Candidate => LedgerAction::Reopen,
    };
    if in_production && to != Stage::Archived {
        return conflict(format!("{id} is in production. Promote another version or roll back first."));
    }
    // What leaves production takes the alias along.
    let (alias, from, to) = if in_production {
        (Some(PRODUCTION.to_owned()), Some(version), None)
    } else {
        (None, None, Some(version))
    };
    Ok(Draft { action, alias, from, to, verdict: None, reason })
}

/// A free alias stands for `version` from now on.
pub(super) fn set_alias(
    book: &Book,
    alias: &str,
    version: u32,
    reason: String,
) -> Result<Draft, StudioError> {
    let alias = free(alias, "Promote a version instead.")?;
    known(book, version)?;
    let from = book.alias(&alias);
    if from == Some(version) {
        return conflict(format!("{}@{alias} is already v{version}.", book.name));
    }
    Ok(Draft {
        action: LedgerAction::SetAlias,
        alias: Some(alias),
        from,
        to: Some(version),
        verdict: None,
        reason,
    })
}

/// A free alias is deleted.
pub(super) fn delete_alias(book: &Book, alias: &str, reason: String) -> Result<Draft, StudioError> {
    let alias = free(alias, "Archive the version in production instead.")?;
    let Some(from) = book.alias(&alias) else {
        return Err(StudioError::not_found("alias", &format!("{}@{alias}", book.name)));
    };
    let (action, alias) = (LedgerAction::DeleteAlias, Some(alias));
    Ok(Draft { action, alias, from: Some(from), to: None, verdict: None, reason })
}

fn free(alias: &str, instead: &str) -> Result<String, StudioError> {
    if alias == PRODUCTION {
        return conflict(format!("The alias production is protected. {instead}"));
    }
    if is_alias(alias) {
        return Ok(alias.to_owned());
    }
    let shown: String = alias.chars().take(80).collect();
    Err(StudioError::invalid(
        "alias",
        format!(
            "“{shown}” is not an alias; use at most 64 lower-case letters, digits, “-”, “_” or “.”, and not a version such as v2."
        ),
    ))
}

fn known(book: &Book, version: u32) -> Result<&Known, StudioError> {
    book.version(version).ok_or_else(|| StudioError::not_found("adapter version", &id(book, version)))
}

fn id(book: &Book, version: u32) -> String {
    format!("{}@v{version}", book.name)
}

fn adjective(stage: Stage) -> &'static str {
    match stage {
        Stage::Production => "in production",
        Stage::Candidate => "a candidate",
        Stage::Archived => "archived",
        Stage::Rejected => "rejected",
    }
}

fn conflict<T>(sentence: String) -> Result<T, StudioError> {
    Err(StudioError::Conflict(sentence))
}
