//! The gate's settings of a base model, as the admin keeps them.

use super::policy::Policy;
use crate::{StudioError, store::Store};

/// Under what name the settings for a model are kept.
pub(crate) fn key(base: &str) -> String {
    format!("gate {base}")
}

/// The settings for a model; the defaults where nobody has changed them.
pub(crate) async fn policy(store: &Store, base: &str) -> Result<Policy, StudioError> {
    let text: Option<String> = store.setting(&key(base)).await?;
    Policy::parse(&text.unwrap_or_default()).map_err(|error| StudioError::Storage(error.to_string()))
}
