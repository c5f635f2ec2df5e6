//! The registry: which version of an adapter is in production, other aliases, stages, and the ledger of every change.
//!
//! `ledger` is what is known of an adapter and what follows from it, `rules` decide what may move; both are pure. The store
//! writes the row of a move and its alias in one transaction.

mod rules;

use std::{collections::HashMap, fmt};

use adire_protocol::{
    AdapterRef, Ledger, LedgerCheck, LedgerEntry, LedgerMove, ProductionAt, PromotionRequest,
    RollbackRequest, Stage, Which,
};

#[cfg(test)]
pub(crate) use rules::promote;

pub(crate) use rules::Terms;

use crate::{
    StudioError,
    blobs::Blobs,
    evaluation::settings,
    ledger::{self, Book, Draft},
    store::Store,
    time::now,
};

/// Who moves an alias or changes a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mover {
    /// Anyone signed in at `/admin`.
    Admin,
    /// A command on the data folder.
    CommandLine,
    /// A verdict of the gate.
    Gate,
    /// The server itself, because a file is damaged.
    Server,
    /// A rule of alerts.
    Alert,
}

impl fmt::Display for Mover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Admin => "admin",
            Self::CommandLine => "command line",
            Self::Gate => "gate",
            Self::Server => "server",
            Self::Alert => "alert",
        })
    }
}

/// The rows and files that moves need, and who makes them.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    pub(crate) store: Store,
    pub(crate) blobs: Blobs,
    pub(crate) by: Mover,
    /// Hash of the base model that is loaded; `None`: none is.
    pub(crate) base: Option<String>,
}

impl Registry {
    /// A version (`name@vN`) goes to production, and the one that is there is archived.
    pub(crate) async fn promote(
        &self,
        id: &str,
        request: PromotionRequest,
    ) -> Result<LedgerMove, StudioError> {
        let (name, version) = exact(&self.store, id).await?;
        let reason = rules::reason(&request.reason, true)?;
        let book = self.store.book(&name).await?;
        let terms = self.terms(&book, version).await?;
        rules::promote(&book, version, request.force, reason.clone(), &terms)?;
        if !self.is_sound(&book, version).await? {
            return Err(StudioError::Conflict(format!(
                "The file of {name}@v{version} is missing or damaged. Restore it from a backup, or add it again."
            )));
        }
        self.append(&name, |book| rules::promote(book, version, request.force, reason, &terms)).await
    }

    /// What a verdict on a version must have been given on to count now.
    async fn terms(&self, book: &Book, version: u32) -> Result<Terms, StudioError> {
        let runs = self.store.runs_of_version(&format!("{}@v{version}", book.name), 1).await?;
        let trained_on = runs.into_iter().map(|run| run.model).filter(|model| !model.is_empty());
        let bases = self.base.iter().cloned().chain(trained_on).collect();
        let mut policies = HashMap::new();
        for verdict in &book.verdicts {
            let Some(base) = &verdict.base else { continue };
            if !policies.contains_key(base) {
                policies.insert(base.clone(), settings::policy(&self.store, base).await?.hash());
            }
        }
        Ok(Terms { bases, policies })
    }

    /// Production returns to an earlier version. One on the way whose file is damaged is rejected.
    pub(crate) async fn roll_back(
        &self,
        name: &str,
        request: RollbackRequest,
    ) -> Result<LedgerMove, StudioError> {
        let name = bare(name)?;
        let reason = rules::reason(&request.reason, true)?;
        loop {
            let book = known(&self.store, &name).await?;
            let target = rules::roll_back(&book, request.version, reason.clone())?.to.unwrap_or_default();
            if self.is_sound(&book, target).await? {
                return self.append(&name, |book| rules::roll_back(book, Some(target), reason)).await;
            }
            self.reject_damaged(&name, target).await?;
        }
    }

    /// A version becomes rejected, archived, or a candidate again.
    pub(crate) async fn change_stage(
        &self,
        id: &str,
        to: Stage,
        reason: &str,
    ) -> Result<LedgerMove, StudioError> {
        let (name, version) = exact(&self.store, id).await?;
        let reason = rules::reason(reason, true)?;
        self.append(&name, |book| rules::change_stage(book, version, to, reason)).await
    }

    /// A free alias of `id` (`name@vN`) is set.
    pub(crate) async fn set_alias(
        &self,
        id: &str,
        alias: &str,
        reason: &str,
    ) -> Result<LedgerMove, StudioError> {
        let (name, version) = exact(&self.store, id).await?;
        let reason = rules::reason(reason, false)?;
        self.append(&name, |book| rules::set_alias(book, alias, version, reason)).await
    }

    /// A free alias is deleted.
    pub(crate) async fn delete_alias(
        &self,
        name: &str,
        alias: &str,
        reason: &str,
    ) -> Result<LedgerMove, StudioError> {
        let name = bare(name)?;
        let reason = rules::reason(reason, false)?;
        self.append(&name, |book| rules::delete_alias(book, alias, reason)).await
    }

