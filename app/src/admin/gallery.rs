//! Everybody's images, and the way to delete them.

use adire_protocol::GalleryImage;
use leptos::prelude::*;

use super::{frame::head, queue::short, times::ago};

/// What the page shows.
#[derive(Clone, Debug)]
pub(crate) struct Gallery {
    /// Newest first.
    pub(crate) images: Vec<GalleryImage>,
    /// Whether there are older ones.
    pub(crate) more: bool,
    /// What was just done, or why it was not.
    pub(crate) flash: Option<String>,
}

pub(super) fn gallery(data: Gallery) -> AnyView {
    let Gallery { images, more, flash } = data;
    let empty = images.is_empty();
    let older = images.last().map(|image| format!("/admin/images?before={}", image.created_at));
    let cards = images.into_iter().map(card).collect::<Vec<_>>();
    view! {
        {head("Images", "What visitors have generated, newest first. Deleting is for good.", ())}
        {flash.map(|flash| view! { <p class="flash" role="status">{flash}</p> })}
        {empty.then(|| view! { <p class="nothing">"Nothing has been generated yet."</p> })}
        <ul class="cards gallery">{cards}</ul>
        {older
            .filter(|_| more)
            .map(|address| {
                view! {
                    <p>
                        <a class="button" href=address>
                            "Older images"
                        </a>
                    </p>
                }
            })}
    }
    .into_any()
}

fn card(image: GalleryImage) -> AnyView {
    let GalleryImage { hash, url, generation, visitor, prompt, created_at, .. } = image;
    let page = format!("/?generation={generation}");
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
    let whole =
        visitor.map(|visitor| form("delete-visitor", "visitor", visitor, "Delete all of this visitor"));
    view! {
        <li class="card">
            <a href=page>
                <img src=url alt=prompt.clone() loading="lazy" width="256" height="192" />
                <span class="card-text">
                    <b class="prompt-cut">{prompt}</b>
                    <span class="soft">{by} " · " {ago(created_at)}</span>
                </span>
            </a>
            <details class="card-more">
                <summary>"Delete"</summary>
                <div class="stack">
                    {form("delete-image", "hash", hash, "Delete this image")}
                    {form("delete-generation", "id", generation, "Delete prompt and images")} {whole}
                </div>
            </details>
        </li>
    }
    .into_any()
}
