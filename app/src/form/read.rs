//! From typed text to a request. Each invalid field gets an error with the expected value.

use std::{fmt::Display, str::FromStr};

use adire_protocol::{
    AdapterUse, Defaults, FieldError, GenerationRequest, HiresRequest, Limits, SamplerName,
};

use super::{FormValues, values::AUTOMATIC};
use crate::order;

impl FormValues {
    /// Reads and checks every field.
    ///
    /// # Errors
    /// All fields that are wrong, in the order of the form.
    pub(crate) fn check(
        &self,
        limits: &Limits,
        defaults: &Defaults,
    ) -> Result<GenerationRequest, Vec<FieldError>> {
        let (request, mut errors) = self.read(limits);
        if let Err(refused) = request.clone().validate(limits, defaults, 0) {
            // A field that cannot be read at all is absent from the request, so no field is named twice.
            errors.extend(refused.0.into_iter().map(|error| self.in_this_form(error)));
        }
        if errors.is_empty() {
            return Ok(request);
        }
        let mut in_order = Vec::new();
        for error in errors {
            order::insert(&mut in_order, error, |error| place(&error.field));
        }
        Err(in_order)
    }

    /// The valid fields as a request, and the errors of the others.
    fn read(&self, limits: &Limits) -> (GenerationRequest, Vec<FieldError>) {
        let mut errors = Vec::new();
        let up_to = |most: &dyn Display| format!("a whole number from 1 to {most}");
        let pixels = format!("a whole number from {} to {}", limits.min_size, limits.max_size);
        let number = |most: f64| format!("a number from 0 to {most}");
        let (width, height) = match self.size.split_once(['x', '×']) {
            Some((width, height)) => (width, height),
            None => (self.width.as_str(), self.height.as_str()),
        };
        let mut adapters = Vec::new();
        for (i, row) in self.adapters.iter().enumerate().filter(|(_, row)| row.is_on()) {
            let field = format!("adapters[{i}].strength");
            let expected = format!("a number from −{0} to {0}", limits.strength);
            let strength = read(&mut errors, &field, "The strength", &expected, &row.strength);
            adapters.push(AdapterUse::new(row.name.trim(), strength.unwrap_or(1.0)));
        }
        let sampler = read_name::<SamplerName>(&mut errors, "sampler", &self.sampler);
        let schedule = match self.schedule.as_str() {
            AUTOMATIC => sampler.map(|name| name.sampler.automatic().schedule),
            named => read_name(&mut errors, "schedule", named),
        };
        let share = "a number from 0 to 1";
        let given = |text: &String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let init_image = given(&self.init_image);
        let has_init_image = init_image.is_some();
        let request = GenerationRequest {
            prompt: self.prompt.clone(),
            strict: false,
            negative_prompt: self.negative_prompt.clone(),
            // −1 means a random seed in A1111.
            seed: match self.seed.trim() {
                "-1" | "−1" => None,
                typed => {
                    read(&mut errors, "seed", "The seed", "a whole number, or empty for a random one", typed)
                }
            },
            steps: read(&mut errors, "steps", "The number of steps", &up_to(&limits.steps), &self.steps),
            guidance: read(
                &mut errors,
                "guidance",
                "The guidance scale",
                &number(limits.guidance),
                &self.guidance,
            ),
            sampler,
            schedule,
            rng: read_name(&mut errors, "rng", &self.rng),
            width: read(&mut errors, "width", "The width", &pixels, width),
            height: read(&mut errors, "height", "The height", &pixels, height),
            count: read(&mut errors, "count", "The number of images", &up_to(&limits.count), &self.count),
            clip_skip: read(
                &mut errors,
                "clip_skip",
                "Clip skip",
                &up_to(&limits.clip_skip),
                &self.clip_skip,
            ),
            adapters,
            // These three need an init image; without one the form still holds them.
            mask: given(&self.mask).filter(|_| has_init_image),
            denoising_strength: has_init_image
                .then(|| {
                    read(
                        &mut errors,
                        "denoising_strength",
                        "The denoising strength",
                        share,
                        &self.denoising_strength,
                    )
                })
                .flatten(),
            keep_unmasked: (has_init_image && !self.mask.is_empty() && self.keep_unmasked == "false")
                .then_some(false),
            init_image,
            hires: self.read_hires(&mut errors, limits),
            unknown: Vec::new(),
            warnings: Vec::new(),
        };
        (request, errors)
    }

