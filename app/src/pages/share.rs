//! A shared image for anyone, and the studio with one adapter version chosen and only the prompt to fill in. Plain documents.

use adire_protocol::{AdapterVersion, MAX_FLAG_CHARS, ModelInfo, SharedImage};
use leptos::prelude::*;

use super::{adapters::Bar, card::fact};
use crate::{
    form::{self, FormValues},
    words::number,
};

/// What the page of a shared image shows.
#[derive(Clone)]
pub(crate) struct ShareData {
    pub(crate) image: SharedImage,
    /// Scheme and host by which the page was reached.
    pub(crate) origin: String,
    /// Message about the last action.
    pub(crate) flash: Option<String>,
}

/// What the page of a version shows to those with its link.
#[derive(Clone)]
pub(crate) struct TryData {
    pub(crate) version: AdapterVersion,
    /// The name in the address: a version or an alias.
    pub(crate) name: String,
    pub(crate) model: ModelInfo,
    /// Scheme and host by which the page was reached.
    pub(crate) origin: String,
}

/// A line of Open Graph, by which other sites draw a preview.
fn og(property: &'static str, content: impl Into<String>) -> impl IntoView {
    leptos::html::meta().attr("property", property).attr("content", content.into())
}

impl ShareData {
    /// Title of the window and of previews: the prompt only where it is shared.
    pub(crate) fn title(&self) -> String {
        let prompt = self.image.recipe.as_ref().map(|recipe| recipe.prompt.trim()).unwrap_or_default();
        if !prompt.is_empty() {
            let short: String = prompt.chars().take(90).collect();
            return if short.len() < prompt.len() { short + "…" } else { short };
        }
        match self.image.adapters.first() {
            Some(adapter) => format!("Made with {adapter}"),
            None => format!("Made with {}", self.image.model),
        }
    }

    /// What previews on other sites need.
    pub(crate) fn head(&self) -> AnyView {
        let image = format!("{}{}", self.origin, self.image.url);
        let page = format!("{}/p/{}", self.origin, self.image.hash);
        let (width, height) = (self.image.width.to_string(), self.image.height.to_string());
        view! {
            <meta name="robots" content="noindex" />
            {og("og:type", "website")}
            {og("og:site_name", "Adire")}
            {og("og:title", self.title())}
            {og("og:url", page)}
            {og("og:image", image)}
            {og("og:image:type", "image/png")}
            {og("og:image:width", width)}
            {og("og:image:height", height)}
            <meta name="twitter:card" content="summary_large_image" />
        }
        .into_any()
    }
}

impl TryData {
    /// Title of the window and of previews.
    pub(crate) fn title(&self) -> String {
        format!("Try {}", self.version.name)
    }

    /// What previews on other sites need.
    pub(crate) fn head(&self) -> AnyView {
        let page = format!("{}/try/{}", self.origin, self.name);
        view! {
            <meta name="robots" content="noindex" />
            {og("og:type", "website")}
            {og("og:site_name", "Adire")}
            {og("og:title", self.title())}
            {og("og:description", self.version.description.clone())}
            {og("og:url", page)}
        }
        .into_any()
    }
}

