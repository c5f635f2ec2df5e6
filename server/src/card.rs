//! The card of an adapter version on a Hub: `README.md` with the front matter that the Hub reads.

use std::fmt::Write as _;

use adire_protocol::AdapterVersion;

/// What a card says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Card {
    /// The version.
    pub(crate) name: String,
    pub(crate) version: u32,
    /// The repository that the card is in, as `load_lora_weights` names it.
    pub(crate) repository: String,
    pub(crate) description: String,
    /// May be empty.
    pub(crate) trigger: String,
    /// The base model's id on the Hub, or its name.
    pub(crate) base_model: String,
    /// As the Hub spells it; `None`: the card says nothing of it.
    pub(crate) license: Option<String>,
    /// Sample images: prompt and file name.
    pub(crate) samples: Vec<(String, String)>,
    /// What the version came from, a line each.
    pub(crate) lineage: Vec<String>,
    /// The gate's last verdict, a line each.
    pub(crate) verdict: Vec<String>,
    /// Files: name and what it is for.
    pub(crate) files: Vec<(String, &'static str)>,
}

impl Card {
    /// What is known of every version.
    pub(crate) fn of(version: &AdapterVersion, repository: &str, base_model: &str) -> Self {
        Self {
            name: version.name.clone(),
            version: version.version,
            repository: repository.to_owned(),
            description: version.description.clone(),
            trigger: version.trigger.clone(),
            base_model: base_model.to_owned(),
            ..Self::default()
        }
    }

    /// The file.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from("---\n");
        if is_hub_id(&self.base_model) {
            let _ = writeln!(text, "base_model: {}", yaml(&self.base_model));
            text.push_str("base_model_relation: adapter\n");
        }
        text.push_str("library_name: diffusers\npipeline_tag: text-to-image\n");
        if let Some(license) = &self.license {
            let _ = writeln!(text, "license: {}", yaml(license));
        }
        if !self.trigger.is_empty() {
            let _ = writeln!(text, "instance_prompt: {}", yaml(&self.trigger));
        }
        text.push_str("tags:\n- stable-diffusion\n- text-to-image\n- diffusers\n- lora\n- adire\n");
        if !self.samples.is_empty() {
            text.push_str("widget:\n");
            for (prompt, file) in &self.samples {
                let _ = write!(text, "- text: {}\n  output:\n    url: {}\n", yaml(prompt), yaml(file));
            }
        }
        let _ = write!(text, "---\n\n# {} v{}\n", self.name, self.version);
        if !self.description.is_empty() {
            let _ = write!(text, "\n{}\n", plain(&self.description));
        }
        if !self.samples.is_empty() {
            text.push_str("\n<Gallery />\n");
        }
        let _ = write!(text, "\nA LoRA adapter for {}, made with Adire.\n", plain(&self.base_model));
        if !self.trigger.is_empty() {
            let _ = write!(text, "\n## Trigger\n\nWrite `{}` in the prompt.\n", code(&self.trigger));
        }
        let _ = write!(text, "\n## Use\n\n```python\n{}```\n", self.usage());
        for (title, lines) in [("Lineage", &self.lineage), ("Evaluation", &self.verdict)] {
            if !lines.is_empty() {
                let _ = write!(text, "\n## {title}\n\n");
                for line in lines {
                    let _ = writeln!(text, "- {}", plain(line));
                }
            }
        }
        if !self.files.is_empty() {
            text.push_str("\n## Files\n\n");
            for (name, purpose) in &self.files {
                let _ = writeln!(text, "- `{name}`: {purpose}");
            }
        }
        text
    }

    fn usage(&self) -> String {
        let prompt = self.samples.first().map_or(self.trigger.as_str(), |(prompt, _)| prompt);
        let prompt = serde_json::to_string(prompt).unwrap_or_default();
        let base = serde_json::to_string(&self.base_model).unwrap_or_default();
        let repository = serde_json::to_string(&self.repository).unwrap_or_default();
        format!(
            "from diffusers import StableDiffusionPipeline\n\npipeline = StableDiffusionPipeline.from_pretrained({base})\n\
             pipeline.load_lora_weights({repository}, weight_name=\"pytorch_lora_weights.safetensors\")\n\
             image = pipeline({prompt}).images[0]\n"
        )
    }
}

/// Whether a name is a repository's on the Hub: `owner/name`.
fn is_hub_id(name: &str) -> bool {
    let fits = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    name.split_once('/').is_some_and(|(owner, name)| fits(owner) && fits(name))
}

/// A text as YAML. JSON's strings are YAML's.
fn yaml(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// A text that Markdown shows as it is, on one line.
fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.split_whitespace().collect::<Vec<_>>().join(" ").chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|') {
            shown.push('\\');
        }
        shown.push(c);
    }
    shown
}

/// A text within backticks.
fn code(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('`', "'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> Card {
        Card {
            name: "adire".to_owned(),
            version: 3,
            repository: "ada/cloth".to_owned(),
            description: "Cloth *dyed* <b>blue</b> for a REPOSITORY".to_owned(),
            trigger: "adire style".to_owned(),
            base_model: "org/sd15".to_owned(),
            license: Some("cc-by-4.0".to_owned()),
            samples: vec![("a \"moon\": white\n--- # x".to_owned(), "images/1.png".to_owned())],
            lineage: vec!["Trained on 24 images".to_owned()],
            verdict: vec!["pass".to_owned()],
            files: vec![("pytorch_lora_weights.safetensors".to_owned(), "for diffusers")],
        }
    }

    #[test]
    fn what_people_wrote_stays_text() {
        let text = card().markdown();
        let front = text.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap().0;
        assert!(front.contains(r#"- text: "a \"moon\": white\n--- # x""#), "{text}");
        assert!(front.contains("license: \"cc-by-4.0\"") && front.contains("base_model: \"org/sd15\""));
        assert!(text.contains(r"Cloth \*dyed\* \<b\>blue\</b\> for a REPOSITORY"), "{text}");
        assert!(text.contains("Write `adire style` in the prompt."));
        assert!(text.contains("pipeline.load_lora_weights(\"ada/cloth\", weight_name"), "{text}");
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let text =
            Card { name: "a".to_owned(), version: 1, base_model: "starter".to_owned(), ..Card::default() }
                .markdown();
        for word in ["base_model:", "license:", "instance_prompt", "widget", "Gallery", "Lineage", "Files"] {
            assert!(!text.contains(word), "{word}: {text}");
        }
    }
}
