//! The records that the page receives, field by field. A record with a field that is not listed does not compile.

use adire_protocol::{
    AdapterUse, AdapterVersion, Defaults, EmbeddingUse, ExamplePrompt, FieldError, Generation,
    GenerationRequest, GenerationSpec, GenerationState, HiresRequest, HiresSpec, HiresUpscaler, ImageRecord,
    Limits, Links, ModelInfo, Progress, Prompts, QueueStatus, Rating, Recipe, Rng, SamplerName, Sampling,
    Schedule, Stage, Template, Thumb, Upload, VaeUse, WaitReason,
};

use super::{Value, Wire, or_wrong};

/// `Record { field, field as "key", field as flattened, … }`
macro_rules! records {
    ($($record:ident { $($field:ident $(as $key:tt)?),* $(,)? })*) => {$(
        impl $crate::thin::wire::Wire for $record {
            fn take(value: &$crate::thin::wire::Value, wrong: &mut bool) -> Self {
                Self {
                    $($field: $crate::thin::wire::Wire::take(
                        &$crate::thin::wire::records!(@of value $field $($key)?), wrong
                    )),*
                }
            }
        }
    )*};
    (@of $value:ident $field:ident) => { $value.get(stringify!($field)) };
    (@of $value:ident $field:ident flattened) => { $value };
    (@of $value:ident $field:ident $key:literal) => { $value.get($key) };
}
pub(crate) use records;

records! {
    ModelInfo {
        name, hash, device, dtype, native_size, prompt_tokens, defaults, limits, example_prompts,
        safety_checker, vae,
    }
    VaeUse { name, hash }
    EmbeddingUse { word, hash }
    Defaults { steps, guidance, width, height, sampling as flattened }
    Limits {
        prompt_chars, steps, guidance, min_size, max_size, size_step, count, adapters, strength, clip_skip,
        hires_size,
    }
    ExamplePrompt { prompt }
    AdapterVersion { name, version, hash, description, trigger, bytes, created_at, warning, stage, aliases }
    QueueStatus { ahead, capacity, wait_ms, step_ms, fixed_ms }
    Generation {
        id, state, spec, created_at, started_at, finished_at, ahead, wait_ms, wait_reason, progress, images, error,
        warnings, links
    }
    Links { this as "self", events, page }
    Progress { image, images, batch, step, steps, remaining_ms, preview }
    ImageRecord { hash, url, generation, index, created_at, recipe, infotext }
    Recipe {
        spec, adapter_hashes, embeddings, vae, model, model_hash, device, dtype, version, fingerprint, withheld, seconds,
        switch_seconds, warnings,
    }
    GenerationSpec {
        prompt, negative_prompt, seed, subseed, subseed_strength, rng, steps, guidance, sampling as flattened, width, height,
        count, clip_skip, adapters, init_image, mask, denoising_strength, keep_unmasked, hires, template,
    }
    GenerationRequest {
        prompt, negative_prompt, seed, subseed, subseed_strength, per_line, steps, guidance, sampler, schedule, rng, width, height, count, clip_skip,
        adapters, init_image, mask, denoising_strength, keep_unmasked, hires, strict, unknown, warnings,
    }
    Template { prompt, negative_prompt, per_line, images }
    Prompts { prompt, negative_prompt }
    AdapterUse { name, strength, te_strength, in_prompt }
    HiresSpec { scale, width, height, denoising_strength, steps, upscaler }
    HiresRequest { scale, width, height, denoising_strength, steps, upscaler }
    Upload { hash, width, height, warnings }
    Rating { starred, thumb }
    FieldError { field, message }
}

/// Names that the server writes as text.
macro_rules! named {
    ($($record:ident)*) => {$(
        impl Wire for $record {
            fn take(value: &Value, wrong: &mut bool) -> Self {
                or_wrong(value.text().and_then(|text| text.parse().ok()), wrong)
            }
        }
    )*};
}

named! { SamplerName Schedule Rng HiresUpscaler }

impl Wire for Sampling {
    fn take(value: &Value, wrong: &mut bool) -> Self {
        Self::named(Wire::take(&value.get("sampler"), wrong), Wire::take(&value.get("schedule"), wrong))
    }
}