    /// Hires fix, where it is on.
    fn read_hires(&self, errors: &mut Vec<FieldError>, limits: &Limits) -> Option<HiresRequest> {
        let upscaler = read_name(errors, "hires", &self.hires)?;
        let mut hires = HiresRequest { upscaler: Some(upscaler), ..HiresRequest::default() };
        let (scale, what) = ("a factor above 1, or a size like 512x640", "The scale");
        match self.hires_scale.split_once(['x', '×']) {
            Some((width, height)) => {
                hires.width = read(errors, "hires_scale", what, scale, width);
                hires.height = read(errors, "hires_scale", what, scale, height);
            }
            None => hires.scale = read(errors, "hires_scale", what, scale, &self.hires_scale),
        }
        let share = "a number from 0 to 1";
        hires.strength =
            read(errors, "hires_strength", "The denoising strength", share, &self.hires_strength);
        let steps = format!("a whole number from 1 to {}, or empty for those of the base pass", limits.steps);
        hires.steps = read(errors, "hires_steps", "The number of steps", &steps, &self.hires_steps);
        Some(hires)
    }

    /// Maps a field of the request to one of the form, which also has the rows that are off.
    fn in_this_form(&self, error: FieldError) -> FieldError {
        if let Some(part) = error.field.strip_prefix("hires.") {
            let part = if matches!(part, "width" | "height") { "scale" } else { part };
            return FieldError { field: format!("hires_{part}"), ..error };
        }
        let Some((index, rest)) = error.field.strip_prefix("adapters[").and_then(|rest| rest.split_once(']'))
        else {
            return error;
        };
        let mut on = self.adapters.iter().enumerate().filter(|(_, row)| row.is_on()).map(|(row, _)| row);
        match index.parse().ok().and_then(|index| on.nth(index)) {
            Some(row) => FieldError { field: format!("adapters[{row}]{rest}"), ..error },
            None => error,
        }
    }
}

/// One of a few names, or nothing when the field is empty.
fn read_name<T: FromStr<Err: Display>>(errors: &mut Vec<FieldError>, field: &str, text: &str) -> Option<T> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    text.parse::<T>()
        .map_err(|error| errors.push(FieldError { field: field.to_owned(), message: sentence(error) }))
        .ok()
}

/// A number, or nothing when the field is empty. A decimal comma counts as a point, a real minus as a minus.
fn read<T: FromStr>(
    errors: &mut Vec<FieldError>,
    field: &str,
    what: &str,
    expected: &str,
    text: &str,
) -> Option<T> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let number = text.replace(',', ".").replace('−', "-").parse().ok();
    if number.is_none() {
        let shown: String = text.chars().take(40).collect();
        let message = format!("{what} must be {expected}; got “{shown}”.");
        errors.push(FieldError { field: field.to_owned(), message });
    }
    number
}

/// Capitalised, with a full stop.
fn sentence(error: impl Display) -> String {
    let text = error.to_string();
    let mut chars = text.chars();
    let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", chars.as_str())
}

/// Position of a field in the form.
fn place(field: &str) -> usize {
    const ORDER: [&str; 18] = [
        "prompt",
        "negative_prompt",
        "init_image",
        "mask",
        "denoising_strength",
        "keep_unmasked",
        "adapters",
        "seed",
        "steps",
        "guidance",
        "clip_skip",
        "width",
        "height",
        "sampler",
        "schedule",
        "rng",
        "count",
        "hires",
    ];
    ORDER.iter().position(|name| field.starts_with(name)).unwrap_or(ORDER.len())
}

#[cfg(test)]
mod tests {
    use adire_protocol::{HiresUpscaler, Rng, Sampler, Sampling, Schedule};

    use super::*;
    use crate::form::AdapterRow;

