//! The settings of a training run as form fields, with their help and parsing.

use adire_protocol::{FieldError, TrainingConfig};
use serde_json::{Map, Value};

use super::fields::FormInput;

/// Input type of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Whole,
    Number,
    /// A number, or empty.
    Optional,
    /// A whole number, or empty.
    OptionalWhole,
    Choice(&'static [(&'static str, &'static str)]),
    Check,
    /// One entry on each line.
    Lines,
}

/// One setting.
pub(super) struct Setting {
    /// Field name in [`TrainingConfig`].
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
}

const fn setting(name: &'static str, label: &'static str, kind: Kind, help: &'static str) -> Setting {
    Setting { name, label, help, kind }
}

/// The group that also has a dataset and a class prompt.
pub(super) const CLASS_IMAGES: &str = "Class images";

/// The settings in groups.
pub(super) const GROUPS: [(&str, &[Setting]); 7] = [
    (
        "Optimizer",
        &[
            setting(
                "steps",
                "Steps",
                Kind::Whole,
                "Optimizer steps. Too many overfit to the training images.",
            ),
            setting(
                "learning_rate",
                "Learning rate",
                Kind::Number,
                "Optimizer step size. Too high and samples break down; too low and nothing is learned.",
            ),
            setting(
                "schedule",
                "Learning-rate schedule",
                Kind::Choice(&[
                    ("constant", "Constant"),
                    ("linear", "Linear decay"),
                    ("cosine", "Cosine decay"),
                ]),
                "Learning rate over the run.",
            ),
            setting(
                "warmup",
                "Warm-up steps",
                Kind::Whole,
                "Steps over which the learning rate rises from 0.",
            ),
            setting(
                "batch",
                "Batch size",
                Kind::Whole,
                "Images per micro-step. Larger batches need more memory and give smoother gradients.",
            ),
            setting(
                "accumulation",
                "Gradient accumulation",
                Kind::Whole,
                "Micro-steps per optimizer step: the effect of a larger batch without its memory.",
            ),
        ],
    ),
    (
        "LoRA",
        &[
            setting(
                "rank",
                "Rank",
                Kind::Whole,
                "Capacity of the adapter: 4 is enough for a style, 16 for fine detail; the file grows with it.",
            ),
            setting(
                "alpha",
                "Alpha",
                Kind::Number,
                "The adapter is scaled by alpha / rank; usually equal to the rank.",
            ),
            setting(
                "targets",
                "Layers",
                Kind::Choice(&[
                    ("attention", "Attention"),
                    ("feed_forward", "Attention and feed-forward"),
                    ("linear", "All linear layers"),
                    ("convolutions", "Linear layers and convolutions"),
                ]),
                "Layers of the model to adapt.",
            ),
            setting(
                "text_encoder",
                "Train text encoder",
                Kind::Check,
                "Helps with new words; needs more memory and overfits sooner.",
            ),
        ],
    ),
    (
        "Images",
        &[
            setting(
                "resolution",
                "Resolution",
                Kind::Whole,
                "Shorter side in pixels, a multiple of 64; the model's native size is best.",
            ),
            setting(
                "crop",
                "Crop",
                Kind::Choice(&[
                    ("center", "Centre crop"),
                    ("random", "Random crop"),
                    ("bucket", "No crop (aspect-ratio buckets)"),
                ]),
                "The part of a non-square image to train on.",
            ),
            setting(
                "caption_dropout",
                "Caption dropout",
                Kind::Number,
                "Share of captions left out, 0 to 1; a little makes the style depend less on captions.",
            ),
            setting(
                "held_out",
                "Held out",
                Kind::Number,
                "Share of the images used only for the held-out loss, never trained on.",
            ),
        ],
    ),
    (
        "Noise",
        &[
            setting(
                "min_snr_gamma",
                "Min-SNR gamma",
                Kind::Optional,
                "Down-weights low-noise timesteps for stabler training. Usually 5; empty disables it.",
            ),
            setting(
                "noise_offset",
                "Noise offset",
                Kind::Number,
                "Helps with very dark and very bright images. 0.05 is high.",
            ),
            setting(
                "max_gradient_norm",
                "Gradient clipping",
                Kind::Number,
                "Clips the gradient norm to this value.",
            ),
            setting(
                "weight_decay",
                "Weight decay",
                Kind::Number,
                "Shrinks the adapter's weights a little at each step.",
            ),
            setting("seed", "Seed", Kind::Whole, "Same settings and seed, same adapter."),
        ],
    ),
    (
        "Samples and checkpoints",
        &[
            setting(
                "sample_prompts",
                "Sample prompts",
                Kind::Lines,
                "One per line, up to 8; each is sampled during the run. Empty: two captions of the dataset, and one of them without the trigger word.",
            ),
            setting(
                "sample_every",
                "Steps between samples",
                Kind::OptionalWhole,
                "Empty: a tenth of the run. 0 disables samples.",
            ),
            setting(
                "checkpoint_every",
                "Steps between checkpoints",
                Kind::Whole,
                "After a crash the run resumes from the last checkpoint. The held-out loss is measured as often.",
            ),
            setting(
                "gradient_checkpointing",
                "Gradient checkpointing",
                Kind::Check,
                "Recomputes activations: about a third slower, much less memory.",
            ),
        ],
    ),
    (
        "Privacy",
        &[setting(
            "publish_captions",
            "Publish captions and sample prompts",
            Kind::Check,
            "Writes them into the adapter file, which every visitor can download.",
        )],
    ),
    (
        CLASS_IMAGES,
        &[
            setting(
                "class_images",
                "Number of class images",
                Kind::Whole,
                "Missing ones are generated from the class prompt. Usually 100; 0 disables them.",
            ),
            setting(
                "prior_weight",
                "Prior loss weight",
                Kind::Number,
                "Weight of a class image relative to a training image, which counts 1.",
            ),
        ],
    ),
];

