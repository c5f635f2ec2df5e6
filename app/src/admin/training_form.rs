//! The form for a new training run: preset, dataset and name; everything else is folded.

use adire_protocol::{DatasetSummary, FieldError, Preset, TrainingConfig, TrainingRequest, TrainingRun};
use leptos::prelude::*;

use super::{
    fields::{Field, FormInput, alert},
    frame::{crumbs, head},
    settings::{self, GROUPS, Kind, Setting},
};

/// Data of the form.
#[derive(Clone, Debug)]
pub(crate) struct TrainingForm {
    pub(crate) form: FormInput,
    /// Those with images, the newest first, each with its trigger.
    pub(crate) datasets: Vec<(DatasetSummary, String)>,
    /// `name@vN` of versions that a run can start from.
    pub(crate) versions: Vec<String>,
}

/// Fields that are not settings.
const OWN: [&str; 6] = ["name", "dataset", "note", "class_dataset", "class_prompt", "continue_from"];

/// The form with a preset's settings; other input stays.
pub(super) fn preset_form(mut form: FormInput, native: u32) -> FormInput {
    let preset = form.get("preset").parse().unwrap_or(Preset::Style);
    let prompts = form.get("sample_prompts").to_owned();
    settings::write(&preset.config_for(native), &mut form);
    if !prompts.is_empty() {
        form.set("sample_prompts", prompts);
    }
    form.set("preset", preset.name());
    form
}

/// The form with the settings of an earlier run.
pub(super) fn like(run: &TrainingRun) -> FormInput {
    let mut form = FormInput::default();
    settings::write(&run.config, &mut form);
    for (name, value) in [
        ("name", Some(&run.name)),
        ("dataset", Some(&run.dataset)),
        ("note", Some(&run.note)),
        ("class_dataset", run.class_dataset.as_ref()),
        ("class_prompt", run.class_prompt.as_ref()),
        ("continue_from", run.continue_from.as_ref()),
    ] {
        form.set(name, value.cloned().unwrap_or_default());
    }
    form
}

/// The training request of a form.
///
/// # Errors
/// Errors of all invalid fields, under the form's names.
pub(super) fn read(form: &FormInput) -> Result<TrainingRequest, Vec<FieldError>> {
    let base = form.get("preset").parse().unwrap_or(Preset::Style).config();
    let optional = |name: &str| Some(form.get(name).trim().to_owned()).filter(|text| !text.is_empty());
    let (config, mut errors) = match settings::read(form, &base) {
        Ok(config) => (config, Vec::new()),
        Err(errors) => (base, errors),
    };
    let request = TrainingRequest {
        name: form.get("name").trim().to_owned(),
        dataset: form.get("dataset").to_owned(),
        config,
        class_dataset: optional("class_dataset"),
        class_prompt: optional("class_prompt"),
        continue_from: optional("continue_from"),
        note: form.get("note").trim().to_owned(),
    };
    if let Err(invalid) = request.validate() {
        errors.extend(own_names(invalid.0));
    }
    if errors.is_empty() { Ok(request) } else { Err(errors) }
}

/// Maps errors of `config.rank` to the field `rank`, with its label in the message.
pub(super) fn own_names(errors: Vec<FieldError>) -> Vec<FieldError> {
    let own = |mut error: FieldError| {
        if let Some(name) = error.field.strip_prefix("config.") {
            let setting = settings::all().find(|setting| setting.name == name);
            // The API names fields in its messages; the page names labels.
            if let Some((setting, rest)) = setting.zip(error.message.strip_prefix(name)) {
                error.message = format!("{}{rest}", setting.label);
            }
            error.field = name.to_owned();
        }
        error
    };
    errors.into_iter().map(own).collect()
}

pub(super) fn training_form(data: TrainingForm) -> AnyView {
    let TrainingForm { form, datasets, versions } = data;
    let shown: Vec<_> = OWN.into_iter().chain(settings::all().map(|setting| setting.name)).collect();
    let general = form.general(&shown);
    let invalid = form.errors.len() - general.len();
    let summary = match invalid {
        0 => None,
        1 => Some("Couldn't start training. Fix 1 field.".to_owned()),
        many => Some(format!("Couldn't start training. Fix {many} fields.")),
    };
    // Errors must be visible.
    let open = settings::all().any(|setting| form.error(setting.name).is_some())
        || ["class_dataset", "class_prompt", "continue_from"].iter().any(|name| form.error(name).is_some());
    let chosen = form.get("preset").to_owned();
    view! {
        {crumbs([("/admin/training", "Training")])}
        {head("Train adapter", "Creates a new adapter version. Existing versions are not changed.", ())}
        {alert(summary.into_iter().chain(general).collect())}
        <form method="post" action="/admin/training" class="train-form">
            // Enter in a field presses the first button of a form: this one, not a preset's.
            <button type="submit" class="off-screen" tabindex="-1" aria-hidden="true">
                "Start training"
            </button>
            <input type="hidden" name="preset" value=chosen.clone() />
            <fieldset class="presets">
                <legend>"Preset"</legend>
                <div class="preset-cards">{presets(&chosen)}</div>
            </fieldset>
            <div class="columns two">
                {Field {
                    name: "dataset",
                    label: "Dataset",
                    help: "The dataset is frozen when training starts.",
                }
                    .select(&form, dataset_options(&datasets, "Select a dataset"))}
                {Field {
                    name: "name",
                    label: "Adapter name",
                    help: "Lower-case letters, digits and dashes. An existing name gets its next version.",
                }
                    .text(&form)}
            </div>
            {Field { name: "note", label: "Note", help: "Optional. Becomes the description of the version, which visitors see." }
                .text(&form)}
            <p class="hint">
                "Every visitor can download the finished adapter. Its file contains captions and sample prompts only if you publish them below."
            </p>
            <details class="advanced" open=open id="advanced">
                <summary>"Advanced settings"</summary>
                {GROUPS
                    .iter()
                    .map(|(title, group)| {
                        view! {
                            <fieldset class="group">
                                <legend>{*title}</legend>
                                <div class="fields">
                                    {(*title == settings::CLASS_IMAGES).then(|| class_images(&form, &datasets))}
                                    {group.iter().map(|setting| control(setting, &form)).collect::<Vec<_>>()}
                                </div>
                            </fieldset>
                        }
                    })
                    .collect::<Vec<_>>()}
                <fieldset class="group">
                    <legend>"Initialisation"</legend>
                    <div class="fields">
                        {Field {
                            name: "continue_from",
                            label: "Start from version",
                            help: "Starts with the weights of that version; rank, alpha and layers must match.",
                        }
                            .select(&form, version_options(versions))}
                    </div>
                </fieldset>
            </details>
            <div class="save">
                <button type="submit" class="primary">
                    "Start training"
                </button>
                <p class="soft">"The studio stays available while it runs."</p>
            </div>
        </form>
    }
    .into_any()
}

