//! The prompts of each image of a generation, where a template or several lines make them differ.

use crate::{
    FieldError, GenerationRequest, GenerationSpec, Limits, Prompts, ValidationError, Wildcards, lora_tag,
    template::{self, Draws},
};

/// The seed of the negative prompt's choices is this far from that of the prompt's.
const NEGATIVE: u64 = 0x6e65_6761_7469_7665;

impl GenerationRequest {
    /// How many images it makes: `count` of each line.
    pub fn images(&self) -> u32 {
        let lines = u32::try_from(self.prompt_lines().len()).unwrap_or(u32::MAX);
        self.count.unwrap_or(1).saturating_mul(lines)
    }

    fn prompt_lines(&self) -> Vec<&str> {
        match self.per_line == Some(true) {
            true if self.prompt.trim().is_empty() => vec![""],
            true => template::lines(&self.prompt),
            false => vec![&self.prompt],
        }
    }

    /// Whether its images may have different prompts.
    pub fn has_template(&self) -> bool {
        self.per_line == Some(true)
            || [&self.prompt, &self.negative_prompt].into_iter().any(|text| template::is_template(text))
    }

    /// The prompts of its images in their order, each line's images together. Each image's own seed draws its choices.
    ///
    /// # Errors
    /// More images than the limit, or a template without an end.
    pub fn image_prompts(
        &self,
        wildcards: &Wildcards,
        seed: u64,
        limits: &Limits,
    ) -> Result<Vec<Prompts>, ValidationError> {
        let (lines, images, most) = (self.prompt_lines(), self.images(), limits.count);
        let wrong = |field: &str, message: String| {
            ValidationError(vec![FieldError { field: field.to_owned(), message }])
        };
        if lines.len() > 1 && images > most {
            let (lines, count) = (lines.len(), self.count.unwrap_or(1));
            let message =
                format!("{lines} lines × {count} of each are {images} images; the limit is {most}.");
            return Err(wrong("prompt", message));
        }
        let varied = self.subseed_strength.is_some_and(|strength| strength > 0.0);
        let each = (images as usize).div_ceil(lines.len().max(1)).max(1);
        let mut prompts = Vec::new();
        for index in 0..images.min(most) {
            let seed = if varied { seed } else { seed.saturating_add(u64::from(index)) };
            let line = lines.get(index as usize / each).copied().unwrap_or_default();
            let expand = |field: &str, text: &str, seed: u64| {
                template::expand(text.trim(), wildcards, &mut Draws::new(seed), limits.prompt_chars as usize)
                    .map_err(|message| wrong(field, message))
            };
            prompts.push(Prompts {
                prompt: expand("prompt", line, seed)?,
                negative_prompt: expand("negative_prompt", &self.negative_prompt, seed ^ NEGATIVE)?,
            });
        }
        Ok(prompts)
    }
}

impl GenerationSpec {
    /// The spec of one image, as its recipe has it: its own seed, prompts and adapters.
    pub fn of_image(&self, index: u32) -> Self {
        let mut spec = Self { count: 1, ..self.clone() };
        // Validation leaves room above the seeds for every image.
        match &mut spec.subseed {
            Some(subseed) => *subseed = subseed.saturating_add(u64::from(index)),
            None => spec.seed = spec.seed.saturating_add(u64::from(index)),
        }
        let Some(mut template) = spec.template.take() else { return spec };
        if let Some(prompts) = std::mem::take(&mut template.images).into_iter().nth(index as usize) {
            let own = lora_tag::find(&prompts.prompt).into_iter().filter_map(|tag| tag.adapter.ok());
            spec.adapters.retain(|adapter| !adapter.in_prompt);
            spec.adapters.extend(own);
            (spec.prompt, spec.negative_prompt) = (prompts.prompt, prompts.negative_prompt);
        }
        if std::mem::take(&mut template.per_line) {
            let lines = template::lines(&template.prompt);
            let each = (self.count as usize / lines.len().max(1)).max(1);
            template.prompt = lines.get(index as usize / each).copied().unwrap_or_default().to_owned();
        }
        let differs =
            template::is_template(&template.prompt) || template::is_template(&template.negative_prompt);
        spec.template = differs.then_some(template);
        spec
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AdapterUse, Template};

    fn request(prompt: &str, count: u32, per_line: bool) -> GenerationRequest {
        let (prompt, count, per_line) = (prompt.to_owned(), Some(count), Some(per_line));
        GenerationRequest { prompt, count, per_line, ..GenerationRequest::default() }
    }

    fn prompts(request: &GenerationRequest, seed: u64) -> Vec<String> {
        let all = request.image_prompts(&Wildcards::default(), seed, &Limits::default()).unwrap();
        all.into_iter().map(|prompts| prompts.prompt).collect()
    }

    #[test]
    fn each_line_has_its_images_and_each_image_its_own_seeds_choices() {
        assert_eq!(prompts(&request("a\n\n b \n", 2, true), 0), ["a", "a", "b", "b"]);
        assert_eq!(prompts(&request("a\nb", 2, false), 0), ["a\nb", "a\nb"]);
        assert_eq!(request("\n", 3, true).images(), 3);
        let choices = request("{a|b|c|d}", 8, false);
        let all = prompts(&choices, 7);
        assert!(all.iter().any(|prompt| *prompt != all[0]), "{all:?}");
        assert_eq!(prompts(&choices, 8)[..7], all[1..], "image k draws as seed + k does");
        let varied = GenerationRequest { subseed_strength: Some(0.1), ..choices };
        assert_eq!(prompts(&varied, 7), vec![all[0].clone(); 8], "variations are of one prompt");
    }

    #[test]
    fn too_many_images_are_refused() {
        let refused = request("a\nb\nc", 3, true).image_prompts(&Wildcards::default(), 0, &Limits::default());
        let message = "3 lines × 3 of each are 9 images; the limit is 8.";
        assert_eq!(refused.unwrap_err().0[0].message, message);
    }

    #[test]
    fn an_image_has_its_own_prompt_adapters_and_line() {
        let tagged = |name: &str| AdapterUse { in_prompt: true, ..AdapterUse::new(name, 1.0) };
        let prompts = ["red <lora:a@v1:1>", "blue", "moons", "moons"];
        let template = Template {
            prompt: "{red <lora:a>|blue}\nmoons".to_owned(),
            per_line: true,
            images: prompts
                .map(|prompt| Prompts { prompt: prompt.to_owned(), ..Prompts::default() })
                .to_vec(),
            ..Template::default()
        };
        let spec = GenerationSpec {
            prompt: prompts[0].to_owned(),
            seed: 5,
            count: 4,
            adapters: vec![AdapterUse::new("b@v1", 0.5), tagged("a@v1")],
            template: Some(template),
            ..GenerationSpec::default()
        };
        let (first, second, third) = (spec.of_image(0), spec.of_image(1), spec.of_image(2));
        assert_eq!(first.adapters, [AdapterUse::new("b@v1", 0.5), tagged("a@v1")]);
        assert_eq!((second.prompt.as_str(), second.seed, second.adapters.len()), ("blue", 6, 1));
        assert_eq!(second.template.unwrap().prompt, "{red <lora:a>|blue}");
        assert_eq!((third.prompt.as_str(), third.template), ("moons", None));
        let again = GenerationRequest::from(spec);
        assert_eq!((again.count, again.per_line), (Some(2), Some(true)));
        assert_eq!(again.prompt, "{red <lora:a>|blue}\nmoons");
        assert_eq!(GenerationRequest::from(first).prompt, "red <lora:a@v1:1>");
    }
}