impl Wire for Stage {
    fn take(value: &Value, wrong: &mut bool) -> Self {
        or_wrong(value.text().and_then(|text| Self::from_word(&text)), wrong)
    }
}

impl Wire for Thumb {
    fn take(value: &Value, wrong: &mut bool) -> Self {
        let found = match value.text().as_deref() {
            Some("up") => Some(Self::Up),
            Some("down") => Some(Self::Down),
            _ => None,
        };
        *wrong |= found.is_none();
        found.unwrap_or(Self::Up)
    }
}

impl Wire for WaitReason {
    fn take(value: &Value, wrong: &mut bool) -> Self {
        let text = value.text();
        let found = Self::ALL.into_iter().find(|reason| text.as_deref() == Some(reason.name()));
        *wrong |= found.is_none();
        found.unwrap_or(Self::OtherGenerations)
    }
}

impl Wire for GenerationState {
    fn take(value: &Value, wrong: &mut bool) -> Self {
        use GenerationState::{Cancelled, Done, Failed, Queued, Running};
        let text = value.text();
        let found = [Queued, Running, Done, Failed, Cancelled]
            .into_iter()
            .find(|state| text.as_deref() == Some(state.name()));
        *wrong |= found.is_none();
        found.unwrap_or(Failed)
    }
}

#[cfg(test)]
mod tests {
    use adire_protocol::Sampler;
    use serde::Serialize;

    use super::*;
    use crate::api::StudioData;

    fn same<T: Wire + Serialize + PartialEq + std::fmt::Debug>(written: &T) {
        let text = serde_json::to_string(written).unwrap();
        assert_eq!(Value::parse(&text).unwrap().read::<T>().as_ref(), Some(written), "{text}");
    }

    fn model() -> ModelInfo {
        ModelInfo {
            name: "m".to_owned(),
            hash: "h".to_owned(),
            device: "cpu".to_owned(),
            dtype: "f32".to_owned(),
            native_size: 256,
            prompt_tokens: 75,
            defaults: Defaults {
                steps: 20,
                guidance: 5.5,
                width: 256,
                height: 320,
                sampling: Sampler::Lcm.into(),
            },
            limits: Limits { clip_skip: 4, hires_size: 1536, ..Limits::default() },
            example_prompts: vec![ExamplePrompt { prompt: "“moons”".to_owned() }],
            safety_checker: true,
            vae: Some(VaeUse { name: "v".to_owned(), hash: "vh".to_owned() }),
        }
    }

    fn spec() -> GenerationSpec {
        let request = GenerationRequest {
            prompt: "moons <lora:a@v1:0.5:1>".to_owned(),
            negative_prompt: "blur".to_owned(),
            seed: Some((1 << 53) - 9),
            rng: Some(Rng::Cuda),
            adapters: vec![AdapterUse::new("b@v2", -0.25)],
            subseed: Some(7),
            subseed_strength: Some(0.25),
            hires: Some(HiresRequest { upscaler: Some(HiresUpscaler::Image), ..Default::default() }),
            ..Default::default()
        };
        let model = model();
        request.validate(&model.limits, &model.defaults, 0).unwrap()
    }

    fn image() -> ImageRecord {
        let begun = GenerationSpec {
            init_image: Some("ab".repeat(32)),
            mask: Some("cd".repeat(32)),
            denoising_strength: Some(0.5),
            keep_unmasked: Some(false),
            hires: None,
            template: Some(Template {
                prompt: "{a|b}".to_owned(),
                per_line: true,
                images: vec![Prompts { prompt: "a".to_owned(), negative_prompt: "b".to_owned() }],
                ..Default::default()
            }),
            ..spec()
        };
        let recipe = Recipe {
            spec: begun,
            adapter_hashes: vec!["h".to_owned()],
            embeddings: vec![EmbeddingUse { word: "w".to_owned(), hash: "e".to_owned() }],
            vae: None,
            model: "m".to_owned(),
            model_hash: "mh".to_owned(),
            device: "cpu".to_owned(),
            dtype: "f32".to_owned(),
            version: "0.1".to_owned(),
            fingerprint: "f".to_owned(),
            withheld: true,
            seconds: 1.25,
            switch_seconds: 0.01,
            warnings: Vec::new(),
        };
        ImageRecord {
            hash: "h".to_owned(),
            url: "/u".to_owned(),
            generation: "g".to_owned(),
            index: 3,
            created_at: 1_700_000_000_123,
            recipe,
            infotext: "moons\nSteps: 3".to_owned(),
        }
    }

