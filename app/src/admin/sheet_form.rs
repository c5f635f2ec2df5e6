//! The form of a sheet: drawn, read as a request, and filled from one.

use adire_protocol::{AdapterUse, FieldError, GenerationRequest, SheetAxis, SheetRequest, SheetSetting};
use leptos::prelude::*;

use super::fields::{Field, FormInput, alert};
use crate::form;

/// Fields of the form.
const FIELDS: [&str; 17] = [
    "title",
    "run",
    "prompt",
    "negative_prompt",
    "adapter",
    "strength",
    "seed",
    "steps",
    "guidance",
    "width",
    "height",
    "axis1",
    "values1",
    "axis2",
    "values2",
    "axis3",
    "values3",
];

/// The form, with the versions and training runs (id and label) that can be chosen.
pub(super) fn sheet_form(new: &FormInput, versions: &[String], runs: &[(String, String)]) -> AnyView {
    let choice = |value: &str, label: &str| (value.to_owned(), label.to_owned());
    let mut adapters = vec![choice("", "None")];
    adapters.extend(versions.iter().map(|id| choice(id, id)));
    let mut trained = vec![choice("", "None")];
    trained.extend(runs.iter().map(|(id, label)| choice(id, label)));
    let text = |name, label, help| Field { name, label, help };
    let axis = |number: usize| {
        let mut options = vec![choice("", "None")];
        options.extend(SheetSetting::ALL.map(|setting| choice(setting.name(), setting.label())));
        let place = ["Columns", "Rows", "Tables"][number - 1];
        let (axis, values) = (format!("axis{number}"), format!("values{number}"));
        view! {
            {Field { name: &axis, label: place, help: "" }.select(new, options)}
            {Field {
                name: &values,
                label: &format!("{place}: values"),
                help: "One per line; numbers, samplers and versions also with commas. “none” is the base model.",
            }
                .lines(new)}
        }
        .into_any()
    };
    view! {
        <section class="panel" id="new" aria-labelledby="new-title">
            <h2 id="new-title">"New sheet"</h2>
            {alert(new.general(&FIELDS))}
            <form method="post" action="/admin/sheets" class="stack">
                {text("title", "Title", "").text(new)}
                {text("prompt", "Prompt", "").lines(new)}
                {text("negative_prompt", "Negative prompt", "").lines(new)}
                <div class="columns two">
                    {text("adapter", "Adapter", "").select(new, adapters)}
                    {text("strength", "Adapter strength", "1 if empty.").number(new)}
                    {text("seed", "Seed", "Random if empty; the same for all cells.").number(new)}
                    {text("steps", "Steps", "").number(new)}
                    {text("guidance", "Guidance scale", "").number(new)}
                    {text("width", "Width", "").number(new)}
                    {text("height", "Height", "").number(new)}
                </div>
                <div class="columns two">{axis(1)} {axis(2)} {axis(3)}</div>
                {text("run", "Training run", "Of the checkpoints; without values, its saved steps.").select(new, trained)}
                <p>
                    <button type="submit" class="primary">
                        "Create sheet"
                    </button>
                </p>
            </form>
        </section>
    }
    .into_any()
}

