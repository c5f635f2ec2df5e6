//! Images that visitors have reported, and what to do about each.

use adire_protocol::FlagRecord;
use leptos::prelude::*;

use super::{
    frame::{crumbs, flash_line, head},
    image,
    times::ago,
};

/// Data of the page.
#[derive(Clone, Debug)]
pub(crate) struct Flags {
    /// Oldest first.
    pub(crate) flags: Vec<FlagRecord>,
    /// Message about the last action.
    pub(crate) flash: Option<String>,
}

pub(super) fn flags(data: Flags) -> AnyView {
    let Flags { flags, flash } = data;
    let empty = flags.is_empty();
    let cards = flags.into_iter().map(card).collect::<Vec<_>>();
    let suite = view! {
        <a class="button" href="/admin/suite">
            "Edit suite"
        </a>
    };
    view! {
        {crumbs([("/admin/images", "Images")])}
        {head("Reports", "Images that visitors have reported, oldest first.", suite)}
        {flash_line(flash)}
        {empty.then(|| view! { <p class="nothing">"No open reports."</p> })}
        <ul class="cards gallery">{cards}</ul>
    }
    .into_any()
}

fn card(flag: FlagRecord) -> AnyView {
    let FlagRecord { id, reason, created_at, prompt, image } = flag;
    let lineage = image::address(&image.url);
    let shown = if prompt.is_empty() { "(no prompt)".to_owned() } else { prompt };
    let button = |action: &'static str, class: &'static str, words: &'static str| {
        let label = format!("{words}: {shown}");
        view! {
            <button type="submit" class=class name="action" value=action aria-label=label>
                {words}
            </button>
        }
        .into_any()
    };
    let (dismiss, add) =
        (button("dismiss", "button", "Dismiss"), button("add", "button", "Add prompt to suite"));
    let delete = button("delete-image", "stop", "Delete image");
    view! {
        <li class="card">
            <a href=lineage>
                <img src=image.url alt=shown.clone() loading="lazy" width="256" height="192" />
                <span class="card-text">
                    <b>{format!("“{reason}”")}</b>
                    <span class="prompt-cut">{shown}</span>
                    <span class="soft">"Reported " {ago(created_at)}</span>
                </span>
            </a>
            <form method="post" action="/admin/flags" class="card-actions">
                <input type="hidden" name="id" value=id />
                <input type="hidden" name="hash" value=image.hash />
                {dismiss}
                {add}
                {delete}
            </form>
        </li>
    }
    .into_any()
}
