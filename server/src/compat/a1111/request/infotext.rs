//! The field `infotext`: parameters as text, for what the request leaves out.

use adire_protocol::{GenerationRequest, infotext::parse};

/// Takes over what a request does not have itself; the denoising strength for one `with_image`, a hires pass where
/// `with_hires` says so. Adapters come with the prompt, whose tags named them.
pub(super) fn fill(
    request: &mut GenerationRequest,
    text: &str,
    with_image: bool,
    with_hires: bool,
    notes: &mut Vec<String>,
) {
    let Some(read) = parse(text) else { return };
    if request.prompt.is_empty() {
        request.prompt = read.prompt;
        request.adapters = read.adapters;
    }
    if request.negative_prompt.is_empty() {
        request.negative_prompt = read.negative_prompt;
    }
    if request.sampler.is_none() {
        request.sampler = read.sampler;
        request.schedule = request.schedule.or(read.schedule);
    }
    request.seed = request.seed.or(read.seed);
    request.subseed = request.subseed.or(read.subseed);
    request.subseed_strength = request.subseed_strength.or(read.subseed_strength);
    request.steps = request.steps.or(read.steps);
    request.guidance = request.guidance.or(read.guidance);
    request.rng = request.rng.or(read.rng);
    request.width = request.width.or(read.width);
    request.height = request.height.or(read.height);
    request.clip_skip = request.clip_skip.or(read.clip_skip);
    if with_image {
        request.denoising_strength = request.denoising_strength.or(read.denoising_strength);
    }
    if with_hires {
        request.hires = request.hires.take().or(read.hires);
    }
    notes.extend(read.unknown.into_iter().map(|what| format!("Not used of infotext: {what}.")));
    notes.extend(read.warnings);
}
