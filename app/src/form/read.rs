//! From typed text to a request. Each invalid field gets an error with the expected value.

use adire_protocol::{
    AdapterUse, Defaults, FieldError, GenerationRequest, HiresRequest, Limits,
    decimal::{self, Decimal},
    fields::{FIELDS, Field, Slot, Unreadable},
    sentence,
};

use super::{
    FormValues, NAMES,
    values::{AUTOMATIC, is_key_of},
};
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
        let mut tried = request.clone();
        // What a template becomes, the server knows.
        if tried.has_template() {
            tried.prompt.clear();
        }
        if let Err(refused) = tried.validate(limits, defaults, 0) {
            // A field that cannot be read at all is absent from the request, so no field is named twice.
            errors.extend(refused.0.into_iter().map(|error| self.in_this_row(error)));
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
        let given = |text: &String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let mut request = GenerationRequest {
            prompt: self.prompt.clone(),
            negative_prompt: self.negative_prompt.clone(),
            init_image: given(&self.init_image),
            hires: given(&self.hires).map(|_| HiresRequest::default()),
            ..GenerationRequest::default()
        };
        // A mask needs an init image; without one the form still holds it.
        request.mask = given(&self.mask).filter(|_| request.init_image.is_some());
        let mut values = self.clone();
        if let Some((width, height)) = self.size.split_once(['x', '×']) {
            (values.width, values.height) = (width.to_owned(), height.to_owned());
        }
        let scaled_to = self.hires_scale.split_once(['x', '×']);
        for field in &FIELDS {
            let text = match field.name {
                "denoising_strength" if request.init_image.is_none() => continue,
                "keep_unmasked" if request.mask.is_none() => continue,
                "schedule" if self.schedule == AUTOMATIC => {
                    request.schedule = request.sampler.map(|name| name.sampler.automatic().schedule);
                    continue;
                }
                "hires.upscaler" => self.hires.as_str(),
                "hires.scale" if scaled_to.is_some() => continue,
                "hires.width" => scaled_to.map_or("", |(width, _)| width),
                "hires.height" => scaled_to.map_or("", |(_, height)| height),
                _ => values.of_field(field).map_or("", |text| text.as_str()),
            };
            if let Some(message) = set(field, &mut request, text, limits) {
                errors.push(FieldError { field: field.name.to_owned(), message });
            }
        }
        for (i, row) in self.adapters.iter().enumerate().filter(|(_, row)| row.is_on()) {
            let mut adapter = AdapterUse::new(row.name.trim(), 1.0);
            match number(&row.strength).map(|text| (decimal::read(&text), text)) {
                Some((Some(strength), _)) => adapter.strength = strength,
                Some((None, text)) => errors.push(FieldError {
                    field: format!("adapters[{i}].strength"),
                    message: format!(
                        "The strength must be a number from −{0} to {0}; got “{1}”.",
                        Decimal(limits.strength),
                        shown(&text)
                    ),
                }),
                None => {}
            }
            request.adapters.push(adapter);
        }
        (request, errors.into_iter().map(in_this_form).collect())
    }

    /// Maps an adapter of the request to its row of the form, which also has those that are off.
    fn in_this_row(&self, error: FieldError) -> FieldError {
        let Some((index, rest)) = error.field.strip_prefix("adapters[").and_then(|rest| rest.split_once(']'))
        else {
            return in_this_form(error);
        };
        let mut on = self.adapters.iter().enumerate().filter(|(_, row)| row.is_on()).map(|(row, _)| row);
        match index.parse().ok().and_then(|index| on.nth(index)) {
            Some(row) => FieldError { field: format!("adapters[{row}]{rest}"), ..error },
            None => error,
        }
    }
}

/// Maps a field of the request to one of the form.
fn in_this_form(error: FieldError) -> FieldError {
    let name = match error.field.as_str() {
        "hires.upscaler" => Some("hires"),
        "hires.width" | "hires.height" => Some("hires_scale"),
        key => Field::of(key).and_then(|field| NAMES.into_iter().find(|name| is_key_of(field, name))),
    };
    match name {
        Some(name) => FieldError { field: name.to_owned(), ..error },
        None => error,
    }
}

