//! The list of datasets, and the form that makes one.

use adire_protocol::{DatasetSummary, thumbnail_url};
use leptos::prelude::*;

use super::{
    fields::{Field, FormInput, alert},
    frame::head,
    icons::Icon,
    times::ago,
};
use crate::words::images;

/// What the list shows.
#[derive(Clone, Debug)]
pub(crate) struct Datasets {
    /// Newest first.
    pub(crate) all: Vec<DatasetSummary>,
    /// What was just done, in a sentence.
    pub(crate) flash: Option<String>,
    /// The form for a new one.
    pub(crate) new: FormInput,
}

pub(super) fn datasets(data: Datasets) -> AnyView {
    let Datasets { all, flash, new } = data;
    let none = all.is_empty();
    let cards = all.into_iter().map(|dataset| {
        let address = format!("/admin/datasets/{}", dataset.id);
        let cover = match &dataset.cover {
            Some(cover) => view! {
                <img src=thumbnail_url(&dataset.id, cover) alt="" loading="lazy" width="256" height="192" />
            }
            .into_any(),
            None => view! { <span class="no-cover">{Icon::Datasets.draw()}</span> }.into_any(),
        };
        view! {
            <li class="card">
                <a href=address>
                    {cover}
                    <span class="card-text">
                        <b>{dataset.name.clone()}</b>
                        <span class="soft">
                            {images(dataset.images)} " · "
                            {if dataset.frozen.is_some() { "used by a training" } else { "can still change" }}
                        </span>
                        <span class="soft">"made " {ago(dataset.created_at)}</span>
                    </span>
                </a>
            </li>
        }
    });
    let cards = cards.collect::<Vec<_>>();
    view! {
        {head(
            "Datasets",
            "Pictures with captions that adapters are trained on. Once a training has used one it never changes.",
            (),
        )}
        {flash.map(|flash| view! { <p class="flash" role="status">{flash}</p> })}
        {none
            .then(|| {
                view! {
                    <p class="nothing">
                        "There are none yet. Name one below, then drop your pictures into it: 20 to 30 of one style are enough."
                    </p>
                }
            })}
        <ul class="cards">{cards}</ul>
        <section class="panel narrow" id="new" aria-labelledby="new-title">
            <h2 id="new-title">"New dataset"</h2>
            {alert(new.general(&["name", "trigger", "caption"]))}
            <form method="post" action="/admin/datasets" class="stack">
                {Field { name: "name", label: "Name", help: "For you; people never see it." }.text(&new)}
                {trigger().text(&new)}
                <button type="submit" class="primary">
                    "Make the dataset"
                </button>
            </form>
        </section>
    }
    .into_any()
}

pub(super) fn trigger() -> Field<'static> {
    Field {
        name: "trigger",
        label: "Trigger word",
        help: "Calls the style up in a prompt, for example “in adire style”. It is put in front of captions that lack it.",
    }
}
