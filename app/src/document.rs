//! The HTML document around every page, and which page an address gets. Server only.

use adire_studio::{ErrorKind, Studio, Visitor};
use leptos::{nonce::use_nonce, prelude::*};

use crate::{
    api::{self, StudioData},
    pages::{NotFound, StudioPage, Unavailable, title},
    request::current_theme,
    state::Address,
};

/// A page with everything that it shows.
#[derive(Clone)]
pub struct Document(Content);

#[derive(Clone)]
enum Content {
    Studio(Box<StudioData>),
    NotFound,
    Unavailable(ErrorKind, String),
}

impl Document {
    /// The studio as a visitor finds it; `query` is what stands behind the `?` of the address.
    pub async fn studio(studio: &Studio, visitor: Option<&Visitor>, query: &str) -> Self {
        let address = Address::read(query);
        Self(match api::data(studio, visitor, address.job, address.before).await {
            Ok(data) => Content::Studio(Box::new(data)),
            Err(error) => Content::Unavailable(error.kind(), error.to_string()),
        })
    }

    /// For an address that leads nowhere.
    pub fn not_found() -> Self {
        Self(Content::NotFound)
    }

    /// Why this is not the page that was wanted.
    pub fn problem(&self) -> Option<ErrorKind> {
        match &self.0 {
            Content::Studio(_) => None,
            Content::NotFound => Some(ErrorKind::NotFound),
            Content::Unavailable(kind, _) => Some(*kind),
        }
    }
}

/// Loads the page's program. The first paint comes first: on a slow machine compiling wasm would hold it up, and the
/// page works without. A frame's callback runs before that frame is painted, a timer set in it after.
const START: &str = "requestAnimationFrame(() => setTimeout(async () => {
  const page = await import('/pkg/adire.js');
  await page.default({ module_or_path: '/pkg/adire_bg.wasm' });
  page.hydrate();
}));";

/// The document that the server sends, with `style` in it: one request less before the first paint.
pub fn shell(document: Document, style: String) -> impl IntoView {
    let (title, start) = match &document.0 {
        Content::Studio(data) => (title(data.named.as_ref().or(data.active.as_ref())), true),
        Content::NotFound | Content::Unavailable(..) => (title(None), false),
    };
    let body = match document.0 {
        Content::Studio(data) => {
            // The page itself hands it on to the browser.
            provide_context(*data);
            view! { <StudioPage /> }.into_any()
        }
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
                <link rel="icon" href="/favicon.svg" type="image/svg+xml" />
                {start
                    .then(|| {
                        view! {
                            <link rel="preload" href="/pkg/adire_bg.wasm" r#as="fetch" type="application/wasm" crossorigin="anonymous" />
                            <script type="module" nonce=use_nonce() inner_html=START></script>
                        }
                    })}
            </head>
            <body>{body}</body>
        </html>
    }
}
