//! What the registry knows of one adapter, and what follows from its ledger. Pure: no rows, no files.

use std::collections::BTreeMap;

use adire_protocol::{LedgerAction, LedgerMove, PRODUCTION, Stage, VerdictOutcome};

/// What the first row of a ledger follows.
pub(crate) const FIRST_DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// How many production versions back a rollback may go without the gate.
pub(crate) const WINDOW: usize = 3;

/// Everything that the registry knows of an adapter.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Book {
    pub(crate) name: String,
    pub(crate) versions: Vec<Known>,
    /// In order, up to one that cannot be read.
    pub(crate) moves: Vec<LedgerMove>,
    /// Number of the first row that cannot be read.
    pub(crate) unreadable: Option<u64>,
    pub(crate) aliases: Vec<Alias>,
    pub(crate) head: Option<Head>,
    /// The oldest first.
    pub(crate) verdicts: Vec<Verdict>,
}

/// A version, as far as moves depend on it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Known {
    pub(crate) version: u32,
    pub(crate) hash: String,
    pub(crate) hidden: bool,
    pub(crate) deleted: bool,
}

/// An alias, with the digest of the move that set it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Alias {
    pub(crate) alias: String,
    pub(crate) version: u32,
    pub(crate) digest: String,
}

/// Where a ledger ends.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Head {
    pub(crate) moves: u64,
    pub(crate) digest: String,
}

impl Default for Head {
    fn default() -> Self {
        Self { moves: 0, digest: FIRST_DIGEST.to_owned() }
    }
}

/// A gate's verdict on a version.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) version: u32,
    pub(crate) id: String,
    pub(crate) outcome: VerdictOutcome,
    /// Hash of the base model; `None`: not known.
    pub(crate) base: Option<String>,
    /// The version that it was compared with; `None`: the base model.
    pub(crate) champion: Option<u32>,
    /// sha256 of the gate's settings.
    pub(crate) policy_hash: String,
    /// sha256 of all of it.
    pub(crate) digest: String,
}

/// A move that is still to be written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Draft {
    pub(crate) action: LedgerAction,
    pub(crate) alias: Option<String>,
    pub(crate) from: Option<u32>,
    pub(crate) to: Option<u32>,
    pub(crate) verdict: Option<String>,
    pub(crate) reason: String,
}

impl Book {
    /// A version that is there.
    pub(crate) fn version(&self, version: u32) -> Option<&Known> {
        self.versions.iter().find(|known| known.version == version && !known.deleted)
    }

    /// The version that an alias stands for.
    pub(crate) fn alias(&self, alias: &str) -> Option<u32> {
        self.aliases.iter().find(|known| known.alias == alias).map(|known| known.version)
    }

    /// The version in production.
    pub(crate) fn production(&self) -> Option<u32> {
        self.alias(PRODUCTION)
    }

    /// The stage of a version.
    pub(crate) fn stage(&self, version: u32) -> Stage {
        let moves = self.moves.iter().map(|made| (made.action, made.from_version, made.to_version));
        stages(moves).get(&version).copied().unwrap_or(Stage::Candidate)
    }

    /// The verdict of an id.
    pub(crate) fn verdict(&self, id: &str) -> Option<&Verdict> {
        self.verdicts.iter().find(|verdict| verdict.id == id)
    }

    /// The last verdict on a version.
    pub(crate) fn latest_verdict(&self, version: u32) -> Option<&Verdict> {
        self.verdicts.iter().rfind(|verdict| verdict.version == version)
    }

    /// Versions that a rollback may return to, the last one first.
    pub(crate) fn way_back(&self) -> Vec<u32> {
        let (present, mut back) = (self.production(), Vec::new());
        for version in history(&self.moves).into_iter().rev() {
            let usable = self.version(version).is_some_and(|known| !known.hidden);
            if usable
                && Some(version) != present
                && !back.contains(&version)
                && self.stage(version) != Stage::Rejected
            {
                back.push(version);
            }
        }
        back.truncate(WINDOW);
        back
    }

    /// The last move of production at or before a time.
    pub(crate) fn production_at(&self, at: i64) -> Option<&LedgerMove> {
        let of_production = |made: &&LedgerMove| made.at <= at && made.alias.as_deref() == Some(PRODUCTION);
        self.moves.iter().rfind(of_production)
    }
}

/// The stage of every version that a move names, from the action, `from_version` and `to_version` of each; others are
/// candidates.
pub(crate) fn stages(
    moves: impl IntoIterator<Item = (LedgerAction, Option<u32>, Option<u32>)>,
) -> BTreeMap<u32, Stage> {
    let mut stages = BTreeMap::new();
    for (action, from_version, to_version) in moves {
        let (from, to) = match action {
            LedgerAction::Promote | LedgerAction::Rollback => (Stage::Archived, Stage::Production),
            LedgerAction::Damaged => (Stage::Rejected, Stage::Production),
            LedgerAction::Reject => (Stage::Rejected, Stage::Rejected),
            LedgerAction::Archive => (Stage::Archived, Stage::Archived),
            LedgerAction::Reopen => (Stage::Candidate, Stage::Candidate),
            // What was added is a candidate.
            LedgerAction::Add | LedgerAction::SetAlias | LedgerAction::DeleteAlias => continue,
        };
        stages.extend(from_version.map(|version| (version, from)));
        stages.extend(to_version.map(|version| (version, to)));
    }
    stages
}

/// The production versions one above the other: a promotion puts one on top, a rollback takes off those above its target.
fn history(moves: &[LedgerMove]) -> Vec<u32> {
    let mut history: Vec<u32> = Vec::new();
    for made in moves.iter().filter(|made| made.alias.as_deref() == Some(PRODUCTION)) {
        match (made.action, made.to_version) {
            (LedgerAction::Promote, Some(to)) => history.push(to),
            (LedgerAction::Rollback | LedgerAction::Damaged, Some(to)) => {
                let below = history.iter().rposition(|version| *version == to).unwrap_or_default();
                history.truncate(below);
                history.push(to);
            }
            _ => {}
        }
    }
    history
}