    /// Replaces the version in production by the one before where its file is missing or damaged; the move, if so.
    pub(crate) async fn check_production(&self, name: &str) -> Result<Option<LedgerMove>, StudioError> {
        let book = self.store.book(name).await?;
        let Some(damaged) = book.production() else { return Ok(None) };
        if self.is_sound(&book, damaged).await? {
            return Ok(None);
        }
        let mut to = None;
        for version in book.way_back() {
            if self.is_sound(&book, version).await? {
                to = Some(version);
                break;
            }
        }
        let reason = format!("The file of v{damaged} is missing or damaged.");
        self.append(name, |book| rules::replace_damaged(book, damaged, to, reason)).await.map(Some)
    }

    async fn reject_damaged(&self, name: &str, version: u32) -> Result<LedgerMove, StudioError> {
        let reason = format!("The file of v{version} is missing or damaged.");
        let by_server = Self { by: Mover::Server, ..self.clone() };
        by_server.append(name, |book| rules::change_stage(book, version, Stage::Rejected, reason)).await
    }

    async fn is_sound(&self, book: &Book, version: u32) -> Result<bool, StudioError> {
        match book.version(version) {
            Some(known) => self.blobs.is_sound(&known.hash).await,
            None => Ok(false),
        }
    }

    async fn append(
        &self,
        name: &str,
        decide: impl FnOnce(&Book) -> Result<Draft, StudioError> + Send,
    ) -> Result<LedgerMove, StudioError> {
        let made = self.store.append_move(name, (now(), &self.by.to_string()), decide).await?;
        tracing::info!(
            adapter = name,
            number = made.number,
            action = made.action.word(),
            from = made.from_version,
            to = made.to_version,
            who = made.who,
            "ledger"
        );
        Ok(made)
    }
}

/// An adapter's ledger with the smoke images of its moves.
pub(crate) async fn ledger(store: &Store, name: &str) -> Result<Ledger, StudioError> {
    let book = known(store, name).await?;
    let mut smokes = store.smokes(&book.name).await?;
    let outcome = |made: &LedgerMove| Some(book.verdict(made.verdict.as_ref()?)?.outcome);
    let entry = |made: &LedgerMove| LedgerEntry {
        made: made.clone(),
        outcome: outcome(made),
        smoke: smokes.remove(&made.number),
    };
    Ok(Ledger {
        entries: book.moves.iter().map(entry).collect(),
        check: ledger::verify(&book)?,
        production: book.production(),
        way_back: book.way_back(),
    })
}

/// The version that was in production at a time, with the move that put it there.
pub(crate) async fn production_at(store: &Store, name: &str, at: i64) -> Result<ProductionAt, StudioError> {
    let book = known(store, name).await?;
    let entry = book.production_at(at).filter(|made| made.to_version.is_some()).cloned();
    let version = entry.as_ref().and_then(|made| made.to_version).map(|v| format!("{}@v{v}", book.name));
    Ok(ProductionAt { at, version, entry })
}

/// Verifies an adapter's ledger.
pub(crate) async fn verify(store: &Store, name: &str) -> Result<LedgerCheck, StudioError> {
    ledger::verify(&known(store, name).await?)
}

async fn known(store: &Store, name: &str) -> Result<Book, StudioError> {
    let name = bare(name)?;
    let book = store.book(&name).await?;
    if book.versions.is_empty() && book.moves.is_empty() && book.head.is_none() {
        return Err(StudioError::not_found("adapter", &name));
    }
    Ok(book)
}

/// The version that `name@vN` or `name@alias` stands for now; what is kept of it is the number.
pub(crate) async fn exact(store: &Store, id: &str) -> Result<(String, u32), StudioError> {
    let wanted = parse(id)?;
    match &wanted.which {
        Which::Alias(alias) => match store.alias(&wanted.name, alias).await? {
            Some(version) => Ok((wanted.name, version)),
            None => Err(StudioError::not_found("alias", id)),
        },
        _ => in_full(id),
    }
}

/// `name@vN`: what is kept for good is named in full.
pub(crate) fn in_full(id: &str) -> Result<(String, u32), StudioError> {
    let wanted = parse(id)?;
    match wanted.which {
        Which::Version(version) => Ok((wanted.name, version)),
        _ => Err(invalid(format!("Name the version, for example {}@v1.", wanted.name))),
    }
}

fn bare(name: &str) -> Result<String, StudioError> {
    let wanted = parse(name)?;
    match wanted.which {
        Which::Newest => Ok(wanted.name),
        _ => Err(invalid(format!("Name the adapter without a version: {}.", wanted.name))),
    }
}

fn parse(name: &str) -> Result<AdapterRef, StudioError> {
    name.parse().map_err(|error| invalid(format!("{error}.")))
}

fn invalid(message: String) -> StudioError {
    StudioError::invalid("adapters", message)
}
