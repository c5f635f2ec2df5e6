//! The page of one image for its maker: rating, report, recipe, deletion. A plain document.

use adire_protocol::{HistoryImage, MAX_FLAG_CHARS, Share};
use leptos::prelude::*;

use super::{
    adapters::Bar,
    history::{address, reference},
};
use crate::{
    admin::ago,
    components::Rate,
    form::{self, FormValues},
    words::number,
};

/// What the page shows.
#[derive(Clone)]
pub(crate) struct CardData {
    pub(crate) image: HistoryImage,
    /// Its share, if its maker shares it.
    pub(crate) share: Option<Share>,
    /// Scheme and host by which the page was reached.
    pub(crate) origin: String,
    /// Message about the last action.
    pub(crate) flash: Option<String>,
}

/// The page at `/history/{generation}/{index}`.
#[component]
pub(crate) fn CardView(data: CardData) -> impl IntoView {
    let CardData { image, share, origin, flash } = data;
    let (page, name) = (address(&image), reference(&image));
    let spec = &image.image.recipe.spec;
    let prompt = if spec.prompt.is_empty() { "(no prompt)".to_owned() } else { spec.prompt.clone() };
    let values = form::encode(&FormValues::of_spec(spec));
    let (reuse, code) = (format!("/?{values}"), format!("/code?{values}"));
    let canvas = format!("/?generation={}&image={}", image.image.generation, image.image.index);
    let (width, height) = spec.final_size();
    let facts = facts(&image);
    let source = image.image.url.clone();
    let file = format!("{}?download", image.image.url);
    view! {
        <Bar />
        <main class="paper wide-paper">
            <p class="crumb">
                <a href="/history">"Your images"</a>
            </p>
            {flash.map(|flash| view! { <p class="notice" role="status">{flash}</p> })}
            <div class="card-columns">
                <figure class="card-figure">
                    <img src=source alt=prompt.clone() width=width height=height />
                </figure>
                <div class="card-side">
                    <h2 class="card-prompt">{prompt}</h2>
                    <p class="hint">"Generated " {ago(image.image.created_at)}</p>
                    <Rate address=page.clone() rating=Signal::stored(image.rating) />
                    <div class="actions">
                        <a class="button" href=reuse>
                            "Reuse all"
                        </a>
                        <a class="button" href=canvas>
                            "Open in studio"
                        </a>
                        <a class="button" href=file>
                            "Download"
                        </a>
                        <a class="button" href=code>
                            "Use it from code"
                        </a>
                    </div>
                    {sharing(&page, share, &origin)}
                    <dl class="facts">{facts}</dl>
                    <details class="fold">
                        <summary>"Report to the admin"</summary>
                        <form method="post" action=page class="stack">
                            <input type="hidden" name="action" value="flag" />
                            <label for="reason">"What is wrong with this image?"</label>
                            <textarea id="reason" name="reason" rows="2" required maxlength=MAX_FLAG_CHARS></textarea>
                            <button type="submit" class="button">
                                "Send report"
                            </button>
                            <p class="hint">"The admin sees the image, its prompt and your reason."</p>
                        </form>
                    </details>
                    <form method="post" action="/history" class="card-delete">
                        <input type="hidden" name="image" value=name />
                        <button type="submit" class="stop" name="action" value="delete">
                            "Delete…"
                        </button>
                    </form>
                </div>
            </div>
        </main>
    }
}

/// Whether the image is shared, and what with it.
fn sharing(page: &str, share: Option<Share>, origin: &str) -> AnyView {
    let shared = share.is_some();
    let with_recipe = share.as_ref().is_some_and(|share| share.recipe);
    let link = share.map(|share| {
        let address = format!("{origin}{}", share.page);
        let qr = format!("{}/qr.svg", share.page);
        view! {
            <label for="share-link">"Anyone with this link sees the image:"</label>
            <input type="text" id="share-link" class="share-link" readonly value=address />
            <p class="line">
                <a class="button" href=share.page>
                    "Open shared page"
                </a>
            </p>
            <img class="qr" src=qr alt="QR code of the shared page" width="200" height="200" />
        }
    });
    let hint = "The prompt, seed and settings are shown too. Init images never are.";
    view! {
        <section class="sheet" aria-labelledby="share-title">
            <h3 id="share-title">{if shared { "Shared" } else { "Share" }}</h3>
            {(!shared).then(|| view! { <p class="hint">"Sharing makes a link that anyone can open."</p> })}
            {link}
            <form method="post" action=page.to_owned() class="stack">
                <label class="tick">
                    <input type="checkbox" name="recipe" value="on" checked=with_recipe autocomplete="off" />
                    <span>"Share the prompt"</span>
                </label>
                <p class="hint">{hint}</p>
                <div class="line">
                    <button type="submit" class="button" name="action" value="share">
                        {if shared { "Save" } else { "Share image" }}
                    </button>
                    {shared
                        .then(|| {
                            view! {
                                <button type="submit" class="stop" name="action" value="unshare">
                                    "Stop sharing"
                                </button>
                            }
                        })}
                </div>
            </form>
        </section>
    }
    .into_any()
}

fn facts(image: &HistoryImage) -> Vec<AnyView> {
    let recipe = &image.image.recipe;
    let spec = &recipe.spec;
    let (width, height) = spec.final_size();
    let mut facts = vec![
        ("Seed", spec.seed.to_string()),
        ("Steps", spec.steps.to_string()),
        ("Guidance", number(spec.guidance)),
        ("Sampler", spec.sampling.label()),
        ("Size", format!("{width} × {height}")),
    ];
    for used in &spec.adapters {
        facts.push(("Adapter", format!("{} × {}", used.name, number(used.strength))));
    }
    if !spec.negative_prompt.is_empty() {
        facts.push(("Negative prompt", spec.negative_prompt.clone()));
    }
    facts.push(("Model", recipe.model.clone()));
    facts.into_iter().map(fact).collect()
}

/// A line of a list of facts.
pub(super) fn fact((name, value): (&'static str, String)) -> AnyView {
    view! {
        <div>
            <dt>{name}</dt>
            <dd>{value}</dd>
        </div>
    }
    .into_any()
}