pub(super) fn all() -> impl Iterator<Item = &'static Setting> {
    GROUPS.iter().flat_map(|(_, settings)| *settings)
}

/// Writes settings into a form.
pub(super) fn write(config: &TrainingConfig, form: &mut FormInput) {
    let Ok(Value::Object(config)) = serde_json::to_value(config) else { return };
    for setting in all() {
        form.set(setting.name, config.get(setting.name).map(text).unwrap_or_default());
    }
}

/// Text of a setting in a table.
pub(super) fn shown(config: &TrainingConfig, setting: &Setting) -> String {
    let value = serde_json::to_value(config)
        .ok()
        .and_then(|config| config.get(setting.name).map(text))
        .unwrap_or_default();
    match setting.kind {
        Kind::Check => if value.is_empty() { "No" } else { "Yes" }.to_owned(),
        Kind::Choice(choices) => choices
            .iter()
            .find(|choice| choice.0 == value)
            .map_or(value.clone(), |choice| choice.1.to_owned()),
        _ if value.is_empty() => "–".to_owned(),
        Kind::Lines => value.lines().collect::<Vec<_>>().join(" / "),
        _ => value,
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Bool(true) => "on".to_owned(),
        Value::Null | Value::Bool(false) => String::new(),
        Value::Number(number) if number.is_u64() => number.to_string(),
        Value::Number(number) => match number.as_f64() {
            Some(small) if small != 0.0 && small.abs() < 1e-3 => super::scale::scientific(small),
            // 4.0 is written as 4.
            Some(whole) if whole.fract() == 0.0 && whole.abs() < 1e15 => format!("{whole:.0}"),
            _ => number.to_string(),
        },
        Value::String(text) => text.clone(),
        Value::Array(entries) => entries.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n"),
        Value::Object(_) => String::new(),
    }
}

