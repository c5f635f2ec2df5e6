//! The model's own suite: the built-in one until the admin changes it, or adds the prompt of a reported image.

use adire_protocol::{Recipe, lora_tag};

use crate::{
    StudioError,
    evaluation::{
        prompts::with_trigger,
        suite::{Suite, TRIGGER},
    },
    shared::Shared,
};

/// Longest text of a suite, in bytes.
pub(crate) const MAX_TEXT: usize = 200_000;

fn key(shared: &Shared) -> String {
    format!("suite {}", shared.model.hash)
}

/// What the admin has made of it; `None`: nothing, or the built-in one was brought back.
async fn kept(shared: &Shared) -> Result<Option<Suite>, StudioError> {
    Ok(shared.store.setting::<Option<Suite>>(&key(shared)).await?.flatten())
}

/// The suite of evaluations that name none.
pub(crate) async fn suite(shared: &Shared) -> Result<Suite, StudioError> {
    Ok(kept(shared).await?.unwrap_or_else(|| Suite::of_model(&shared.model.name)))
}

/// The suite as TOML, and whether the admin has changed it.
pub(crate) async fn text(shared: &Shared) -> Result<(String, bool), StudioError> {
    let kept = kept(shared).await?;
    let changed = kept.is_some();
    let suite = kept.unwrap_or_else(|| Suite::of_model(&shared.model.name));
    let text = toml::to_string(&suite).map_err(|error| StudioError::Storage(format!("TOML: {error}.")))?;
    Ok((text, changed))
}

/// Replaces it; empty text brings back the built-in one.
pub(crate) async fn set(shared: &Shared, text: &str) -> Result<(), StudioError> {
    if text.len() > MAX_TEXT {
        return Err(invalid(format!("The suite has {} bytes; the limit is {MAX_TEXT}.", text.len())));
    }
    let suite = if text.trim().is_empty() {
        None
    } else {
        Some(Suite::parse(text).map_err(|error| invalid(error.to_string()))?)
    };
    shared.store.set_setting(&key(shared), &suite).await
}

/// Adds a visitor's prompt, with `{trigger}` in place of the trigger words of its adapters. It stays private.
pub(crate) async fn add(shared: &Shared, recipe: &Recipe) -> Result<(), StudioError> {
    let mut suite = suite(shared).await?;
    let known = shared.store.all_adapters().await?;
    let used = &recipe.spec.adapters;
    let without_tags = lora_tag::without(&recipe.spec.prompt);
    let triggers = known
        .into_iter()
        .map(|listed| listed.version)
        .filter(|version| !version.trigger.is_empty() && used.iter().any(|used| used.name == version.id()));
    let words: Vec<&str> = without_tags.split_whitespace().collect();
    let mut prompt = words.join(" ");
    for version in triggers {
        prompt = with_trigger(&prompt, &version.trigger, TRIGGER);
    }
    suite.private.push(prompt.clone());
    suite.prompts.push(prompt);
    let text = toml::to_string(&suite).map_err(|error| StudioError::Storage(format!("TOML: {error}.")))?;
    set(shared, &text).await
}

fn invalid(message: String) -> StudioError {
    StudioError::invalid("suite", message)
}
