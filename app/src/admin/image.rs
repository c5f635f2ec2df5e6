//! One image: the image itself, and its lineage.

use adire_protocol::{Lineage, LineageKind};
use leptos::prelude::*;

use super::{
    frame::{crumbs, head},
    lineage,
    times::ago,
};

/// Data of the page.
#[derive(Clone, Debug)]
pub(crate) struct ImagePage {
    /// Of the image.
    pub(crate) lineage: Lineage,
}

/// Address of the page of an image's file; other addresses stay.
pub(super) fn address(url: &str) -> String {
    let hash = url.strip_prefix("/api/v1/images/").and_then(|file| file.strip_suffix(".png"));
    hash.map_or_else(|| url.to_owned(), |hash| format!("/admin/images/{hash}"))
}

pub(super) fn image(data: ImagePage) -> AnyView {
    let ImagePage { lineage } = data;
    let Some(root) = lineage.node(&lineage.root).cloned() else { return ().into_any() };
    let generation = lineage.nodes.iter().find(|node| node.kind == LineageKind::Generation);
    let studio = generation.and_then(|node| node.page.clone()).map(|page| {
        view! {
            <a class="button" href=page>
                "Open in studio"
            </a>
        }
    });
    let file = root.image.clone().map(|url| {
        let alt = root.name.clone();
        let whole = url.clone();
        view! {
            <a href=whole>
                <img src=url alt=alt decoding="async" />
            </a>
        }
    });
    let facts = [
        generation.map(|node| node.name.clone()),
        generation.map(|node| node.detail.clone()),
        Some(root.detail.clone()).filter(|detail| !detail.is_empty()),
    ];
    let facts = facts.into_iter().flatten().map(|fact| view! { <p>{fact}</p> });
    view! {
        {crumbs([("/admin/images", "Images")])}
        {head(root.name.clone(), "Where this image came from.", studio)}
        <section class="panel one-image" aria-label="Image">
            {file}
            <div class="stack">
                {facts.collect::<Vec<_>>()} {root.at.map(|at| view! { <p class="soft">{ago(at)}</p> })}
                <dl class="facts">
                    <div>
                        <dt>"sha256"</dt>
                        <dd>{root.hash.clone()}</dd>
                    </div>
                </dl>
            </div>
        </section>
        {lineage::section(&lineage)}
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn files_of_images_lead_to_their_pages_and_others_stay() {
        assert_eq!(address("/api/v1/images/ab12.png"), "/admin/images/ab12");
        let thumbnail = "/admin/api/datasets/1/images/2/thumbnail";
        assert_eq!(address(thumbnail), thumbnail);
    }
}
