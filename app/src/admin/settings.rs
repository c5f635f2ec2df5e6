//! The settings of a training as fields of a form: what each means, and how text becomes a setting.

use adire_protocol::{FieldError, TrainingConfig};
use serde_json::{Map, Value};

use super::fields::FormInput;

/// How a setting is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Whole,
    Number,
    /// A number, or nothing.
    Optional,
    /// A whole number, or nothing.
    OptionalWhole,
    Choice(&'static [(&'static str, &'static str)]),
    Check,
    /// One entry on each line.
    Lines,
}

/// One setting.
pub(super) struct Setting {
    /// As [`TrainingConfig`] calls it.
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
}

const fn setting(name: &'static str, label: &'static str, kind: Kind, help: &'static str) -> Setting {
    Setting { name, label, help, kind }
}

/// The group that has fields beside settings: which images, and what they show.
pub(super) const CLASS_PICTURES: &str = "Class pictures";

/// The settings in groups, in the order in which one thinks of them.
pub(super) const GROUPS: [(&str, &[Setting]); 7] = [
    (
        "How long, how strongly",
        &[
            setting(
                "steps",
                "Steps",
                Kind::Whole,
                "How often the adapter is changed. More learns more, and in the end repeats the pictures.",
            ),
            setting(
                "learning_rate",
                "Learning rate",
                Kind::Number,
                "The size of each change. Too large and the samples fall apart; too small and nothing happens.",
            ),
            setting(
                "schedule",
                "Schedule",
                Kind::Choice(&[
                    ("constant", "Constant"),
                    ("linear", "Falls evenly to nothing"),
                    ("cosine", "Falls gently, then fast, then gently"),
                ]),
                "How the learning rate moves over the run.",
            ),
            setting(
                "warmup",
                "Warm-up steps",
                Kind::Whole,
                "Steps over which the learning rate rises from nothing.",
            ),
            setting(
                "batch",
                "Pictures at once",
                Kind::Whole,
                "More need more memory and make each step calmer.",
            ),
            setting(
                "accumulation",
                "Batches a step",
                Kind::Whole,
                "Batches whose gradients are added up for one step: as calm as more pictures at once, without the memory.",
            ),
        ],
    ),
    (
        "What changes",
        &[
            setting(
                "rank",
                "Rank",
                Kind::Whole,
                "How much the adapter can hold: 4 is enough for a style, 16 for fine detail; the file grows with it.",
            ),
            setting(
                "alpha",
                "Alpha",
                Kind::Number,
                "The change is multiplied with alpha divided by rank; equal to the rank is usual.",
            ),
            setting(
                "targets",
                "Layers",
                Kind::Choice(&[
                    ("attention", "Attention"),
                    ("feed_forward", "Attention and feed-forward"),
                    ("linear", "All linear layers"),
                    ("convolutions", "Everything, convolutions too"),
                ]),
                "Which layers of the model are changed.",
            ),
            setting(
                "text_encoder",
                "Change the text encoder, too",
                Kind::Check,
                "Helps new words mean something; needs more memory and forgets more.",
            ),
        ],
    ),
    (
        "The pictures",
        &[
            setting(
                "resolution",
                "Resolution",
                Kind::Whole,
                "The shorter side in pixels, a multiple of 64; the size the model was made for is best.",
            ),
            setting(
                "crop",
                "Crop",
                Kind::Choice(&[
                    ("center", "The square in the middle"),
                    ("random", "Squares at random places"),
                    ("bucket", "The whole picture"),
                ]),
                "Which part of a picture that is not square is used.",
            ),
            setting(
                "caption_dropout",
                "Caption dropout",
                Kind::Number,
                "How often a caption is left out, from 0 to 1; a little keeps the style from hanging on words.",
            ),
            setting(
                "held_out",
                "Held out",
                Kind::Number,
                "The share of the pictures that is only measured with, never trained on.",
            ),
        ],
    ),
    (
        "The noise",
        &[
            setting(
                "min_snr_gamma",
                "Min-SNR gamma",
                Kind::Optional,
                "Lets nearly clean pictures count less, so that training is calmer; 5 is usual, empty switches it off.",
            ),
            setting(
                "noise_offset",
                "Noise offset",
                Kind::Number,
                "Teaches very dark and very bright pictures; 0.05 is a lot.",
            ),
            setting(
                "max_gradient_norm",
                "Largest gradient",
                Kind::Number,
                "A step whose gradients are larger is made smaller.",
            ),
            setting(
                "weight_decay",
                "Weight decay",
                Kind::Number,
                "Pulls the adapter back towards no change a little at each step.",
            ),
            setting(
                "seed",
                "Seed",
                Kind::Whole,
                "Decides everything random: the same settings and seed give the same adapter.",
            ),
        ],
    ),
    (
        "On the way",
        &[
            setting(
                "sample_prompts",
                "Sample prompts",
                Kind::Lines,
                "One on each line, 8 at most; a picture is made of each while it trains. Empty: two of the dataset's captions, and one of them without the trigger word.",
            ),
            setting(
                "sample_every",
                "Steps between samples",
                Kind::OptionalWhole,
                "Empty: a tenth of the run. 0 makes none.",
            ),
            setting(
                "checkpoint_every",
                "Steps between checkpoints",
                Kind::Whole,
                "After a crash the run goes on from the last one; the held-out loss is measured as often.",
            ),
            setting(
                "gradient_checkpointing",
                "Save memory",
                Kind::Check,
                "Computes intermediate results twice: about a third slower, much less memory.",
            ),
        ],
    ),
    (
        "What visitors can read",
        &[setting(
            "publish_captions",
            "Publish captions and sample prompts",
            Kind::Check,
            "Writes them into the adapter's file, as other trainers do. Every visitor can download that file.",
        )],
    ),
    (
        CLASS_PICTURES,
        &[
            setting(
                "class_images",
                "Number of class pictures",
                Kind::Whole,
                "The model makes those that the dataset lacks, of the class prompt. 100 is usual, 0 makes none.",
            ),
            setting(
                "prior_weight",
                "Weight of class pictures",
                Kind::Number,
                "How much one of them counts beside a picture of the style, which counts 1.",
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

/// A setting as it is shown in a table.
pub(super) fn shown(config: &TrainingConfig, setting: &Setting) -> String {
    let value = serde_json::to_value(config)
        .ok()
        .and_then(|config| config.get(setting.name).map(text))
        .unwrap_or_default();
    match setting.kind {
        Kind::Check => if value.is_empty() { "no" } else { "yes" }.to_owned(),
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
        // Boxes that are not ticked are not sent.
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
        vec![FieldError { field: String::new(), message: format!("The settings cannot be read: {error}.") }]
    })
}

fn parse(setting: &Setting, typed: &str) -> Result<Value, String> {
    let shown: String = typed.chars().take(40).collect();
    let wrong = |expected: &str| Err(format!("“{shown}” is not {expected}."));
    match setting.kind {
        Kind::Optional | Kind::OptionalWhole if typed.is_empty() => Ok(Value::Null),
        Kind::Whole | Kind::OptionalWhole => {
            // The seed takes any u64; other fields' bounds are checked with the rest.
            if setting.name == "seed" && matches!(typed.trim(), "-1" | "−1") {
                return Ok((-1).into());
            }
            let most = if setting.name == "seed" { u64::MAX } else { u64::from(u32::MAX) };
            match typed.replace([' ', '\u{a0}', '_'], "").parse::<u64>() {
                Ok(number) if number <= most => Ok(number.into()),
                _ => wrong("a whole number"),
            }
        }
        Kind::Number | Kind::Optional => match typed.replace(',', ".").replace('−', "-").parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number.into()),
            _ => wrong("a number"),
        },
        Kind::Choice(choices) => match choices.iter().find(|choice| choice.0 == typed) {
            Some(choice) => Ok(choice.0.into()),
            None => wrong("one of the choices"),
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
    fn what_cannot_be_read_is_named() {
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
        assert_eq!(errors[0].message, "“many” is not a whole number.");
    }

    #[test]
    fn numbers_may_be_written_as_people_write_them() {
        let mut form = form(&TrainingConfig::default());
        form.set("learning_rate", "0,0002");
        form.set("steps", "1 200");
        form.set("min_snr_gamma", " ");
        let config = read(&form, &TrainingConfig::default()).unwrap();
        assert_eq!((config.learning_rate, config.steps, config.min_snr_gamma), (2e-4, 1200, None));
    }

    #[test]
    fn tables_say_what_people_read() {
        let config = TrainingConfig::default();
        let shown = |name: &str| super::shown(&config, all().find(|setting| setting.name == name).unwrap());
        assert_eq!(
            (shown("learning_rate"), shown("alpha"), shown("targets")),
            ("1e-4".to_owned(), "4".to_owned(), "Attention".to_owned())
        );
        assert_eq!(
            (shown("text_encoder"), shown("min_snr_gamma"), shown("held_out")),
            ("no".to_owned(), "–".to_owned(), "0.1".to_owned())
        );
    }
}