/// Reads a form. Fields that are absent keep the value of `base`.
pub(super) fn read(form: &FormInput, base: &TrainingConfig) -> Result<TrainingConfig, Vec<FieldError>> {
    let mut errors = Vec::new();
    let mut config = match serde_json::to_value(base) {
        Ok(Value::Object(config)) => config,
        _ => Map::new(),
    };
    for setting in all() {
        // Unchecked boxes are not sent.
        let typed = form.values.get(setting.name).map(|text| text.trim());
        let Some(typed) = typed.or((setting.kind == Kind::Check).then_some("")) else { continue };
        match parse(setting, typed) {
            Ok(value) => {
                config.insert(setting.name.to_owned(), value);
            }
            Err(message) => errors.push(FieldError { field: setting.name.to_owned(), message }),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    serde_json::from_value(Value::Object(config)).map_err(|error| {
        vec![FieldError { field: String::new(), message: format!("Invalid settings: {error}.") }]
    })
}

fn parse(setting: &Setting, typed: &str) -> Result<Value, String> {
    let shown: String = typed.chars().take(40).collect();
    let invalid = |expected: &str| Err(format!("{} must be {expected}; got “{shown}”.", setting.label));
    match setting.kind {
        Kind::Optional | Kind::OptionalWhole if typed.is_empty() => Ok(Value::Null),
        Kind::Whole | Kind::OptionalWhole => {
            // The seed may be any u64; bounds of other fields are checked with the request.
            if setting.name == "seed" && matches!(typed.trim(), "-1" | "−1") {
                return Ok((-1).into());
            }
            let max = if setting.name == "seed" { u64::MAX } else { u64::from(u32::MAX) };
            match typed.replace([' ', '\u{a0}', '_'], "").parse::<u64>() {
                Ok(number) if number <= max => Ok(number.into()),
                _ => invalid("a whole number"),
            }
        }
        Kind::Number | Kind::Optional => match typed.replace(',', ".").replace('−', "-").parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number.into()),
            _ => invalid("a number"),
        },
        Kind::Choice(choices) => match choices.iter().find(|choice| choice.0 == typed) {
            Some(choice) => Ok(choice.0.into()),
            None => invalid("one of the choices"),
        },
        Kind::Check => Ok((!typed.is_empty()).into()),
        Kind::Lines => {
            let lines = typed.lines().map(str::trim).filter(|line| !line.is_empty());
            Ok(lines.map(Value::from).collect::<Vec<_>>().into())
        }
    }
}

#[cfg(test)]
mod tests {
    use adire_protocol::Preset;

    use super::*;

    fn form(config: &TrainingConfig) -> FormInput {
        let mut form = FormInput::default();
        write(config, &mut form);
        form
    }

    #[test]
    fn every_setting_has_a_field_and_comes_back_as_it_was() {
        for preset in Preset::ALL {
            let config = TrainingConfig {
                sample_prompts: vec!["one".to_owned(), "two, three".to_owned()],
                text_encoder: true,
                ..preset.config()
            };
            assert_eq!(read(&form(&config), &Preset::Style.config()), Ok(config));
        }
        let Ok(Value::Object(config)) = serde_json::to_value(TrainingConfig::default()) else {
            panic!("an object")
        };
        let mut names: Vec<_> = all().map(|setting| setting.name).collect();
        names.sort_unstable();
        assert_eq!(names, config.keys().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn every_choice_is_one_that_exists() {
        for setting in all() {
            let Kind::Choice(choices) = setting.kind else { continue };
            for (value, _) in choices {
                let mut form = form(&TrainingConfig::default());
                form.set(setting.name, *value);
                assert!(read(&form, &TrainingConfig::default()).is_ok(), "{} = {value}", setting.name);
            }
        }
    }

    #[test]
    fn every_invalid_field_gets_an_error() {
        let mut form = form(&TrainingConfig::default());
        for (name, text) in [
            ("steps", "many"),
            ("rank", "-1"),
            ("learning_rate", "1e-4x"),
            ("crop", "round"),
            ("alpha", "inf"),
        ] {
            form.set(name, text);
        }
        let errors = read(&form, &TrainingConfig::default()).unwrap_err();
        let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["steps", "learning_rate", "rank", "alpha", "crop"]);
        assert_eq!(errors[0].message, "Steps must be a whole number; got “many”.");
    }

    #[test]
    fn decimal_commas_and_thousands_separators_are_read() {
        let mut form = form(&TrainingConfig::default());
        form.set("learning_rate", "0,0002");
        form.set("steps", "1 200");
        form.set("min_snr_gamma", " ");
        let config = read(&form, &TrainingConfig::default()).unwrap();
        assert_eq!((config.learning_rate, config.steps, config.min_snr_gamma), (2e-4, 1200, None));
    }

    #[test]
    fn tables_show_readable_values() {
        let config = TrainingConfig::default();
        let shown = |name: &str| super::shown(&config, all().find(|setting| setting.name == name).unwrap());
        assert_eq!(
            (shown("learning_rate"), shown("alpha"), shown("targets")),
            ("1e-4".to_owned(), "4".to_owned(), "Attention".to_owned())
        );
        assert_eq!(
            (shown("text_encoder"), shown("min_snr_gamma"), shown("held_out")),
            ("No".to_owned(), "–".to_owned(), "0.1".to_owned())
        );
    }
}
