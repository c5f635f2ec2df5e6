//! One sheet, which fills in as its cells are generated.

use std::collections::BTreeSet;

use adire_protocol::{
    GenerationSpec, SheetCell, SheetCellState, SheetDetail, SheetRecord, SheetRequest, SheetSetting,
    SheetState,
};
use leptos::prelude::*;

use super::{
    frame::{crumbs, flash_line, head},
    image,
    sheet_form::query,
    training::keep_form,
};
use crate::form::{FormValues, encode};

/// Milliseconds between two looks at a sheet that fills in.
const EVERY_MS: u32 = 1500;
/// Address of a sheet's page.
pub(super) fn address(id: &str) -> String {
    format!("/admin/sheets/{id}")
}

/// Its title, else what all cells share.
pub(super) fn title(record: &SheetRecord) -> String {
    let SheetRequest { title, base, axes, .. } = &record.request;
    if !title.is_empty() {
        return title.clone();
    }
    let varies = axes.iter().any(|axis| axis.setting == SheetSetting::Prompt);
    let prompt: String = base.prompt.chars().take(60).collect();
    if varies || prompt.trim().is_empty() { "Sheet".to_owned() } else { prompt }
}

/// Images done, of all.
pub(super) fn progress(record: &SheetRecord) -> String {
    format!("{} of {}", record.done, record.cells)
}

pub(super) fn sheet(data: SheetDetail, flash: Option<String>) -> AnyView {
    let heading = title(&data.sheet);
    let axes: Vec<&str> = data.sheet.request.axes.iter().map(|axis| axis.setting.label()).collect();
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
        {crumbs([("/admin/evaluations", "Evaluation"), ("/admin/sheets", "Sheets")])}
        {head(heading, lead, actions)}
        {flash_line(flash)}
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
    let has_image = (0..).zip(&cells).filter(|(_, cell)| cell.image.is_some());
    let saved: BTreeSet<u32> = has_image.filter_map(|(at, _)| sheet.request.step(at)).collect();
    let mut cells = cells.into_iter();
    let mut tables = Vec::new();
    for table in 0..count(2) {
        let caption = axes.get(2).map(|axis| format!("{}: {}", axis.setting.label(), axis.values[table]));
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
    let versions = checkpoints(&sheet.request, &sheet.id, &saved);
    view! {
        <div
            id="live"
            data-live=format!("{}/live", address(&sheet.id))
            data-every=EVERY_MS.to_string()
            data-state=sheet.state.name()
        >
            <p role="status">{standing}</p>
            {tables}
            {versions}
            {cancel}
        </div>
    }
    .into_any()
}

/// Buttons that make a checkpoint with images a version.
fn checkpoints(request: &SheetRequest, sheet: &str, saved: &BTreeSet<u32>) -> Option<AnyView> {
    let run = request.run_id().filter(|_| !saved.is_empty())?;
    let steps: Vec<u32> = saved.iter().copied().collect();
    let view = view! {
        {keep_form(run, &steps, &format!("Checkpoints of sheet {}", &sheet[..8]))}
        <p>
            <a href=format!("/admin/training/{run}")>"Training run"</a>
        </p>
    };
    Some(view.into_any())
}

fn cell(cell: SheetCell) -> AnyView {
    let SheetCell { values, state, spec, url, error, .. } = cell;
    let name = values.join(", ");
    let body = match url {
        Some(url) => {
            // A checkpoint is not offered on the studio page.
            let is_checkpoint =
                |spec: &&GenerationSpec| spec.adapters.iter().any(|used| used.name.contains('/'));
            let reuse = spec
                .as_ref()
                .filter(|spec| !is_checkpoint(spec))
                .map(|spec| format!("/?{}", encode(&FormValues::of_spec(spec))));
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