    fn generation() -> Generation {
        let progress = Progress {
            image: 1,
            images: 2,
            batch: 1,
            step: 3,
            steps: 20,
            remaining_ms: Some(900),
            preview: Some("data:".to_owned()),
        };
        Generation {
            id: "g".to_owned(),
            state: GenerationState::Running,
            spec: spec(),
            created_at: 1,
            started_at: Some(2),
            finished_at: None,
            ahead: None,
            wait_ms: Some(7),
            wait_reason: Some(WaitReason::OwnGenerations),
            progress: Some(progress),
            images: vec![image()],
            error: Some("No memory.".to_owned()),
            warnings: vec!["In part.".to_owned()],
            links: Links::of("g"),
        }
    }

    #[test]
    fn what_the_server_writes_is_read_as_it_was() {
        let adapter = AdapterVersion {
            name: "a".to_owned(),
            version: 2,
            hash: "h".to_owned(),
            description: "d".to_owned(),
            trigger: "t".to_owned(),
            bytes: 123_456_789_012,
            created_at: 5,
            warning: None,
            stage: Stage::Archived,
            aliases: vec!["stable".to_owned()],
        };
        let queue =
            QueueStatus { ahead: 1, capacity: 8, wait_ms: None, step_ms: Some(12.5), fixed_ms: Some(0.0) };
        same(&StudioData {
            model: model(),
            adapters: vec![adapter],
            embeddings: vec!["w".to_owned()],
            wildcards: vec!["colour".to_owned()],
            queue,
            history: vec![image()],
            more: true,
            named: Some(generation()),
            active: None,
            rating: Some(Rating { starred: true, thumb: Some(Thumb::Down) }),
            problem: Some("?".to_owned()),
            warning: None,
        });
        same(&Rating { starred: false, thumb: Some(Thumb::Up) });
        same(&Rating::default());
        same(&GenerationRequest::from(spec()));
        same(&GenerationRequest::from(image().recipe.spec));
        same(&GenerationRequest { prompt: "moons".to_owned(), ..Default::default() });
        same(&Upload { hash: "h".to_owned(), width: 3, height: 4, warnings: vec!["w".to_owned()] });
        same(&Upload { hash: "h".to_owned(), width: 3, height: 4, warnings: Vec::new() });
        let noted = vec!["ENSD: 1".to_owned()];
        same(&GenerationRequest { unknown: noted.clone(), warnings: noted, ..Default::default() });
        same(&FieldError { field: "prompt".to_owned(), message: "m".to_owned() });
    }

    #[test]
    fn every_name_is_known() {
        Sampling::ALL.map(SamplerName::from).iter().for_each(same);
        Sampling::ALL.iter().for_each(same);
        Schedule::ALL.iter().for_each(same);
        Rng::ALL.iter().for_each(same);
        [HiresUpscaler::Latent, HiresUpscaler::Image].iter().for_each(same);
        use GenerationState::{Cancelled, Done, Failed, Queued, Running};
        [Queued, Running, Done, Failed, Cancelled].iter().for_each(same);
    }

    #[test]
    fn what_is_missing_or_of_another_kind_is_no_record() {
        for text in [
            "null",
            "[]",
            "7",
            r#"{"hash":"h","width":3}"#,
            r#"{"hash":1,"width":3,"height":4}"#,
            r#"{"hash":"h","width":"3","height":4}"#,
        ] {
            assert_eq!(Value::parse(text).unwrap().read::<Upload>(), None, "{text}");
        }
        assert!(Value::parse("{").is_none());
        assert_eq!(Value::parse(r#""dreamsampler""#).unwrap().read::<SamplerName>(), None);
        assert_eq!(Value::parse(r#"[1, "2"]"#).unwrap().read::<Vec<u32>>(), None);
    }
}