/// Sets a parameter of the request to a text, unless that is empty. Returns what is wrong with it.
fn set(field: &Field, request: &mut GenerationRequest, text: &str, limits: &Limits) -> Option<String> {
    let slot = field.slot(request)?;
    let is_whole = matches!(slot, Slot::Seed(_) | Slot::Whole(_));
    let text = if slot.is_number() {
        number(text)?
    } else {
        Some(text.trim().to_owned()).filter(|t| !t.is_empty())?
    };
    match slot.set(&text) {
        Ok(()) => None,
        Err(Unreadable::Name(text)) => Some(sentence(&text)),
        Err(Unreadable::Other) => {
            let kind = if is_whole { "a whole number" } else { "a number" };
            let range = (field.range)(limits);
            let expected = match field.name {
                "seed" => format!("{kind}, or empty for a random one"),
                "hires.scale" => "a factor above 1, or a size like 512x640".to_owned(),
                "hires.steps" => format!("{kind}, {range}, or empty for those of the base pass"),
                _ if range.is_bounded() => format!("{kind}, {range}"),
                _ => kind.to_owned(),
            };
            Some(format!("{} must be {expected}; got “{}”.", field.subject(), shown(&text)))
        }
    }
}

/// The text of a number, or nothing when it is empty. A decimal comma counts as a point, a real minus as a minus.
fn number(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.replace(',', ".").replace('−', "-"))
}

fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Position of a field in the form.
fn place(name: &str) -> usize {
    const FIRST: [&str; 5] = ["prompt", "negative_prompt", "init_image", "mask", "adapters"];
    let first = FIRST.iter().position(|first| name.starts_with(first));
    let of_table = || FIELDS.iter().position(|field| is_key_of(field, name)).map(|at| FIRST.len() + at);
    first.or_else(of_table).unwrap_or(usize::MAX)
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
            per_line: Some(true),
            subseed: Some(3),
            subseed_strength: Some(0.25),
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
        assert_eq!(check(|values| *values = FormValues::of_request(request.clone())), Ok(request));
    }

    #[test]
    fn every_sampler_and_schedule_survive_the_form() {
        for sampling in Sampling::ALL {
            let (sampler, schedule) = (Some(sampling.into()), Some(sampling.schedule));
            let request =
                GenerationRequest { prompt: "moons".to_owned(), sampler, schedule, ..Default::default() };
            let read = check(|values| *values = FormValues::of_request(request.clone())).unwrap();
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
        assert_eq!(
            check(|values| *values = FormValues::of_request(has_init_image.clone())),
            Ok(has_init_image)
        );
        let hires = |change: fn(&mut HiresRequest)| {
            let mut hires = HiresRequest { upscaler: Some(HiresUpscaler::Image), ..Default::default() };
            change(&mut hires);
            GenerationRequest { prompt: "moons".to_owned(), hires: Some(hires), ..Default::default() }
        };
        for request in [
            hires(|_| ()),
            hires(|h| (h.scale, h.steps, h.denoising_strength) = (Some(1.5), Some(9), Some(0.6))),
            hires(|h| (h.width, h.height) = (Some(384), Some(512))),
        ] {
            assert_eq!(check(|values| *values = FormValues::of_request(request.clone())), Ok(request));
        }
    }

    #[test]
    fn tags_of_templates_are_not_read_before_their_choice() {
        let tagged = "{<lora:a>|<lora:__x__:y>}".repeat(9);
        assert_eq!(check(|values| values.prompt = tagged.clone()).unwrap().prompt, tagged);
        assert_eq!(check(|values| values.prompt = "<lora:x:y>".to_owned()).unwrap_err()[0].0, "prompt");
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
        let read = check(|values| *values = FormValues::of_request(request.clone())).unwrap();
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