    fn check(change: impl FnOnce(&mut FormValues)) -> Result<GenerationRequest, Vec<(String, String)>> {
        let mut values = FormValues { prompt: "red moons".to_owned(), ..Default::default() };
        change(&mut values);
        let defaults = Defaults {
            steps: 20,
            guidance: 5.0,
            width: 256,
            height: 256,
            sampling: Sampler::Dpmpp2m.automatic(),
        };
        values
            .check(&Limits::default(), &defaults)
            .map_err(|errors| errors.into_iter().map(|e| (e.field, e.message)).collect())
    }

    #[test]
    fn a_bare_prompt_is_a_request() {
        let expected = GenerationRequest { prompt: "red moons".to_owned(), ..Default::default() };
        assert_eq!(check(|_| ()), Ok(expected));
    }

    #[test]
    fn a_request_survives_the_form() {
        let request = GenerationRequest {
            prompt: "red moons\nin rows".to_owned(),
            negative_prompt: "blur".to_owned(),
            seed: Some(9_007_199_254_740_000),
            steps: Some(12),
            guidance: Some(4.5),
            sampler: Some(Sampler::EulerA.into()),
            schedule: Some(Schedule::Normal),
            rng: Some(Rng::Cuda),
            width: Some(256),
            height: Some(384),
            count: Some(3),
            clip_skip: Some(2),
            adapters: vec![AdapterUse::new("adire@v2", -0.75)],
            ..GenerationRequest::default()
        };
        assert_eq!(check(|values| *values = FormValues::of_request(&request)), Ok(request));
    }

    #[test]
    fn every_sampler_and_schedule_survive_the_form() {
        for sampling in Sampling::ALL {
            let (sampler, schedule) = (Some(sampling.into()), Some(sampling.schedule));
            let request =
                GenerationRequest { prompt: "moons".to_owned(), sampler, schedule, ..Default::default() };
            let read = check(|values| *values = FormValues::of_request(&request)).unwrap();
            assert_eq!(read.sampling(), Some(sampling));
        }
        let automatic = |sampler: &str| {
            let request = check(|v| (v.sampler, v.schedule) = (sampler.to_owned(), AUTOMATIC.to_owned()));
            request.unwrap().sampling()
        };
        assert_eq!(automatic("dpmpp_2m"), Some(Sampler::Dpmpp2m.automatic()));
        assert_eq!(automatic("euler"), Some(Sampler::Euler.into()));
        let errors = check(|v| (v.sampler, v.schedule) = ("euler".to_owned(), "karras".to_owned()));
        assert_eq!(errors.unwrap_err()[0].0, "schedule");
    }

    #[test]
    fn an_init_image_and_a_hires_pass_survive_the_form() {
        let has_init_image = GenerationRequest {
            prompt: "moons".to_owned(),
            init_image: Some("ab".repeat(32)),
            mask: Some("cd".repeat(32)),
            denoising_strength: Some(0.4),
            keep_unmasked: Some(false),
            ..GenerationRequest::default()
        };
        assert_eq!(check(|values| *values = FormValues::of_request(&has_init_image)), Ok(has_init_image));
        let hires = |change: fn(&mut HiresRequest)| {
            let mut hires = HiresRequest { upscaler: Some(HiresUpscaler::Image), ..Default::default() };
            change(&mut hires);
            GenerationRequest { prompt: "moons".to_owned(), hires: Some(hires), ..Default::default() }
        };
        for request in [
            hires(|_| ()),
            hires(|h| (h.scale, h.steps, h.strength) = (Some(1.5), Some(9), Some(0.6))),
            hires(|h| (h.width, h.height) = (Some(384), Some(512))),
        ] {
            assert_eq!(check(|values| *values = FormValues::of_request(&request)), Ok(request));
        }
    }

    #[test]
    fn settings_of_an_init_image_are_left_out_without_one() {
        let request = check(|v| {
            (v.mask, v.denoising_strength, v.keep_unmasked) =
                ("cd".repeat(32), "much".to_owned(), "false".to_owned());
            (v.hires_scale, v.hires_steps) = ("2".to_owned(), "many".to_owned());
        });
        assert_eq!(request, check(|_| ()));
    }