/// The page at `/p/{hash}`.
#[component]
pub(crate) fn ShareView(data: ShareData) -> impl IntoView {
    let title = data.title();
    let ShareData { image, flash, .. } = data;
    let own = match (&image.recipe, image.adapters.first()) {
        (Some(recipe), _) => format!("/?{}", form::encode(&FormValues::of_spec(recipe))),
        (None, Some(adapter)) => format!("/try/{adapter}"),
        (None, None) => "/".to_owned(),
    };
    let alt =
        image.recipe.as_ref().map_or_else(|| "A shared image".to_owned(), |recipe| recipe.prompt.clone());
    let facts = facts(&image);
    let page = format!("/p/{}", image.hash);
    let qr = format!("{page}/qr.svg");
    view! {
        <Bar />
        <main class="paper wide-paper">
            {flash.map(|flash| view! { <p class="notice" role="status">{flash}</p> })}
            <div class="card-columns">
                <figure class="card-figure">
                    <img src=image.url.clone() alt=alt width=image.width height=image.height />
                </figure>
                <div class="card-side">
                    <h2 class="card-prompt">{title}</h2>
                    <p class="own">
                        <a class="primary" href=own>
                            "Make your own from this"
                        </a>
                    </p>
                    <dl class="facts">{facts}</dl>
                    <details class="fold">
                        <summary>"QR code"</summary>
                        <img class="qr" src=qr alt="QR code of this page" width="200" height="200" loading="lazy" />
                    </details>
                    <details class="fold">
                        <summary>"Report to the admin"</summary>
                        <form method="post" action=page class="stack">
                            <label for="reason">"What is wrong with this image?"</label>
                            <textarea id="reason" name="reason" rows="2" required maxlength=MAX_FLAG_CHARS></textarea>
                            <button type="submit" class="button">
                                "Send report"
                            </button>
                        </form>
                    </details>
                </div>
            </div>
        </main>
    }
}

fn facts(image: &SharedImage) -> Vec<AnyView> {
    let mut facts = Vec::new();
    if let Some(spec) = &image.recipe {
        facts.extend([
            ("Seed", spec.seed.to_string()),
            ("Steps", spec.steps.to_string()),
            ("Guidance", number(spec.guidance)),
            ("Sampler", spec.sampling.label()),
        ]);
        let used = spec.adapters.iter();
        facts.extend(used.map(|used| ("Adapter", format!("{} × {}", used.name, number(used.strength)))));
        if !spec.negative_prompt.is_empty() {
            facts.push(("Negative prompt", spec.negative_prompt.clone()));
        }
    } else {
        facts.extend(image.adapters.iter().map(|adapter| ("Adapter", adapter.clone())));
    }
    facts.push(("Size", format!("{} × {}", image.width, image.height)));
    facts.push(("Model", image.model.clone()));
    facts.into_iter().map(fact).collect()
}

/// The page at `/try/{name}`.
#[component]
pub(crate) fn TryView(data: TryData) -> impl IntoView {
    let TryData { version, name, model, .. } = data;
    let trigger = version.trigger.clone();
    let fitting = |prompt: &&str| !trigger.is_empty() && prompt.contains(trigger.as_str());
    let examples: Vec<&str> = model.example_prompts.iter().map(|example| example.prompt.as_str()).collect();
    let example = examples.iter().copied().find(fitting).or_else(|| examples.first().copied());
    let placeholder = example.map(|example| format!("For example: {example}")).unwrap_or_default();
    let help = (!version.trigger.is_empty())
        .then(|| format!("“{}” is added if you leave it out: it brings the style.", version.trigger));
    let address = format!("/try/{name}");
    let qr = format!("{address}/qr.svg");
    let about = format!("/adapters/{}", version.id());
    view! {
        <Bar />
        <main class="paper try">
            <h2>"Try " {version.name.clone()}</h2>
            <p class="lead">
                {if version.description.is_empty() {
                    "Describe an image and see it made.".to_owned()
                } else {
                    version.description.clone()
                }}
            </p>
            <form method="post" action=address class="try-form">
                <label for="prompt">"Prompt"</label>
                <textarea id="prompt" name="prompt" rows="3" required maxlength="4000" placeholder=placeholder aria-describedby="prompt-help"></textarea>
                <p class="hint" id="prompt-help">{help}</p>
                <button type="submit" class="primary">
                    "Generate"
                </button>
            </form>
            <p class="hint">
                "This is " <a href=about>{version.id()}</a> " on " {model.name.clone()} "."
            </p>
            <details class="fold">
                <summary>"QR code"</summary>
                <img class="qr" src=qr alt="QR code of this page" width="200" height="200" loading="lazy" />
            </details>
        </main>
    }
}
