//! Uploads of adapter versions to the Hugging Face Hub.

use serde::{Deserialize, Serialize};

/// A request to upload a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PushRequest {
    /// `owner/name` on the Hub; created if it does not exist.
    pub repository: String,
    /// Whether it is private.
    #[serde(default = "yes")]
    pub private: bool,
    /// Licence as the Hub spells it, such as `creativeml-openrail-m`; absent: the card names none.
    #[serde(default)]
    pub license: Option<String>,
    /// The base model on the Hub, `owner/name`; absent: the loaded model's name.
    #[serde(default)]
    pub base_model: Option<String>,
}

fn yes() -> bool {
    true
}

/// Where a push stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PushState {
    /// It waits for its turn.
    Queued,
    /// It runs, or waits for its next try.
    Running,
    /// The repository holds the version.
    Done,
    /// It was given up.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl PushState {
    /// Name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing happens to it any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// An upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PushRecord {
    /// A UUID v7.
    pub id: String,
    /// `name@vN`.
    pub version: String,
    /// The request.
    pub request: PushRequest,
    /// State.
    pub state: PushState,
    /// What it is doing, or why it waits.
    pub progress: String,
    /// Why it failed.
    pub error: Option<String>,
    /// The repository's page, once it is done.
    pub url: Option<String>,
    /// The commit; absent where the repository held everything already.
    pub commit: Option<String>,
    /// When it was requested, in milliseconds since 1970 (UTC).
    pub created_at: i64,
    /// When it ended.
    pub finished_at: Option<i64>,
}

/// Whether a name is one of a repository on the Hub: `owner/name`.
pub fn is_repository(name: &str) -> bool {
    let fits = |part: &str| {
        (1..=96).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
            && !part.starts_with(['-', '.'])
            && !part.ends_with(['-', '.'])
            && !part.contains("..")
            && !part.contains("--")
    };
    name.split_once('/').is_some_and(|(owner, name)| fits(owner) && fits(name))
}

#[cfg(test)]
mod tests {
    use super::is_repository;

    #[test]
    fn a_repository_has_an_owner_and_a_name() {
        for (name, fits) in [
            ("ada/adire", true),
            ("ada/adire.v1_a-b", true),
            ("adire", false),
            ("/adire", false),
            ("ada/", false),
            ("ada/a/b", false),
            ("../adire", false),
            ("ada/..", false),
            ("ada/a b", false),
            ("ada/a--b", false),
            ("ada/a?b", false),
        ] {
            assert_eq!(is_repository(name), fits, "{name}");
        }
    }
}
