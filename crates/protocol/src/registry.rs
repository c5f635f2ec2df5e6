//! The registry: stages of adapter versions, aliases, and the ledger of every change to them.

use serde::{Deserialize, Serialize};

/// The protected alias: the version that is in production.
pub const PRODUCTION: &str = "production";

/// Most characters of a reason.
pub const MAX_REASON_CHARS: usize = 500;

/// Whether a text can be an alias: 1 to 64 lower-case letters, digits, `-`, `_` and `.`, first a letter or digit, and not
/// like a version (`v2`, `2`).
pub fn is_alias(text: &str) -> bool {
    let first_fits = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let rest_fits =
        text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'));
    let number = text.strip_prefix('v').unwrap_or(text);
    let like_a_version = number.bytes().all(|b| b.is_ascii_digit());
    first_fits && rest_fits && text.len() <= 64 && !like_a_version
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// Its name in the API and in the database.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The one of that name.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

words! {
    /// Where a version is in its life.
    #[derive(Default)]
    Stage {
        /// Added and not decided yet.
        #[default]
        Candidate = "candidate",
        /// What `name@production` stands for; one version of each adapter at most.
        Production = "production",
        /// Was in production, or set aside.
        Archived = "archived",
        /// Not to be used.
        Rejected = "rejected",
    }
}

words! {
    /// What a row of the ledger records.
    LedgerAction {
        /// A version is added from a file.
        Add = "add",
        /// A version goes to production.
        Promote = "promote",
        /// An earlier version returns to production.
        Rollback = "rollback",
        /// The file of the version in production is damaged, and the version before replaces it.
        Damaged = "damaged",
        /// A version is rejected.
        Reject = "reject",
        /// A version is archived; the one in production leaves it.
        Archive = "archive",
        /// A rejected or archived version is a candidate again.
        Reopen = "reopen",
        /// A free alias is set.
        SetAlias = "set_alias",
        /// A free alias is deleted.
        DeleteAlias = "delete_alias",
    }
}

words! {
    /// Result of a gate.
    VerdictOutcome {
        /// Every criterion is met.
        Pass = "pass",
        /// A criterion is not met.
        Fail = "fail",
        /// Too little data to decide.
        Inconclusive = "inconclusive",
    }
}

/// A row of the ledger: never changed, never deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerMove {
    /// From 1 for each adapter.
    pub number: u64,
    /// Milliseconds since 1970 (UTC).
    pub at: i64,
    /// `admin`, `command line`, `gate` or `server`.
    pub who: String,
    /// Adapter name.
    pub name: String,
    /// What was done.
    pub action: LedgerAction,
    /// The alias that moved, if one did.
    pub alias: Option<String>,
    /// The version that the alias stood for before.
    pub from_version: Option<u32>,
    /// The version that it stands for now; without an alias, the version that was added or whose stage changed.
    pub to_version: Option<u32>,
    /// The verdict on which it was decided.
    pub verdict: Option<String>,
    /// sha256 of that verdict, see `docs/registry.md`; absent in rows of older programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict_digest: Option<String>,
    /// Why; may be empty for free aliases.
    pub reason: String,
    /// `digest` of the row before; 64 zeros in the first.
    pub previous_digest: String,
    /// sha256 of `previous_digest`, a newline and the row, see `docs/registry.md`.
    pub digest: String,
}

impl LedgerMove {
    /// What it did, as words without a full stop: `v2 promoted, after v1`.
    pub fn change(&self) -> String {
        let version =
            |version: Option<u32>| version.map_or_else(|| "nothing".to_owned(), |v| format!("v{v}"));
        let (from, to) = (version(self.from_version), version(self.to_version));
        let alias = self.alias.as_deref().unwrap_or_default();
        match self.action {
            LedgerAction::Add => format!("{to} added"),
            LedgerAction::Promote => format!("{to} promoted, after {from}"),
            LedgerAction::Rollback => format!("Rolled back from {from} to {to}"),
            LedgerAction::Damaged => format!("{from} damaged, {to} in production"),
            LedgerAction::Reject => format!("{to} rejected"),
            LedgerAction::Archive if self.alias.is_some() => format!("{from} taken out of production"),
            LedgerAction::Archive => format!("{to} archived"),
            LedgerAction::Reopen => format!("{to} reopened"),
            LedgerAction::SetAlias => format!("@{alias} set to {to}, after {from}"),
            LedgerAction::DeleteAlias => format!("@{alias} deleted, was {from}"),
        }
    }
}

