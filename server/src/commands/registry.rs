//! `adire promote`, `rollback`, `reject`, `archive`, `reopen`, `ledger` and `alias`: the registry of a data folder that no server is using.

use std::{
    path::PathBuf,
    time::{Duration, UNIX_EPOCH},
};

use adire_protocol::{LedgerAction, LedgerEntry, LedgerMove, PromotionRequest, RollbackRequest, Stage};
use adire_studio::{DataFolder, StudioError};
use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};

use super::{keep_private, model_args, print};

/// Where the registry is, and how results are printed.
#[derive(Debug, Args)]
struct Place {
    /// Data folder
    #[arg(long, env = "ADIRE_DATA", default_value = "data")]
    data: PathBuf,
    #[command(flatten)]
    storage: model_args::StorageArgs,
    /// Accepted as by `adire evaluate`; the registry needs no model
    #[arg(long = "model", env = "ADIRE_MODEL", value_name = "MODEL")]
    _model: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Place {
    /// Opens the data folder for `work` and closes it again.
    fn with<T>(&self, work: impl AsyncFnOnce(&DataFolder) -> Result<T, StudioError>) -> anyhow::Result<T> {
        keep_private();
        let config = self.storage.config(&self.data)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let folder = DataFolder::open_with(&config)
                .await
                .map_err(|error| match error {
                    StudioError::InUse { .. } => {
                        anyhow!("{error} Use /admin/versions or /admin/api of the running server instead.")
                    }
                    other => other.into(),
                })
                .context("cannot open the registry")?;
            let done = work(&folder).await;
            folder.close().await;
            Ok(done?)
        })
    }

    /// Prints one move.
    fn print(&self, made: &LedgerMove) -> anyhow::Result<()> {
        let text = if self.json { serde_json::to_string_pretty(made)? } else { sentence(made) };
        print(text)
    }
}

/// Version to promote.
#[derive(Debug, Args)]
pub(crate) struct PromoteArgs {
    /// The version, NAME@VN
    version: String,
    /// Why; the ledger keeps it
    #[arg(long)]
    reason: String,
    /// Promote without a passing verdict
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    place: Place,
}

impl PromoteArgs {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let request = PromotionRequest { reason: self.reason, force: self.force };
        let made = self.place.with(async |folder| folder.promote(&self.version, request).await)?;
        self.place.print(&made)
    }
}

/// Version whose stage changes.
#[derive(Debug, Args)]
pub(crate) struct StageArgs {
    /// The version, NAME@VN
    version: String,
    /// Why; the ledger keeps it
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    place: Place,
}

impl StageArgs {
    pub(crate) fn run(self, to: Stage) -> anyhow::Result<()> {
        let change = async |folder: &DataFolder| folder.change_stage(&self.version, to, &self.reason).await;
        let made = self.place.with(change)?;
        self.place.print(&made)
    }
}

/// Adapter to roll back.
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// Adapter name
    name: String,
    /// One of the last three production versions [default: the one before the present one]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    to: Option<u32>,
    /// Why; the ledger keeps it
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    place: Place,
}

impl RollbackArgs {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let request = RollbackRequest { reason: self.reason, version: self.to };
        let made = self.place.with(async |folder| folder.roll_back(&self.name, request).await)?;
        self.place.print(&made)
    }
}

/// Commands on the ledger.
#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// List every change to an adapter's stages and aliases
    List(LedgerArgs),
    /// Verify that no row was changed, deleted, moved or added (exit code 0)
    Verify(LedgerArgs),
}

/// Adapter whose ledger is read.
#[derive(Debug, Args)]
pub(crate) struct LedgerArgs {
    /// Adapter name
    name: String,
    #[command(flatten)]
    place: Place,
}

impl LedgerCommand {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(args) => args.list(),
            Self::Verify(args) => args.verify(),
        }
    }
}

impl LedgerArgs {
    fn list(self) -> anyhow::Result<()> {
        let ledger = self.place.with(async |folder| folder.ledger(&self.name).await)?;
        if self.place.json {
            print(serde_json::to_string_pretty(&ledger)?)?;
            return Ok(());
        }
        for LedgerEntry { made, .. } in ledger.entries {
            let at = UNIX_EPOCH + Duration::from_millis(u64::try_from(made.at).unwrap_or_default());
            let line = format!(
                "{}  {}  {}  {}  {}",
                made.number,
                humantime::format_rfc3339_seconds(at),
                made.who,
                sentence(&made),
                made.digest.get(..12).unwrap_or(&made.digest)
            );
            print(crate::printable(&line))?;
        }
        Ok(())
    }

    fn verify(self) -> anyhow::Result<()> {
        let check = self.place.with(async |folder| folder.verify_ledger(&self.name).await)?;
        if self.place.json {
            print(serde_json::to_string_pretty(&check)?)?;
        } else if check.fault.is_none() {
            let plural = if check.moves == 1 { "" } else { "s" };
            print(format_args!(
                "{} row{plural}, all as written; the last one is {}",
                check.moves, check.digest
            ))?;
        }
        match check.fault {
            Some(fault) => bail!("the ledger of {} is not as it was written: {}", check.name, fault.message),
            None => Ok(()),
        }
    }
}

/// Commands on aliases.
#[derive(Debug, Subcommand)]
pub(crate) enum AliasCommand {
    /// Let an alias stand for a version
    Set(SetArgs),
    /// Delete an alias
    Delete(DeleteArgs),
}

/// Alias to set.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// The version, NAME@VN
    version: String,
    /// The alias: lower-case letters, digits, - _ .
    alias: String,
    /// Why; the ledger keeps it
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    place: Place,
}

/// Alias to delete.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// Adapter name
    name: String,
    /// The alias
    alias: String,
    /// Why; the ledger keeps it
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    place: Place,
}

impl AliasCommand {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Set(SetArgs { version, alias, reason, place }) => {
                let set = async |folder: &DataFolder| folder.set_alias(&version, &alias, &reason).await;
                place.print(&place.with(set)?)
            }
            Self::Delete(DeleteArgs { name, alias, reason, place }) => {
                let delete = async |folder: &DataFolder| folder.delete_alias(&name, &alias, &reason).await;
                place.print(&place.with(delete)?)
            }
        }
    }
}

/// What a move did, in words.
fn sentence(made: &LedgerMove) -> String {
    let name = &made.name;
    let version = |version: Option<u32>| version.map_or_else(|| "nothing".to_owned(), |v| format!("v{v}"));
    let (from, to) = (version(made.from_version), version(made.to_version));
    let alias = made.alias.as_deref().unwrap_or_default();
    let done = match made.action {
        LedgerAction::Add => format!("{name}@{to} added"),
        LedgerAction::Promote => format!("{name}@{to} promoted to production (before: {from})"),
        LedgerAction::Rollback => format!("{name} rolled back from {from} to {to}"),
        LedgerAction::Damaged => format!("{name}@{from} taken out of production for {to}"),
        LedgerAction::Reject => format!("{name}@{to} rejected"),
        LedgerAction::Archive if made.alias.is_some() => {
            format!("{name}@{from} archived; nothing is in production")
        }
        LedgerAction::Archive => format!("{name}@{to} archived"),
        LedgerAction::Reopen => format!("{name}@{to} is a candidate again"),
        LedgerAction::SetAlias => format!("{name}@{alias} is {to} (before: {from})"),
        LedgerAction::DeleteAlias => format!("{name}@{alias} deleted (was {from})"),
    };
    if made.reason.is_empty() { done } else { format!("{done}: {}", made.reason) }
}
