//! The cookies that a request carries, and what our own key signed in them.

use axum::http::{HeaderMap, header};
use cookie::{Cookie, CookieJar, Key};

/// Cookies of that name. There may be several: a neighbour's page can set some.
pub(crate) fn named<'h>(headers: &'h HeaderMap, name: &'static str) -> impl Iterator<Item = Cookie<'h>> {
    let sent = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    sent.flat_map(Cookie::split_parse).filter_map(Result::ok).filter(move |cookie| cookie.name() == name)
}

/// What cookies of that name hold, where `key` signed it.
pub(crate) fn signed<'h>(
    headers: &'h HeaderMap,
    name: &'static str,
    key: &'h Key,
) -> impl Iterator<Item = String> + 'h {
    named(headers, name).filter_map(|cookie| {
        Some(CookieJar::new().signed(key).verify(cookie.into_owned())?.value().to_owned())
    })
}
