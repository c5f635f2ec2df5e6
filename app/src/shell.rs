//! The HTML document around every page, and the table of pages.

use leptos::prelude::*;
use leptos_meta::{MetaTags, Title, provide_meta_context};
use leptos_router::{
    SsrMode,
    components::{Route, Router, Routes},
    path,
};

use crate::{
    browser::{Theme, theme_of_cookie},
    pages::{NotFound, StudioPage},
};

/// The document that the server sends for every page.
pub fn shell(options: LeptosOptions) -> impl IntoView {
    view! {
        <!DOCTYPE html>
        <html lang="en" data-theme=current_theme().name()>
            <head>
                <meta charset="utf-8" />
                <meta name="viewport" content="width=device-width, initial-scale=1, interactive-widget=resizes-content" />
                <link rel="stylesheet" href="/pkg/adire.css" />
                <link rel="icon" href="/favicon.svg" type="image/svg+xml" />
                <HydrationScripts options />
                <MetaTags />
            </head>
            <body>
                <App />
            </body>
        </html>
    }
}

/// Every page by its address.
#[component]
pub fn App() -> impl IntoView {
    provide_meta_context();
    view! {
        <Title text="Adire" />
        <Router>
            <Routes fallback=NotFound>
                <Route path=path!("/") view=StudioPage ssr=SsrMode::Async />
            </Routes>
        </Router>
    }
}

/// The visitor's choice of colours: from the request on the server, from the page's cookies in the browser.
pub(crate) fn current_theme() -> Theme {
    theme_of_cookie(&cookies().unwrap_or_default())
}

#[cfg(feature = "ssr")]
fn cookies() -> Option<String> {
    use axum::http::{header, request::Parts};

    let parts = use_context::<Parts>()?;
    let all = parts.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    Some(all.collect::<Vec<_>>().join("; "))
}

#[cfg(not(feature = "ssr"))]
fn cookies() -> Option<String> {
    use wasm_bindgen::JsCast;

    document().dyn_ref::<web_sys::HtmlDocument>()?.cookie().ok()
}
