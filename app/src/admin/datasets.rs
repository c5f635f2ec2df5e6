//! The list of datasets, and the form that creates one.

use adire_protocol::{DatasetSummary, thumbnail_url};
use leptos::prelude::*;

use super::{
    fields::{Field, FormInput, alert},
    frame::{flash_line, head},
    icons::Icon,
    times::ago,
};
use crate::words::images;

/// Data of the list.
#[derive(Clone, Debug)]
pub(crate) struct Datasets {
    /// Newest first.
    pub(crate) all: Vec<DatasetSummary>,
    /// Message about the last action.
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
                            {if dataset.frozen.is_some() { "Frozen" } else { "Draft" }}
                        </span>
                        <span class="soft">"created " {ago(dataset.created_at)}</span>
                    </span>
                </a>
            </li>
        }
    });
    let cards = cards.collect::<Vec<_>>();
    view! {
        {head(
            "Datasets",
            "Captioned images to train on. A dataset is frozen once a run uses it.",
            (),
        )}
        {flash_line(flash)}
        {none
            .then(|| {
                view! {
                    <p class="nothing">
                        "No datasets yet. Create one below, then add 20–30 images in one style."
                    </p>
                }
            })}
        <ul class="cards">{cards}</ul>
        <section class="panel narrow" id="new" aria-labelledby="new-title">
            <h2 id="new-title">"New dataset"</h2>
            {alert(new.general(&["name", "trigger", "caption"]))}
            <form method="post" action="/admin/datasets" class="stack">
                {Field { name: "name", label: "Name", help: "Shown to admins only." }.text(&new)}
                {trigger().text(&new)}
                <button type="submit" class="primary">
                    "Create dataset"
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
        help: "Activates the style in a prompt, e.g. “in adire style”. Prepended to captions that lack it.",
    }
}
