//! Sheets: the list with the form for a new one, and one that fills in as its cells are generated.

use adire_protocol::{
    AdapterUse, FieldError, GenerationRequest, SheetAxis, SheetCell, SheetCellState, SheetDetail,
    SheetRecord, SheetRequest, SheetSetting, SheetState,
};
use leptos::prelude::*;

use super::{
    fields::{Field, FormInput, alert},
    frame::head,
    image,
    times::ago,
};
use crate::form::{FormValues, encode};

/// Milliseconds between two looks at a sheet that fills in.
const EVERY_MS: u32 = 1500;
/// Fields of the form.
const FIELDS: [&str; 16] = [
    "title",
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

/// Data of the list.
#[derive(Clone, Debug)]
pub(crate) struct Sheets {
    /// Newest first.
    pub(crate) all: Vec<SheetRecord>,
    /// Versions that there are, `name@vN`.
    pub(crate) versions: Vec<String>,
    /// The form for a new one.
    pub(crate) new: FormInput,
}

pub(super) fn sheets(data: Sheets) -> AnyView {
    let Sheets { all, versions, new } = data;
    let empty = all.is_empty();
    let rows = all.into_iter().map(row).collect::<Vec<_>>();
    view! {
        <p class="crumb">
            <a href="/admin/evaluations">"Evaluation"</a>
        </p>
        {head("Sheets", "Grids of images that differ in two or three settings; the seed and everything else is shared.", ())}
        {if empty {
            view! { <p class="nothing">"No sheets yet."</p> }.into_any()
        } else {
            view! {
                <div class="wide" tabindex="0" role="region" aria-label="Sheets">
                    <table class="list">
                        <thead>
                            <tr>
                                <th scope="col">"Sheet"</th>
                                <th scope="col">"Axes"</th>
                                <th scope="col">"Images"</th>
                                <th scope="col">"Created"</th>
                            </tr>
                        </thead>
                        <tbody>{rows}</tbody>
                    </table>
                </div>
            }
                .into_any()
        }}
        {form(&new, &versions)}
    }
    .into_any()
}

fn row(record: SheetRecord) -> AnyView {
    let axes: Vec<&str> = record.request.axes.iter().map(|axis| axis.setting.name()).collect();
    view! {
        <tr>
            <th scope="row">
                <a class="strong" href=address(&record.id)>
                    {title(&record)}
                </a>
            </th>
            <td>{axes.join(" × ")}</td>
            <td class="count">{progress(&record)}</td>
            <td class="soft age">{ago(record.created_at)}</td>
        </tr>
    }
    .into_any()
}

fn address(id: &str) -> String {
    format!("/admin/sheets/{id}")
}

/// Its title, else what all cells share.
pub(super) fn title(record: &SheetRecord) -> String {
    let SheetRequest { title, base, axes } = &record.request;
    if !title.is_empty() {
        return title.clone();
    }
    let varies = axes.iter().any(|axis| axis.setting == SheetSetting::Prompt);
    let prompt: String = base.prompt.chars().take(60).collect();
    if varies || prompt.trim().is_empty() { "Sheet".to_owned() } else { prompt }
}

fn progress(record: &SheetRecord) -> String {
    format!("{} of {}", record.done, record.cells)
}

fn form(new: &FormInput, versions: &[String]) -> AnyView {
    let choice = |value: &str, label: &str| (value.to_owned(), label.to_owned());
    let mut adapters = vec![choice("", "None")];
    adapters.extend(versions.iter().map(|id| choice(id, id)));
    let text = |name, label, help| Field { name, label, help };
    let axis = |number: usize| {
        let mut options = vec![choice("", "None")];
        options.extend(SheetSetting::ALL.map(|setting| choice(setting.name(), label(setting))));
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
                {text("negative_prompt", "What to avoid", "").lines(new)}
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

fn label(setting: SheetSetting) -> &'static str {
    match setting {
        SheetSetting::Version => "Adapter version",
        SheetSetting::Strength => "Adapter strength",
        SheetSetting::Prompt => "Prompt",
        SheetSetting::Seed => "Seed",
        SheetSetting::Sampler => "Sampler",
        SheetSetting::Steps => "Steps",
        SheetSetting::Guidance => "Guidance scale",
    }
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
    if errors.is_empty() {
        Ok(SheetRequest { title: form.get("title").trim().to_owned(), base, axes })
    } else {
        Err(errors)
    }
}

pub(super) fn sheet(data: SheetDetail, flash: Option<String>) -> AnyView {
    let heading = title(&data.sheet);
    let axes: Vec<&str> = data.sheet.request.axes.iter().map(|axis| label(axis.setting)).collect();
    let lead = format!("{}, seed {}.", axes.join(" × "), data.sheet.request.base.seed.unwrap_or_default());
    let id = data.sheet.id.clone();
    let again = format!("/admin/sheets?{}", query(&data.sheet.request));
    let actions = view! {
        <a class="button" href=format!("{}/sheet.png", address(&id)) download=format!("sheet-{}.png", &id[..8])>
            "Download PNG"
        </a>
        <a class="button" href=again>
            "Duplicate"
        </a>
    };
    view! {
        <p class="crumb">
            <a href="/admin/evaluations">"Evaluation"</a>
            " / "
            <a href="/admin/sheets">"Sheets"</a>
        </p>
        {head(heading, lead, actions)}
        {flash.map(|flash| view! { <p class="flash" role="status">{flash}</p> })}
        {sheet_live(data)}
        <form method="post" action=address(&id) class="choices">
            <button type="submit" name="action" value="delete" class="stop">
                "Delete sheet, keep images"
            </button>
        </form>
    }
    .into_any()
}

/// The part of the page that moves.
pub(super) fn sheet_live(data: SheetDetail) -> AnyView {
    let SheetDetail { sheet, cells } = data;
    let axes = &sheet.request.axes;
    let count = |at: usize| axes.get(at).map_or(1, |axis| axis.values.len());
    let (columns, rows) = (count(0), count(1));
    let mut cells = cells.into_iter();
    let mut tables = Vec::new();
    for table in 0..count(2) {
        let caption = axes.get(2).map(|axis| format!("{}: {}", label(axis.setting), axis.values[table]));
        let heads = axes.first().map(|axis| axis.values.clone()).unwrap_or_default();
        let heads = heads.into_iter().map(|value| view! { <th scope="col">{value}</th> }).collect::<Vec<_>>();
        let lines = (0..rows)
            .map(|row| {
                let name = axes.get(1).map(|axis| axis.values[row].clone()).unwrap_or_default();
                let line = cells.by_ref().take(columns).map(cell).collect::<Vec<_>>();
                view! {
                    <tr>
                        <th scope="row">{name}</th>
                        {line}
                    </tr>
                }
            })
            .collect::<Vec<_>>();
        let region = caption.clone().unwrap_or_else(|| "Sheet".to_owned());
        tables.push(view! {
            <div class="wide" tabindex="0" role="region" aria-label=region>
                <table class="sheet">
                    {caption.map(|caption| view! { <caption>{caption}</caption> })}
                    <thead>
                        <tr>
                            <td></td>
                            {heads}
                        </tr>
                    </thead>
                    <tbody>{lines}</tbody>
                </table>
            </div>
        });
    }
    let running = sheet.state == SheetState::Running;
    let standing = match sheet.state {
        SheetState::Running => format!("{} images.", progress(&sheet)),
        SheetState::Done if sheet.failed == 0 => format!("{} images, all done.", sheet.done),
        SheetState::Done => format!("{} images, {} missing.", progress(&sheet), sheet.failed),
        SheetState::Cancelled => format!("Cancelled with {} images.", progress(&sheet)),
    };
    let cancel = running.then(|| {
        view! {
            <form method="post" action=address(&sheet.id) class="choices">
                <button type="submit" name="action" value="cancel" class="button">
                    "Cancel the rest"
                </button>
            </form>
        }
    });
    view! {
        <div
            id="live"
            data-live=format!("{}/live", address(&sheet.id))
            data-every=EVERY_MS.to_string()
            data-state=sheet.state.name()
        >
            <p role="status">{standing}</p>
            {tables}
            {cancel}
        </div>
    }
    .into_any()
}

fn cell(cell: SheetCell) -> AnyView {
    let SheetCell { values, state, spec, url, error, .. } = cell;
    let name = values.join(", ");
    let body = match url {
        Some(url) => {
            let reuse = spec.as_ref().map(|spec| format!("/?{}", encode(&FormValues::of_spec(spec))));
            let (width, height) = spec.as_ref().map_or((256, 256), |spec| spec.final_size());
            let page = image::address(&url);
            view! {
                <a href=page>
                    <img src=url alt=name.clone() loading="lazy" width=width.to_string() height=height.to_string() />
                </a>
                {reuse
                    .map(|reuse| {
                        view! {
                            <a class="reuse" href=reuse aria-label=format!("Use settings: {name}")>
                                "Use settings"
                            </a>
                        }
                    })}
            }
            .into_any()
        }
        None => {
            let word = match state {
                SheetCellState::Waiting | SheetCellState::Queued => "Queued",
                SheetCellState::Running => "Running",
                SheetCellState::Done => "Done",
                SheetCellState::Failed => "Failed",
                SheetCellState::Cancelled => "Cancelled",
                SheetCellState::Deleted => "Deleted",
            };
            view! {
                <span class="empty-cell">
                    {word}
                    {error.map(|error| view! { <span class="soft">{error}</span> })}
                </span>
            }
            .into_any()
        }
    };
    view! { <td>{body}</td> }.into_any()
}

/// The query that fills the form with a request.
fn query(request: &SheetRequest) -> String {
    let SheetRequest { title, base, axes } = request;
    let mut pairs = vec![
        ("title".to_owned(), title.clone()),
        ("prompt".to_owned(), base.prompt.clone()),
        ("negative_prompt".to_owned(), base.negative_prompt.clone()),
    ];
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
    let escape = |text: &str| {
        text.bytes().fold(String::new(), |mut escaped, byte| {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
                escaped.push(char::from(byte));
            } else {
                escaped.push_str(&format!("%{byte:02X}"));
            }
            escaped
        })
    };
    let pairs = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    pairs.map(|(name, value)| format!("{name}={}", escape(&value))).collect::<Vec<_>>().join("&")
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