/// Source of the class images.
fn class_images(form: &FormInput, datasets: &[(DatasetSummary, String)]) -> impl IntoView + use<> {
    let dataset = Field {
        name: "class_dataset",
        label: "Class image dataset",
        help: "Images of the general class that are not in this style, for prior preservation.",
    };
    let prompt = Field {
        name: "class_prompt",
        label: "Class prompt",
        help: "Describes the class, e.g. “a cloth”: caption of images without one, and prompt of generated ones.",
    };
    (dataset.select(form, dataset_options(datasets, "None")), prompt.text(form))
}

/// The presets as buttons that submit the form to its own page, which fills it in; no script needed.
fn presets(chosen: &str) -> Vec<impl IntoView + use<>> {
    let cards = Preset::ALL.map(|preset| {
        let TrainingConfig { steps, rank, accumulation, .. } = preset.config();
        let (name, sentence) = match preset {
            Preset::QuickLook => ("Quick look", "A first impression in minutes."),
            Preset::Style => ("Style", "20–30 images in one style."),
            Preset::Thorough => ("Thorough", "More layers and more steps, for fine detail."),
        };
        view! {
            <button
                type="submit"
                formmethod="get"
                formaction="/admin/training/new"
                name="preset"
                value=preset.name()
                class="preset"
                aria-pressed=if chosen == preset.name() { "true" } else { "false" }
            >
                <b>{name}</b>
                <span>{sentence}</span>
                <span class="soft">
                    {format!("{steps} steps, rank {rank}")}
                    {(accumulation > 1).then(|| format!(", {accumulation} images per step"))}
                </span>
            </button>
        }
    });
    cards.into_iter().collect()
}

fn dataset_options(datasets: &[(DatasetSummary, String)], none: &str) -> Vec<(String, String)> {
    let all = datasets.iter().map(|(dataset, trigger)| {
        let trigger = if trigger.is_empty() {
            "no trigger word".to_owned()
        } else {
            format!("trigger “{trigger}”")
        };
        (
            dataset.id.clone(),
            format!("{} ({}, {trigger})", dataset.name, crate::words::images(dataset.images)),
        )
    });
    std::iter::once((String::new(), none.to_owned())).chain(all).collect()
}

fn version_options(versions: Vec<String>) -> Vec<(String, String)> {
    let all = versions.into_iter().map(|version| (version.clone(), version.replace('@', " ")));
    std::iter::once((String::new(), "None (new adapter)".to_owned())).chain(all).collect()
}

fn control(setting: &Setting, form: &FormInput) -> AnyView {
    let field = Field { name: setting.name, label: setting.label, help: setting.help };
    match setting.kind {
        Kind::Whole | Kind::Number | Kind::Optional | Kind::OptionalWhole => field.number(form),
        Kind::Check => field.checkbox(form),
        Kind::Lines => field.lines(form),
        Kind::Choice(choices) => field.select(
            form,
            choices.iter().map(|(value, label)| ((*value).to_owned(), (*label).to_owned())).collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(pairs: &[(&str, &str)]) -> FormInput {
        let typed = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        preset_form(FormInput::from_pairs(typed), 512)
    }

    #[test]
    fn a_preset_fills_the_form_and_keeps_what_was_typed() {
        let form = filled(&[
            ("preset", "thorough"),
            ("name", "cloth"),
            ("dataset", "d"),
            ("sample_prompts", "a\nb"),
            ("rank", "3"),
        ]);
        let request = read(&form).unwrap();
        assert_eq!((request.name.as_str(), request.dataset.as_str()), ("cloth", "d"));
        let expected = TrainingConfig {
            sample_prompts: vec!["a".to_owned(), "b".to_owned()],
            ..Preset::Thorough.config()
        };
        assert_eq!(request.config, expected);
    }

    #[test]
    fn every_invalid_field_gets_an_error_at_once() {
        let mut form = filled(&[("name", "Not A Name")]);
        form.set("rank", "0");
        form.set("learning_rate", "fast");
        let fields: Vec<_> = read(&form).unwrap_err().into_iter().map(|error| error.field).collect();
        // Unreadable settings hide range errors of settings; the other fields are still checked.
        assert_eq!(fields, ["learning_rate", "name", "dataset"]);
        form.set("learning_rate", "1e-4");
        let fields: Vec<_> = read(&form).unwrap_err().into_iter().map(|error| error.field).collect();
        assert_eq!(fields, ["name", "dataset", "rank"]);
    }
}
