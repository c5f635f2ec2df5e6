//! The request for this page: on the server from the request itself, in the browser from the document.

use crate::browser::{Theme, theme_of_cookie};

/// The visitor's theme.
pub(crate) fn current_theme() -> Theme {
    theme_of_cookie(&cookies().unwrap_or_default())
}

/// Whether the page links to the admin pages: the browser has a cookie that says so and grants nothing. The browser keeps
/// what the server rendered.
pub(crate) fn shows_admin() -> bool {
    cfg!(feature = "ssr")
        && cookies().unwrap_or_default().split(';').any(|pair| pair.trim() == "adire_admin_link=1")
}

#[cfg(feature = "ssr")]
fn cookies() -> Option<String> {
    use axum::http::{header, request::Parts};

    let parts = leptos::prelude::use_context::<Parts>()?;
    let all = parts.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    Some(all.collect::<Vec<_>>().join("; "))
}

#[cfg(not(feature = "ssr"))]
fn cookies() -> Option<String> {
    use wasm_bindgen::JsCast;

    leptos::prelude::document().dyn_ref::<web_sys::HtmlDocument>()?.cookie().ok()
}

/// Query of the page's address, without the `?`.
#[cfg(feature = "ssr")]
pub(crate) fn query() -> String {
    let parts = leptos::prelude::use_context::<axum::http::request::Parts>();
    parts.and_then(|parts| parts.uri.query().map(str::to_owned)).unwrap_or_default()
}

/// Query of the page's address, without the `?`.
#[cfg(not(feature = "ssr"))]
pub(crate) fn query() -> String {
    let search = leptos::prelude::window().location().search().unwrap_or_default();
    search.strip_prefix('?').unwrap_or(&search).to_owned()
}