    #[test]
    fn errors_of_hires_fix_are_shown_at_their_fields() {
        let field = |change: fn(&mut FormValues)| {
            let errors = check(|v| {
                v.hires = "latent".to_owned();
                change(v);
            })
            .unwrap_err();
            errors.into_iter().map(|(field, _)| field).collect::<Vec<_>>()
        };
        assert_eq!(field(|v| v.hires = "esrgan".to_owned()), ["hires"]);
        assert_eq!(field(|v| v.hires_scale = "big".to_owned()), ["hires_scale"]);
        assert_eq!(field(|v| v.hires_scale = "1".to_owned()), ["hires_scale"]);
        assert_eq!(field(|v| v.hires_scale = "513x512".to_owned()), ["hires_scale"]);
        assert_eq!(field(|v| v.hires_strength = "2".to_owned()), ["hires_strength"]);
        assert_eq!(field(|v| v.hires_steps = "0".to_owned()), ["hires_steps"]);
        assert_eq!(field(|v| v.init_image = "ab".repeat(32)), ["hires"]);
    }

    #[test]
    fn an_adapter_with_two_strengths_goes_into_the_prompt() {
        let apart = AdapterUse { te_strength: Some(0.5), ..AdapterUse::new("adire@v2", 1.0) };
        let request = GenerationRequest {
            prompt: "moons".to_owned(),
            adapters: vec![apart, AdapterUse::new("kente@v1", 0.5)],
            ..Default::default()
        };
        let read = check(|values| *values = FormValues::of_request(&request)).unwrap();
        assert_eq!(read.prompt, "moons <lora:adire@v2:0.5:1>");
        assert_eq!(read.adapters, [AdapterUse::new("kente@v1", 0.5)]);
    }

    #[test]
    fn the_chosen_shape_beats_the_custom_fields() {
        let size = |size: &str| {
            check(|v| {
                (v.size, v.width, v.height) = (size.to_owned(), "128".to_owned(), "192".to_owned());
            })
            .map(|r| (r.width, r.height))
        };
        assert_eq!(size("256x320"), Ok((Some(256), Some(320))));
        assert_eq!(size("custom"), Ok((Some(128), Some(192))));
        assert_eq!(size(""), Ok((Some(128), Some(192))));
    }

    #[test]
    fn decimal_commas_are_understood() {
        assert_eq!(check(|v| v.guidance = " 4,5 ".to_owned()).map(|r| r.guidance), Ok(Some(4.5)));
    }

    #[test]
    fn rows_that_are_off_are_left_out_and_errors_keep_the_row() {
        let row =
            |name: &str, strength: &str| AdapterRow { name: name.to_owned(), strength: strength.to_owned() };
        let request = check(|v| v.adapters = vec![row("", "oops"), row("adire@v1", "")]);
        assert_eq!(request.map(|r| r.adapters), Ok(vec![AdapterUse::new("adire@v1", 1.0)]));
        let errors = check(|v| v.adapters = vec![row("", ""), row("adire@v1", "much")]).unwrap_err();
        assert_eq!(
            errors,
            [(
                "adapters[1].strength".to_owned(),
                "The strength must be a number from −5 to 5; got “much”.".to_owned()
            )]
        );
    }

    #[test]
    fn a_strength_out_of_range_is_named_at_its_row() {
        let row =
            |name: &str, strength: &str| AdapterRow { name: name.to_owned(), strength: strength.to_owned() };
        let errors = check(|v| v.adapters = vec![row("", ""), row("adire@v1", "1e9")]).unwrap_err();
        assert_eq!(errors[0].0, "adapters[1].strength");
    }

    #[test]
    fn everything_wrong_comes_at_once_in_the_order_of_the_form() {
        let errors = check(|v| {
            v.sampler = "foo".to_owned();
            v.steps = "many".to_owned();
            v.size = "513x256".to_owned();
        })
        .unwrap_err();
        let fields: Vec<_> = errors.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["steps", "width", "sampler"]);
        assert!(errors[2].1.starts_with("Unknown sampler “foo”"), "{}", errors[2].1);
    }
}
