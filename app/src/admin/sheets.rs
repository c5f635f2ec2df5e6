//! The list of sheets, with the form for a new one.

use adire_protocol::SheetRecord;
use leptos::prelude::*;

use super::{
    fields::FormInput,
    frame::{crumbs, head},
    sheet::{address, progress, title},
    sheet_form::sheet_form,
    times::ago,
};

/// Data of the list.
#[derive(Clone, Debug)]
pub(crate) struct Sheets {
    /// Newest first.
    pub(crate) all: Vec<SheetRecord>,
    /// Versions that there are, `name@vN`.
    pub(crate) versions: Vec<String>,
    /// Training runs: id and label, the newest first.
    pub(crate) runs: Vec<(String, String)>,
    /// The form for a new one.
    pub(crate) new: FormInput,
}

pub(super) fn sheets(data: Sheets) -> AnyView {
    let Sheets { all, versions, runs, new } = data;
    let empty = all.is_empty();
    let rows = all.into_iter().map(row).collect::<Vec<_>>();
    view! {
        {crumbs([("/admin/evaluations", "Evaluation")])}
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
        {sheet_form(&new, &versions, &runs)}
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
