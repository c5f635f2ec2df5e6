//! The HTML document around every page, and which page an address gets. Server only.

use adire_protocol::{AdapterVersion, ModelInfo};
use adire_studio::{Client, ErrorKind, Studio, StudioError};
use leptos::{nonce::use_nonce, prelude::*};

use crate::{
    api::{self, DATA_ID, StudioData},
    pages::{AdapterData, AdapterPage, AdaptersPage, NoAdapter, NotFound, StudioPage, Unavailable, title},
    request::current_theme,
    state::Address,
};

/// A page with its data.
#[derive(Clone)]
pub struct Document(Content);

#[derive(Clone)]
enum Content {
    Studio(Box<StudioData>),
    Adapters(Vec<AdapterVersion>, Box<ModelInfo>),
    Adapter(Box<AdapterData>),
    NoAdapter(String),
    NotFound,
    Unavailable(ErrorKind, String),
}

impl Document {
    /// The studio page; `query` is the part of the address after `?`. `warning`: what there is to say about files that have
    /// just been posted.
    pub async fn studio(studio: &Studio, client: &Client, query: &str, warning: Option<String>) -> Self {
        let address = Address::read(query);
        Self(match api::data(studio, client, address.generation, address.before).await {
            Ok(data) => Content::Studio(Box::new(StudioData { warning, ..data })),
            Err(error) => Content::Unavailable(error.kind(), error.to_string()),
        })
    }

    /// Every adapter.
    pub async fn adapters(studio: &Studio) -> Self {
        let model = Box::new(studio.model().clone());
        Self(match studio.adapters().await {
            Ok(adapters) => Content::Adapters(adapters, model),
            Err(error) => Content::Unavailable(error.kind(), error.to_string()),
        })
    }

    /// One adapter version: `name@vN`, `name@alias`, or `name` for the newest.
    pub async fn adapter(studio: &Studio, name: &str) -> Self {
        Self(match adapter(studio, name).await {
            Ok(data) => Content::Adapter(Box::new(data)),
            Err(error @ (StudioError::UnknownAdapter { .. } | StudioError::Invalid(_))) => {
                Content::NoAdapter(error.to_string())
            }
            Err(error) => Content::Unavailable(error.kind(), error.to_string()),
        })
    }

    /// For an unknown address.
    pub fn not_found() -> Self {
        Self(Content::NotFound)
    }

    /// The kind of problem, if this is an error page.
    pub fn problem(&self) -> Option<ErrorKind> {
        match &self.0 {
            Content::Studio(_) | Content::Adapters(..) | Content::Adapter(_) => None,
            Content::NotFound | Content::NoAdapter(_) => Some(ErrorKind::NotFound),
            Content::Unavailable(kind, _) => Some(*kind),
        }
    }
}

/// Loads the wasm after the first paint, which fetching and compiling it would delay on a slow machine; the page works
/// without it. The first frame shows the header, the second the page (`style/layout.css`); a frame's
/// callback runs before that frame is painted, a timer set in it after.
const START: &str = "requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(async () => {
  const program = fetch('/pkg/adire_bg.wasm');
  const page = await import('/pkg/adire.js');
  await page.default({ module_or_path: program });
  page.hydrate();
})));";

async fn adapter(studio: &Studio, name: &str) -> Result<AdapterData, StudioError> {
    let detail = studio.adapter(name).await?;
    let mut versions = studio.adapters().await?;
    versions.retain(|version| version.name == detail.version.name);
    Ok(AdapterData { detail, versions, model: studio.model().clone() })
}

/// The document that the server sends, with `style` in it: one request less before the first paint.
pub fn shell(document: Document, style: String) -> impl IntoView {
    let (title, start) = match &document.0 {
        Content::Studio(data) => {
            (title(data.named.as_ref().or(data.active.as_ref())), Some(handed_over(data)))
        }
        Content::Adapters(..) => ("Adapters · Adire".to_owned(), None),
        Content::Adapter(data) => (format!("{} · Adire", data.detail.version.id()), None),
        Content::NotFound | Content::NoAdapter(_) | Content::Unavailable(..) => (title(None), None),
    };
    let is_paper = matches!(document.0, Content::Adapters(..) | Content::Adapter(_));
    let body = match document.0 {
        Content::Studio(data) => {
            provide_context(*data);
            view! { <StudioPage /> }.into_any()
        }
        Content::Adapters(adapters, model) => {
            view! { <AdaptersPage adapters=adapters model=*model /> }.into_any()
        }
        Content::Adapter(data) => view! { <AdapterPage data=*data /> }.into_any(),
        Content::NoAdapter(message) => view! { <NoAdapter message=message /> }.into_any(),
        Content::NotFound => view! { <NotFound /> }.into_any(),
        Content::Unavailable(_, message) => view! { <Unavailable message=message /> }.into_any(),
    };
    view! {
        <!DOCTYPE html>
        <html lang="en" data-theme=current_theme().name()>
            <head>
                <meta charset="utf-8" />
                <meta name="viewport" content="width=device-width, initial-scale=1, interactive-widget=resizes-content" />
                <title>{title}</title>
                <style nonce=use_nonce() inner_html=style></style>
                {is_paper.then(|| view! { <link rel="stylesheet" href="/adapters.css" /> })}
                <link rel="icon" href="/favicon.svg" type="image/svg+xml" />
            </head>
            <body>
                {body}
                {start
                    .map(|data| {
                        view! {
                            <script type="application/json" id=DATA_ID nonce=use_nonce() inner_html=data></script>
                            <script type="module" nonce=use_nonce() inner_html=START></script>
                        }
                    })}
            </body>
        </html>
    }
}

/// The page's data as JSON that may stand in a document: no `<` can end the element around it.
fn handed_over(data: &StudioData) -> String {
    serde_json::to_string(data).unwrap_or_default().replace('<', "\\u003c")
}