words! {
    /// What a smoke image shows.
    SmokeResult {
        /// The first one of the version: later ones are compared with it.
        First = "first",
        /// The same pixels as the first one.
        Equal = "equal",
        /// On another device or in another precision, and no visible difference.
        Close = "close",
        /// Not the image that the version made at first.
        Different = "different",
        /// It could not be made.
        Failed = "failed",
        /// It is still being made.
        Pending = "pending",
    }
}

/// The image with a fixed seed that is made after each move to production.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Smoke {
    /// How it compares with the version's first one.
    pub result: SmokeResult,
    /// Mean difference of its pixels from the first one, 0 to 255; absent when they are equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<f64>,
    /// URL of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A row of the ledger with the smoke image that was made after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerEntry {
    /// The row.
    #[serde(flatten)]
    pub made: LedgerMove,
    /// Outcome of the verdict that it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<VerdictOutcome>,
    /// Of moves to production, unless they were made while no server was running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smoke: Option<Smoke>,
}

/// An adapter's ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Ledger {
    /// Whether its rows are as they were written.
    pub check: LedgerCheck,
    /// The version in production.
    pub production: Option<u32>,
    /// Versions that a rollback can return to, the default one first.
    pub way_back: Vec<u32>,
    /// The rows in order, up to one that cannot be read.
    pub entries: Vec<LedgerEntry>,
}

/// What was in production at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProductionAt {
    /// Milliseconds since 1970 (UTC).
    pub at: i64,
    /// `name@vN`; absent when nothing was in production.
    pub version: Option<String>,
    /// The move that put it there.
    pub entry: Option<LedgerMove>,
}

/// Why a stage changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct StageRequest {
    /// Why; required.
    pub reason: String,
}

/// A request to set a free alias.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AliasRequest {
    /// The version that it stands for.
    pub version: u32,
    /// Why; may be empty.
    #[serde(default)]
    pub reason: String,
}

/// Result of verifying a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerCheck {
    /// Adapter name.
    pub name: String,
    /// Rows that there are.
    pub moves: u64,
    /// Digest of the last row; 64 zeros without any.
    pub digest: String,
    /// The first fault; absent when every row is as it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<LedgerFault>,
}

/// What is wrong with a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerFault {
    /// Number of the first row that is not as it was written.
    pub number: u64,
    /// What is wrong with it, one sentence.
    pub message: String,
}

/// A request to promote a version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PromotionRequest {
    /// Why; required.
    pub reason: String,
    /// Promote without a passing verdict.
    #[serde(default)]
    pub force: bool,
}

/// A request to return to an earlier production version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// Why; required.
    pub reason: String,
    /// One of the last three production versions; the last one before the present one when absent.
    #[serde(default)]
    pub version: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_no_versions_and_no_paths() {
        for alias in ["production", "stable", "a", "v", "v2-old", "2026.10", "x_1", "vx"] {
            let fits = alias != "v";
            assert_eq!(is_alias(alias), fits, "{alias}");
        }
        let long = "a".repeat(65);
        for text in
            ["", "v2", "2", "v0", "007", "Stable", "a b", "a@b", "../a", ".a", "-a", "é", long.as_str()]
        {
            assert!(!is_alias(text), "{text} was accepted");
        }
    }

    #[test]
    fn words_are_those_of_the_api() {
        for stage in [Stage::Candidate, Stage::Production, Stage::Archived, Stage::Rejected] {
            assert_eq!(Stage::from_word(stage.word()), Some(stage));
            assert_eq!(serde_json::to_string(&stage).unwrap(), format!("\"{}\"", stage.word()));
        }
        assert_eq!(LedgerAction::from_word("set_alias"), Some(LedgerAction::SetAlias));
        assert_eq!(VerdictOutcome::from_word("passed"), None);
    }
}