/// The sheet of a form.
///
/// # Errors
/// Errors of all invalid fields, under the form's names.
pub fn sheet_request(form: &FormInput) -> Result<SheetRequest, Vec<FieldError>> {
    let mut errors = Vec::new();
    fn number<T: std::str::FromStr>(form: &FormInput, name: &str, errors: &mut Vec<FieldError>) -> Option<T> {
        let text = form.get(name).trim();
        let read = text.parse().ok();
        if read.is_none() && !text.is_empty() {
            let message = format!("“{text}” is not a number.");
            errors.push(FieldError { field: name.to_owned(), message });
        }
        read
    }
    let mut base = GenerationRequest {
        prompt: form.get("prompt").trim().to_owned(),
        negative_prompt: form.get("negative_prompt").trim().to_owned(),
        seed: number(form, "seed", &mut errors),
        steps: number(form, "steps", &mut errors),
        guidance: number(form, "guidance", &mut errors),
        width: number(form, "width", &mut errors),
        height: number(form, "height", &mut errors),
        ..GenerationRequest::default()
    };
    let strength = number(form, "strength", &mut errors).unwrap_or(1.0);
    if !form.get("adapter").is_empty() {
        base.adapters.push(AdapterUse::new(form.get("adapter"), strength));
    }
    let mut axes = Vec::new();
    for place in 1..=3 {
        let Some(setting) = SheetSetting::of(form.get(&format!("axis{place}"))) else { continue };
        let text = form.get(&format!("values{place}"));
        // Prompts have commas of their own.
        let separators: &[char] = if setting == SheetSetting::Prompt { &['\n'] } else { &['\n', ','] };
        let values = text.split(separators).map(str::trim).filter(|value| !value.is_empty());
        axes.push(SheetAxis { setting, values: values.map(str::to_owned).collect() });
    }
    let of_run = axes.iter().any(|axis| axis.setting == SheetSetting::Checkpoint);
    let run = Some(form.get("run").trim().to_owned()).filter(|run| of_run && !run.is_empty());
    if errors.is_empty() {
        Ok(SheetRequest { title: form.get("title").trim().to_owned(), base, axes, run })
    } else {
        Err(errors)
    }
}

/// The query that fills the form with a request.
pub(super) fn query(request: &SheetRequest) -> String {
    let SheetRequest { title, base, axes, .. } = request;
    let mut pairs = vec![
        ("title".to_owned(), title.clone()),
        ("prompt".to_owned(), base.prompt.clone()),
        ("negative_prompt".to_owned(), base.negative_prompt.clone()),
    ];
    pairs.extend(request.run_id().map(|run| ("run".to_owned(), run.to_owned())));
    if let Some(used) = base.adapters.first() {
        pairs.push(("adapter".to_owned(), used.name.clone()));
        pairs.push(("strength".to_owned(), used.strength.to_string()));
    }
    let numbers = [
        ("seed", base.seed.map(|value| value.to_string())),
        ("steps", base.steps.map(|value| value.to_string())),
        ("guidance", base.guidance.map(|value| value.to_string())),
        ("width", base.width.map(|value| value.to_string())),
        ("height", base.height.map(|value| value.to_string())),
    ];
    pairs.extend(numbers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    for (at, axis) in axes.iter().enumerate() {
        pairs.push((format!("axis{}", at + 1), axis.setting.name().to_owned()));
        pairs.push((format!("values{}", at + 1), axis.values.join("\n")));
    }
    let mut query = String::new();
    for (name, value) in pairs {
        form::add(&mut query, &name, &value);
    }
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_becomes_a_request_and_a_request_a_form() {
        let pairs = [
            ("title", "T"),
            ("prompt", "moons, blue"),
            ("adapter", "adire@v1"),
            ("strength", "0.5"),
            ("seed", "7"),
            ("axis1", "steps"),
            ("values1", "4, 8\n 12"),
            ("axis2", ""),
            ("values2", "left over"),
            ("axis3", "prompt"),
            ("values3", "a, b\nc"),
        ];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let request = sheet_request(&FormInput::from_pairs(pairs)).unwrap();
        assert_eq!(request.base.adapters, [AdapterUse::new("adire@v1", 0.5)]);
        let axes: Vec<(SheetSetting, Vec<&str>)> = request
            .axes
            .iter()
            .map(|axis| (axis.setting, axis.values.iter().map(String::as_str).collect()))
            .collect();
        let expected =
            [(SheetSetting::Steps, vec!["4", "8", "12"]), (SheetSetting::Prompt, vec!["a, b", "c"])];
        assert_eq!(axes, expected);
        let text = query(&request);
        assert!(text.contains("axis1=steps&values1=4%0A8%0A12&axis2=prompt&values2=a%2C%20b%0Ac"), "{text}");

        let wrong = FormInput::from_pairs(vec![("seed".to_owned(), "x".to_owned())]);
        assert_eq!(sheet_request(&wrong).unwrap_err()[0].field, "seed");
    }
}
