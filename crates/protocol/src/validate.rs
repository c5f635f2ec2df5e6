//! Validation: turns a [`GenerationRequest`] into a [`GenerationSpec`] with every field checked and set.

use crate::{
    AdapterRef, Defaults, FieldError, GenerationRequest, GenerationSpec, Limits, Pass, Sampling,
    ValidationError, decimal::Decimal, fields::FIELDS, hires::FirstPass, lora_tag, text::is_hash,
};

impl GenerationRequest {
    /// Checks every field against `limits` and fills absent ones from `defaults`; `random_seed` is used when the
    /// request has no seed.
    ///
    /// # Errors
    /// Every invalid field, each with a sentence.
    pub fn validate(
        self,
        limits: &Limits,
        defaults: &Defaults,
        random_seed: u64,
    ) -> Result<GenerationSpec, ValidationError> {
        let mut errors = Vec::new();
        let mut wrong = |field: &str, message: String| {
            errors.push(FieldError { field: field.to_owned(), message });
        };

        let prompt = self.prompt.trim();
        for (field, what, text) in [
            ("prompt", "prompt", prompt),
            ("negative_prompt", "negative prompt", self.negative_prompt.trim()),
        ] {
            let chars = text.chars().count();
            if chars > limits.prompt_chars as usize {
                let most = limits.prompt_chars;
                wrong(field, format!("The {what} has {chars} characters; the limit is {most}."));
            }
        }
        let sampling = Sampling::requested(self.sampler, self.schedule, defaults.sampling);
        let sampler = sampling.sampler;
        if !sampling.is_supported() {
            let names = sampler.schedules().iter().map(|schedule| schedule.label()).collect::<Vec<_>>();
            let (label, schedule) = (sampler.label(), sampling.schedule.label());
            wrong(
                "schedule",
                format!("{label} runs on the schedule {}; got {schedule}.", names.join(" or ")),
            );
        }
        let has_init_image = self.init_image.is_some();
        let mut filled = self.clone();
        filled.seed.get_or_insert(random_seed & 0xffff_ffff);
        // From other bits than the seed.
        filled.subseed.get_or_insert((random_seed >> 24) & 0xffff_ffff);
        let most_steps = sampler.most_steps().map_or(limits.steps, |most| most.min(limits.steps));
        let of_sampler = Limits { steps: most_steps, ..limits.clone() };
        for field in FIELDS.iter().filter(|field| has_init_image || field.name != "denoising_strength") {
            let is_capped = field.name == "steps" && most_steps < limits.steps;
            // Defaults of the hires pass depend on the base pass.
            if !field.name.starts_with("hires.")
                && let Some(slot) = field.slot(&mut filled)
            {
                slot.fill((field.default)(defaults));
            }
            match field.problem(&mut filled, if is_capped { &of_sampler } else { limits }) {
                Some(problem) if is_capped => {
                    wrong(field.name, problem.replacen(';', &format!(" with {};", sampler.label()), 1));
                }
                Some(problem) => wrong(field.name, problem),
                None => {}
            }
        }
        let varied = filled.subseed_strength.filter(|strength| *strength > 0.0);
        let spec = GenerationSpec::of_filled(&filled);
        let (steps, width, height) = (spec.steps, spec.width, spec.height);
        let mut adapters: Vec<_> = self.adapters.into_iter().filter(|adapter| !adapter.in_prompt).collect();
        let listed = adapters.len();
        for tag in lora_tag::find(prompt) {
            match tag.adapter {
                Ok(adapter) => adapters.push(adapter),
                Err(message) => wrong("prompt", message),
            }
        }
        if adapters.len() > limits.adapters as usize {
            let (n, most) = (adapters.len(), limits.adapters);
            wrong("adapters", format!("{n} adapters requested; the limit is {most}."));
        }
        for (i, adapter) in adapters.iter().enumerate() {
            let field = |part: &str| match i < listed {
                true => format!("adapters[{i}].{part}"),
                false => "prompt".to_owned(),
            };
            if let Err(error) = adapter.name.parse::<AdapterRef>() {
                wrong(&field("name"), format!("{error}."));
            }
            let most = limits.strength;
            for (part, strength) in
                [("strength", Some(adapter.strength)), ("te_strength", adapter.te_strength)]
            {
                if strength.is_some_and(|strength| !(strength.is_finite() && strength.abs() <= most)) {
                    let shown: String = adapter.name.chars().take(80).collect();
                    let (most, strength) = (Decimal(most), Decimal(strength.unwrap_or_default()));
                    wrong(
                        &field(part),
                        format!("Strength of {shown} must be −{most} to {most}; got {strength}."),
                    );
                }
            }
        }
        for (field, hash) in [("init_image", &self.init_image), ("mask", &self.mask)] {
            if hash.as_deref().is_some_and(|hash| !is_hash(hash)) {
                let rule = "64 lower-case hex digits, as POST /api/v1/uploads returns them";
                wrong(field, format!("{field} must be an image hash: {rule}."));
            }
        }
        if self.init_image.is_none() {
            let dependent = [
                ("mask", self.mask.is_some()),
                ("denoising_strength", self.denoising_strength.is_some()),
                ("keep_unmasked", self.keep_unmasked.is_some()),
            ];
            for (field, _) in dependent.into_iter().filter(|(_, given)| *given) {
                wrong(field, format!("{field} needs an init_image."));
            }
        }
        let strength = filled.denoising_strength.filter(|_| has_init_image);
        if let Some(strength) = strength {
            let in_range = (0.0..=1.0).contains(&strength);
            if in_range && steps > 0 && steps <= most_steps && Pass::of_strength(steps, strength).steps() == 0
            {
                let message = format!(
                    "Denoising strength {} leaves none of {steps} steps to run; raise either.",
                    Decimal(strength)
                );
                wrong("denoising_strength", message);
            }
            if self.hires.is_some() {
                let message = "hires cannot be combined with init_image; set width and height instead.";
                wrong("hires", message.to_owned());
            }
        }
        let first = FirstPass { width, height, steps, longest: sampler.most_steps() };
        let hires = self.hires.filter(|_| strength.is_none());
        let hires = hires.map(|hires| hires.complete(limits, &first, &mut wrong));
        if !errors.is_empty() {
            return Err(ValidationError(errors));
        }
        Ok(GenerationSpec {
            prompt: prompt.to_owned(),
            negative_prompt: self.negative_prompt.trim().to_owned(),
            subseed: filled.subseed.filter(|_| varied.is_some()),
            subseed_strength: varied,
            sampling,
            adapters,
            keep_unmasked: self.mask.is_some().then(|| self.keep_unmasked.unwrap_or(true)),
            init_image: self.init_image,
            mask: self.mask,
            denoising_strength: strength,
            hires,
            ..spec
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AdapterUse, HiresRequest, Sampler};

    fn defaults() -> Defaults {
        Defaults { steps: 20, guidance: 5.0, width: 256, height: 256, sampling: Sampler::Dpmpp2m.automatic() }
    }

    fn check(change: impl FnOnce(&mut GenerationRequest)) -> Result<GenerationSpec, Vec<String>> {
        let mut request = GenerationRequest { prompt: "red moons".to_owned(), ..Default::default() };
        change(&mut request);
        request
            .validate(&Limits::default(), &defaults(), 7)
            .map_err(|e| e.0.into_iter().map(|e| e.field).collect())
    }

    #[test]
    fn a_bare_prompt_gets_the_defaults() {
        let spec = check(|_| ()).unwrap();
        assert_eq!((spec.seed, spec.steps, spec.guidance, spec.width, spec.count), (7, 20, 5.0, 256, 1));
    }

    #[test]
    fn an_empty_prompt_is_a_prompt() {
        assert_eq!(check(|r| r.prompt = "  ".to_owned()).map(|spec| spec.prompt), Ok(String::new()));
    }

    #[test]
    fn each_out_of_range_value_names_its_field() {
        let field = |f: &str| Err(vec![f.to_owned()]);
        assert_eq!(check(|r| r.prompt = "x".repeat(10_000)), field("prompt"));
        assert_eq!(check(|r| r.negative_prompt = "x".repeat(10_000)), field("negative_prompt"));
        assert_eq!(check(|r| r.width = Some(513)), field("width"));
        assert_eq!(check(|r| r.height = Some(0)), field("height"));
        assert_eq!(check(|r| r.steps = Some(0)), field("steps"));
        assert_eq!(check(|r| r.steps = Some(1_000_000_000)), field("steps"));
        assert_eq!(check(|r| (r.steps, r.sampler) = (Some(51), Some(Sampler::Lcm.into()))), field("steps"));
        assert_eq!(check(|r| r.guidance = Some(f64::NAN)), field("guidance"));
        assert_eq!(check(|r| r.guidance = Some(-1.0)), field("guidance"));
        assert_eq!(check(|r| r.count = Some(0)), field("count"));
        assert_eq!(check(|r| r.seed = Some(u64::MAX)), field("seed"));
        assert_eq!(check(|r| r.subseed = Some(u64::MAX)), field("subseed"));
        assert_eq!(check(|r| r.subseed_strength = Some(1.1)), field("subseed_strength"));
        assert_eq!(check(|r| r.subseed_strength = Some(f64::NAN)), field("subseed_strength"));
        let adapter = |name: &str, strength| vec![AdapterUse::new(name, strength)];
        for strength in [-5.0, 4.0, 5.0] {
            check(|r| r.adapters = adapter("a", strength)).unwrap();
        }
        assert_eq!(check(|r| r.adapters = adapter("a", 1e9)), field("adapters[0].strength"));
        assert_eq!(check(|r| r.adapters = adapter("a", f64::NAN)), field("adapters[0].strength"));
        assert_eq!(check(|r| r.adapters = adapter("../a", 1.0)), field("adapters[0].name"));
        assert_eq!(check(|r| r.adapters = vec![AdapterUse::new("a", 1.0); 9]), field("adapters"));
        let te = AdapterUse { te_strength: Some(-5.5), ..AdapterUse::new("a", 1.0) };
        assert_eq!(check(|r| r.adapters = vec![te]), field("adapters[0].te_strength"));
        assert_eq!(check(|r| r.clip_skip = Some(0)), field("clip_skip"));
        assert_eq!(check(|r| r.clip_skip = Some(13)), field("clip_skip"));
        assert_eq!(check(|r| r.prompt = "a <lora:x:5.5>".to_owned()), field("prompt"));
        assert_eq!(check(|r| r.prompt = "a <lora:x:y>".to_owned()), field("prompt"));
        assert_eq!(check(|r| r.prompt = "a <lora:../x>".to_owned()), field("prompt"));
        assert_eq!(check(|r| r.prompt = "<lora:x>".repeat(9)), field("adapters"));
    }

    #[test]
    fn tags_join_the_adapters_and_stay_in_the_prompt() {
        let spec = check(|r| {
            r.prompt = "red <lora:x:0.5:1> moons".to_owned();
            r.adapters = vec![AdapterUse::new("y", 0.25)];
        })
        .unwrap();
        assert_eq!(spec.prompt, "red <lora:x:0.5:1> moons");
        let x = AdapterUse { te_strength: Some(0.5), in_prompt: true, ..AdapterUse::new("x", 1.0) };
        assert_eq!(spec.adapters, [AdapterUse::new("y", 0.25), x.clone()]);

        // A spec can be requested again, even by a client that copies the whole adapter list.
        let mut again = GenerationRequest::from(spec.clone());
        assert_eq!(again.adapters, [AdapterUse::new("y", 0.25)]);
        again.adapters.push(x);
        assert_eq!(again.validate(&Limits::default(), &defaults(), 0), Ok(spec));
    }

    #[test]
    fn a_variation_has_a_seed_of_its_own_and_survives_the_request() {
        assert_eq!(check(|r| (r.subseed, r.subseed_strength) = (Some(5), Some(0.0))).unwrap().subseed, None);
        let request = GenerationRequest { subseed_strength: Some(0.25), ..Default::default() };
        let random = 0x1234_5678_9abc_def0;
        let spec = request.validate(&Limits::default(), &defaults(), random).unwrap();
        assert_eq!((spec.seed, spec.subseed), (0x9abc_def0, Some(0x3456_789a)));
        let again = GenerationRequest::from(spec.clone()).validate(&Limits::default(), &defaults(), 0);
        assert_eq!(again, Ok(spec));
    }

    #[test]
    fn clip_skip_defaults_to_1() {
        assert_eq!(check(|_| ()).unwrap().clip_skip, 1);
        assert_eq!(check(|r| r.clip_skip = Some(2)).unwrap().clip_skip, 2);
        let row = serde_json::to_value(check(|_| ()).unwrap()).unwrap();
        let mut old = row.as_object().unwrap().clone();
        old.remove("clip_skip");
        let spec: GenerationSpec = serde_json::from_value(old.into()).unwrap();
        assert_eq!(spec.clip_skip, 1);
    }

    #[test]
    fn an_init_image_sets_denoising_strength_and_allows_a_mask() {
        let hash = || Some("ab".repeat(32));
        let spec = check(|r| r.init_image = hash()).unwrap();
        assert_eq!((spec.denoising_strength, spec.keep_unmasked, spec.total_steps()), (Some(0.75), None, 15));
        let masked =
            check(|r| (r.init_image, r.mask, r.denoising_strength) = (hash(), hash(), Some(1.0))).unwrap();
        assert_eq!((masked.keep_unmasked, masked.total_steps()), (Some(true), 20));
        let again = GenerationRequest::from(masked.clone()).validate(&Limits::default(), &defaults(), 0);
        assert_eq!(again, Ok(masked));

        let field = |f: &str| Err(vec![f.to_owned()]);
        assert_eq!(check(|r| r.mask = hash()), field("mask"));
        assert_eq!(check(|r| r.denoising_strength = Some(0.5)), field("denoising_strength"));
        assert_eq!(check(|r| r.keep_unmasked = Some(true)), field("keep_unmasked"));
        for strength in [2.0, -0.1, f64::NAN, 0.0, 0.04] {
            let found = check(|r| (r.init_image, r.denoising_strength) = (hash(), Some(strength)));
            assert_eq!(found, field("denoising_strength"), "{strength}");
        }
        for hash in ["", "../../etc/passwd", &"AB".repeat(32), &"ab".repeat(33)] {
            assert_eq!(check(|r| r.init_image = Some(hash.to_owned())), field("init_image"), "{hash}");
        }
    }

    #[test]
    fn a_second_pass_is_completed_and_checked() {
        let hires = |change: fn(&mut HiresRequest)| {
            let mut hires = HiresRequest::default();
            change(&mut hires);
            check(|r| r.hires = Some(hires))
        };
        let spec = hires(|_| ()).unwrap();
        assert_eq!((spec.final_size(), spec.total_steps()), ((512, 512), 40));
        let again = GenerationRequest::from(spec.clone()).validate(&Limits::default(), &defaults(), 0);
        assert_eq!(again, Ok(spec));
        let spec =
            hires(|h| (h.scale, h.steps, h.denoising_strength) = (Some(1.3), Some(10), Some(0.5))).unwrap();
        assert_eq!((spec.final_size(), spec.total_steps()), ((328, 328), 30));
        assert_eq!(spec.hires.unwrap().pass(), Pass { schedule: 20, skip: 10 });
        let spec = hires(|h| (h.width, h.height) = (Some(256), Some(320))).unwrap();
        assert_eq!((spec.final_size(), spec.hires.unwrap().scale), ((256, 320), None));

        let field = |f: &str| Err(vec![f.to_owned()]);
        assert_eq!(hires(|h| h.scale = Some(1.0)), field("hires.scale"));
        assert_eq!(hires(|h| h.scale = Some(f64::NAN)), field("hires.scale"));
        assert_eq!(hires(|h| h.scale = Some(1e300)), field("hires.scale"));
        assert_eq!(
            hires(|h| h.scale = Some(9.0)),
            Err(vec!["hires.width".to_owned(), "hires.height".to_owned()])
        );
        assert_eq!(hires(|h| h.width = Some(512)), field("hires"));
        assert_eq!(
            hires(|h| (h.scale, h.width, h.height) = (Some(2.0), Some(512), Some(512))),
            field("hires")
        );
        assert_eq!(hires(|h| (h.width, h.height) = (Some(513), Some(512))), field("hires.width"));
        assert_eq!(hires(|h| (h.width, h.height) = (Some(512), Some(128))), field("hires.height"));
        assert_eq!(hires(|h| h.denoising_strength = Some(0.0)), field("hires.denoising_strength"));
        assert_eq!(hires(|h| h.denoising_strength = Some(1.5)), field("hires.denoising_strength"));
        assert_eq!(hires(|h| h.denoising_strength = Some(f64::NAN)), field("hires.denoising_strength"));
        assert_eq!(hires(|h| h.denoising_strength = Some(0.01)), field("hires.denoising_strength"));
        assert_eq!(hires(|h| h.steps = Some(0)), field("hires.steps"));
        assert_eq!(hires(|h| h.steps = Some(1000)), field("hires.steps"));
        let found =
            check(|r| (r.hires, r.init_image) = (Some(HiresRequest::default()), Some("ab".repeat(32))));
        assert_eq!(found, field("hires"));
    }

    #[test]
    fn all_errors_come_at_once() {
        let errors = check(|r| {
            r.prompt = "x".repeat(10_000);
            r.width = Some(7);
            r.steps = Some(0);
        });
        assert_eq!(errors, Err(vec!["prompt".to_owned(), "steps".to_owned(), "width".to_owned()]));
    }
}
