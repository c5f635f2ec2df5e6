//! Images of all visitors, and their deletion.

use adire_protocol::GalleryImage;
use leptos::prelude::*;

use super::{
    frame::{flash_line, head},
    image,
    queue::short,
    times::ago,
};
use crate::words::counted;

/// Data of the page.
#[derive(Clone, Debug)]
pub(crate) struct Gallery {
    /// Newest first.
    pub(crate) images: Vec<GalleryImage>,
    /// Whether there are older ones.
    pub(crate) more: bool,
    /// Reports that wait for the admin.
    pub(crate) reports: u32,
    /// Message about the last action.
    pub(crate) flash: Option<String>,
}

pub(super) fn gallery(data: Gallery) -> AnyView {
    let Gallery { images, more, reports, flash } = data;
    let empty = images.is_empty();
    let older = images.last().map(|image| format!("/admin/images?before={}", image.created_at));
    let cards = images.into_iter().map(card).collect::<Vec<_>>();
    view! {
        {head(
            "Images",
            "Images of all visitors, newest first. Deletion can't be undone.",
            view! {
                <a class="button" href="/admin/flags">
                    {counted(reports.into(), "report")}
                </a>
            },
        )}
        {flash_line(flash)}
        {empty.then(|| view! { <p class="nothing">"No images yet."</p> })}
        <ul class="cards gallery">{cards}</ul>
        {older
            .filter(|_| more)
            .map(|address| {
                view! {
                    <p>
                        <a class="button" href=address>
                            "Load more"
                        </a>
                    </p>
                }
            })}
    }
    .into_any()
}

fn card(of: GalleryImage) -> AnyView {
    let GalleryImage { hash, url, generation, visitor, prompt, created_at, .. } = of;
    let page = format!("/?generation={generation}");
    let lineage = image::address(&url);
    let form = |action: &'static str, name: &'static str, value: String, words: &'static str| {
        view! {
            <form method="post" action="/admin/images">
                <input type="hidden" name="action" value=action />
                <input type="hidden" name=name value=value />
                <button type="submit" class="stop">
                    {words}
                </button>
            </form>
        }
        .into_any()
    };
    let by = visitor.as_deref().map_or_else(|| "no cookie".to_owned(), |v| format!("visitor {}", short(v)));
    let whole = visitor.map(|visitor| form("delete-visitor", "visitor", visitor, "Delete visitor's images"));
    view! {
        <li class="card">
            <a href=page>
                <img src=url alt=prompt.clone() loading="lazy" width="256" height="192" />
                <span class="card-text">
                    <b class="prompt-cut">{prompt}</b>
                    <span class="soft">{by} " · " {ago(created_at)}</span>
                </span>
            </a>
            <a class="card-link" href=lineage>
                "View lineage"
            </a>
            <details class="card-more">
                <summary>"Delete"</summary>
                <div class="stack">
                    {form("delete-image", "hash", hash, "Delete image")}
                    {form("delete-generation", "id", generation, "Delete prompt and images")} {whole}
                </div>
            </details>
        </li>
    }
    .into_any()
}
