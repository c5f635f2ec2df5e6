//! How long prompts are: counted beside the worker, which may be busy for minutes.

use adire_protocol::{FieldError, GenerationSpec, TokenCount, ValidationError, lora_tag};

use crate::{StudioError, adapters::resolve, shared::Shared, tasks::blocking};

/// Bytes of prompts that are counted at once.
const SHORT: usize = 2_000;

/// The sizes of a prompt and a negative prompt. `adapters`, and those of the prompt's tags, may bundle embeddings.
pub(crate) async fn count(
    shared: &Shared,
    prompt: String,
    negative: String,
    mut adapters: Vec<String>,
) -> Result<(TokenCount, TokenCount), StudioError> {
    let most = shared.model.limits.prompt_chars;
    let mut errors = Vec::new();
    for (field, text) in [("prompt", &prompt), ("negative_prompt", &negative)] {
        let chars = text.chars().count();
        if chars > most as usize {
            let message = format!("The text has {chars} characters; the limit is {most}.");
            errors.push(FieldError { field: field.to_owned(), message });
        }
    }
    if !errors.is_empty() {
        return Err(StudioError::Invalid(ValidationError(errors)));
    }
    let (counter, bundled_words) = (shared.counter.clone(), shared.bundled_words.clone());
    let mut words: Vec<(String, u32)> =
        shared.store.embeddings().await?.into_iter().map(|one| (one.word, one.vectors)).collect();
    adapters.extend(lora_tag::find(&prompt).into_iter().filter_map(|tag| Some(tag.adapter.ok()?.name)));
    let known = if adapters.is_empty() { Vec::new() } else { shared.store.adapters().await? };
    let hashes = adapters.iter().filter_map(|name| Some(resolve(&known, name).ok()?.hash.clone()));
    // A file that is missing bundles nothing here; the image that needs it fails.
    let files: Vec<_> = shared.blobs.locals(hashes.collect()).await.into_iter().flatten().flatten().collect();
    // Of ordinary prompts without files a thread of its own takes longer than the count.
    let at_once = files.is_empty() && prompt.len() + negative.len() <= SHORT;
    let mut counts = move || {
        // A word of the admin's own comes first, as when an image is made.
        for (word, vectors) in files.iter().flat_map(|file| bundled_words(file)) {
            if !words.iter().any(|(known, _)| *known == word) {
                words.push((word, vectors));
            }
        }
        let count =
            |text: &str| counter(text, &words).map_err(|error| StudioError::Backend(error.to_string()));
        Ok((count(&lora_tag::without(&prompt))?, count(&negative)?))
    };
    if at_once { counts() } else { blocking(counts).await }
}

/// Refuses prompts with more chunks than the model reads, before they wait for their turn.
pub(crate) async fn check(shared: &Shared, spec: &GenerationSpec) -> Result<(), StudioError> {
    let adapters = spec.adapters.iter().map(|adapter| adapter.name.clone()).collect();
    let (positive, negative) =
        count(shared, spec.prompt.clone(), spec.negative_prompt.clone(), adapters).await?;
    let too_long = |field: &str, what: &str, count: TokenCount| {
        let TokenCount { tokens, chunks, most_chunks, .. } = count;
        (chunks > most_chunks).then(|| FieldError {
            field: field.to_owned(),
            message: format!(
                "The {what} has {tokens} tokens in {chunks} chunks; the limit is {most_chunks} chunks. Shorten it."
            ),
        })
    };
    let errors: Vec<_> =
        [too_long("prompt", "prompt", positive), too_long("negative_prompt", "negative prompt", negative)]
            .into_iter()
            .flatten()
            .collect();
    if errors.is_empty() { Ok(()) } else { Err(StudioError::Invalid(ValidationError(errors))) }
}
