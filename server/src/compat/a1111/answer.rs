//! A1111's answers.

use adire_protocol::{Generation, GenerationSpec, GenerationState, Progress, Sampling};
use cookie::time::OffsetDateTime;
use serde_json::{Map, Value, json};

use super::lists::short;
use crate::compat::models::BASE;

/// `info` of `txt2img` and `img2img`: JSON as a string.
pub(crate) fn info(
    generation: &Generation,
    title: Option<&str>,
    model_hash: &str,
    notes: &[String],
) -> String {
    let spec = &generation.spec;
    let images = &generation.images;
    let seeds: Vec<u64> = images.iter().map(|image| image.recipe.spec.seed).collect();
    let texts: Vec<&str> = images.iter().map(|image| image.infotext.as_str()).collect();
    let each = |of: fn(&GenerationSpec) -> &String| {
        images.iter().map(|image| of(&image.recipe.spec)).collect::<Vec<_>>()
    };
    // Without variation, A1111 writes a random subseed that has no effect.
    let subseeds: Vec<u64> =
        images.iter().map(|image| image.recipe.spec.subseed.unwrap_or(image.recipe.spec.seed)).collect();
    let Sampling { sampler, schedule } = spec.sampling;
    let mut notes = notes.to_vec();
    notes.extend(generation.warnings.iter().cloned());
    json!({
        "prompt": spec.prompt,
        "all_prompts": each(|spec| &spec.prompt),
        "negative_prompt": spec.negative_prompt,
        "all_negative_prompts": each(|spec| &spec.negative_prompt),
        "seed": spec.seed,
        "all_seeds": seeds,
        "subseed": spec.subseed.unwrap_or(spec.seed),
        "all_subseeds": subseeds,
        "subseed_strength": spec.subseed_strength.unwrap_or_default(),
        "width": spec.width,
        "height": spec.height,
        "sampler_name": sampler.label(),
        "cfg_scale": spec.guidance,
        "steps": spec.steps,
        "batch_size": spec.count,
        "restore_faces": false,
        "face_restoration_model": null,
        "sd_model_name": title.unwrap_or(BASE),
        "sd_model_hash": short(model_hash),
        "sd_vae_name": null,
        "sd_vae_hash": null,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": spec.denoising_strength.or(spec.hires.as_ref().map(|it| it.denoising_strength)),
        "extra_generation_params": {"Schedule type": schedule.name()},
        "index_of_first_image": 0,
        "infotexts": texts,
        "styles": [],
        "job_timestamp": timestamp(generation.created_at),
        "clip_skip": spec.clip_skip,
        "is_using_inpainting_conditioning": false,
        "version": concat!("adire-", env!("CARGO_PKG_VERSION")),
        "adire": {
            "generation": generation.id,
            "page": generation.links.page,
            "interrupted": generation.state == GenerationState::Cancelled,
            "notes": notes,
        },
    })
    .to_string()
}

/// The request, in A1111's words. Not the body that came: clients put passwords into it.
pub(crate) fn parameters(generation: &Generation) -> Value {
    let spec = &generation.spec;
    json!({
        "prompt": spec.prompt, "negative_prompt": spec.negative_prompt, "seed": spec.seed,
        "subseed": spec.subseed.map_or(-1, |seed| seed as i64), "subseed_strength": spec.subseed_strength.unwrap_or_default(), "steps": spec.steps,
        "cfg_scale": spec.guidance, "width": spec.width, "height": spec.height, "batch_size": spec.count, "n_iter": 1,
        "sampler_name": spec.sampling.sampler.label(), "scheduler": spec.sampling.schedule.label(),
        "denoising_strength": spec.denoising_strength,
    })
}

/// How far a caller's generations are; the first of `active` is the one that is shown.
pub(crate) fn progress(active: &[Generation], with_image: bool) -> Value {
    let Some(first) = active.first() else { return idle() };
    let progress = first.progress.as_ref();
    let (image, images) = progress.map_or((0, first.spec.count), |it| (it.image, it.images.max(1)));
    let (step, steps) = progress.map_or((0, first.spec.total_steps()), |it| (it.step, it.steps.max(1)));
    let share = progress.map_or(0.0, Progress::fraction);
    let left = progress.map_or(first.wait_ms, |it| it.remaining_ms).unwrap_or_default();
    let preview = progress.and_then(|it| it.preview.as_deref()).filter(|_| with_image);
    let preview = preview.map(|preview| preview.rsplit_once(',').map_or(preview, |(_, data)| data));
    let text = match first.ahead {
        Some(ahead) if first.state == GenerationState::Queued => Some(format!("Waiting, {ahead} ahead")),
        _ => None,
    };
    json!({
        // A job that waits is not 0: some clients take that for idle.
        "progress": share.clamp(0.01, 0.99),
        "eta_relative": left as f64 / 1000.0,
        "state": {
            "skipped": false, "interrupted": false, "stopping_generation": false,
            "job": format!("Batch {} out of {images}", image + 1), "job_count": active.len(),
            "job_timestamp": timestamp(first.created_at), "job_no": image, "sampling_step": step,
            "sampling_steps": steps,
        },
        "current_image": preview,
        "textinfo": text,
    })
}

fn idle() -> Value {
    json!({
        "progress": 0.0,
        "eta_relative": 0.0,
        "state": {
            "skipped": false, "interrupted": false, "stopping_generation": false, "job": "", "job_count": 0,
            "job_timestamp": timestamp(0), "job_no": 0, "sampling_step": 0, "sampling_steps": 0,
        },
        "current_image": null,
        "textinfo": null,
    })
}

/// `20261128093000`.
fn timestamp(ms: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(ms.div_euclid(1000)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// An infotext as A1111's parsed form of it.
pub(crate) fn parsed(text: &str) -> Map<String, Value> {
    let Some(request) = adire_protocol::infotext::parse(text) else { return Map::new() };
    let sampling = request.sampling();
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let values = [
        ("Prompt", Some(request.prompt)),
        ("Negative prompt", Some(request.negative_prompt)),
        ("Steps", number(request.steps.map(u64::from))),
        ("Sampler", sampling.map(|it| it.sampler.label().to_owned())),
        ("Schedule type", sampling.map(|it| it.schedule.label().to_owned())),
        ("CFG scale", request.guidance.map(|guidance| guidance.to_string())),
        ("Seed", number(request.seed)),
        ("Variation seed", number(request.subseed)),
        ("Variation seed strength", request.subseed_strength.map(|strength| strength.to_string())),
        ("Size-1", number(request.width.map(u64::from))),
        ("Size-2", number(request.height.map(u64::from))),
        ("Clip skip", number(request.clip_skip.map(u64::from))),
        ("Denoising strength", request.denoising_strength.map(|strength| strength.to_string())),
    ];
    values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_a1111_writes_them() {
        assert_eq!(timestamp(0), "19700101000000");
        assert_eq!(timestamp(1_795_824_000_123), "20261128000000");
    }

    #[test]
    fn infotexts_are_parsed_into_words() {
        let text = "moons\nNegative prompt: mud\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 5, Size: 64x32";
        let parsed = parsed(text);
        for (name, value) in
            [("Prompt", "moons"), ("Seed", "5"), ("Size-2", "32"), ("Schedule type", "Karras")]
        {
            assert_eq!(parsed[name], value, "{parsed:?}");
        }
    }
}
