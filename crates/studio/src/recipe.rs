//! A recipe from an image file, as a request that this server takes.

use std::sync::Arc;

use adire_protocol::{GenerationRequest, lora_tag};

use crate::{StudioError, adapters::resolve, png::read_request, shared::Shared, tasks::blocking, uploads};

/// Most rounds in which a request is mended; one field may hide another.
const MAX_ROUNDS: usize = 8;

/// The request in a file as it stands there.
pub(crate) async fn read(file: impl AsRef<[u8]> + Send + 'static) -> Result<GenerationRequest, StudioError> {
    // Inflating a large text takes a moment; other requests should not wait for it.
    blocking(move || read_request(file.as_ref())).await
}

/// What of a request this server takes. Whatever it would refuse is left out, with a sentence in `warnings`.
pub(crate) async fn acceptable(
    shared: &Arc<Shared>,
    mut request: GenerationRequest,
) -> Result<GenerationRequest, StudioError> {
    let model = &shared.model;
    if request.init_image.is_none()
        && let Some(strength) = request.denoising_strength.take()
    {
        request.warnings.push(format!(
            "Denoising strength {strength} was dropped: the file does not include its init image. Upload it and set init_image together with denoising_strength."
        ));
    }
    leave_out_unknown_adapters(shared, &mut request).await?;
    for _ in 0..MAX_ROUNDS {
        let defaults = match uploads::defaults_for(shared, &request).await {
            Ok(defaults) => defaults,
            Err(StudioError::Invalid(errors)) => {
                errors.0.iter().for_each(|error| leave_out(&mut request, &error.field, &error.message));
                continue;
            }
            Err(error) => return Err(error),
        };
        let Err(errors) = request.clone().validate(&model.limits, &defaults, 0) else { return Ok(request) };
        // Later adapters first: those before them keep their places.
        for error in errors.0.iter().rev() {
            leave_out(&mut request, &error.field, &error.message);
        }
        let most = model.limits.prompt_chars as usize;
        for text in [&mut request.prompt, &mut request.negative_prompt] {
            *text = text.trim().chars().take(most).collect();
        }
        request.adapters.truncate(model.limits.adapters as usize);
    }
    Ok(request)
}

/// Takes a field out that would be refused, and says so.
fn leave_out(request: &mut GenerationRequest, field: &str, why: &str) {
    let mut kept_in_part = false;
    match field {
        "seed" => request.seed = None,
        "steps" => request.steps = None,
        "guidance" => request.guidance = None,
        "width" => request.width = None,
        "height" => request.height = None,
        "count" => request.count = None,
        "clip_skip" => request.clip_skip = None,
        "denoising_strength" => request.denoising_strength = None,
        "keep_unmasked" => request.keep_unmasked = None,
        "mask" => (request.mask, request.keep_unmasked) = (None, None),
        "init_image" => {
            (request.init_image, request.denoising_strength) = (None, None);
            (request.mask, request.keep_unmasked) = (None, None);
        }
        // Too long, or with a tag that is wrong.
        "prompt" => {
            kept_in_part = true;
            let tags = lora_tag::find(&request.prompt);
            if tags.iter().any(|tag| tag.adapter.is_err()) || why.contains("strength") {
                request.prompt = lora_tag::without(&request.prompt).into_owned();
            }
        }
        "negative_prompt" | "adapters" => kept_in_part = true,
        field if field.starts_with("hires") => request.hires = None,
        field => {
            let index = field.strip_prefix("adapters[").and_then(|rest| rest.split_once(']'));
            if let Some(index) = index.and_then(|(index, _)| index.parse::<usize>().ok())
                && index < request.adapters.len()
            {
                request.adapters.remove(index);
            }
        }
    }
    let left = if kept_in_part { "was shortened" } else { "was left out" };
    let note = format!("{why} It {left}.");
    if !request.warnings.contains(&note) {
        request.warnings.push(note);
    }
}

/// Takes adapters out that this server does not have, in the list and in the prompt's tags.
async fn leave_out_unknown_adapters(
    shared: &Shared,
    request: &mut GenerationRequest,
) -> Result<(), StudioError> {
    let tags = lora_tag::find(&request.prompt);
    if request.adapters.is_empty() && tags.is_empty() {
        return Ok(());
    }
    let known = shared.store.adapters().await?;
    let mut missing = Vec::new();
    request.adapters.retain(|adapter| {
        let is_here = resolve(&known, &adapter.name).is_ok();
        if !is_here {
            missing.push(adapter.name.clone());
        }
        is_here
    });
    let mut prompt = request.prompt.clone();
    for tag in tags.into_iter().rev() {
        let name = &request.prompt[tag.name.clone()];
        if resolve(&known, name.trim()).is_err() {
            missing.push(name.to_owned());
            prompt.replace_range(tag.range, "");
        }
    }
    request.prompt = prompt;
    for name in missing {
        let name: String = name.chars().take(80).collect();
        request.warnings.push(format!("Adapter {name} is not installed here and was skipped."));
    }
    Ok(())
}
