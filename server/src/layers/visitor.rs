//! Each browser gets a random id in a cookie; its history belongs to that id. No account, no name.

use adire_studio::Visitor;
use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, Uri, header},
    middleware::Next,
    response::Response,
};
use uuid::Uuid;

const NAME: &str = "adire_visitor";
const YEAR_SECONDS: u32 = 365 * 24 * 60 * 60;

/// Puts the [`Visitor`] into the request's extensions. A browser without the cookie gets one; a page load renews
/// it. Programs that send none have no visitor.
pub(crate) async fn remember(mut request: Request, next: Next) -> Response {
    let headers = request.headers();
    let known = known(headers);
    let page = request.method() == Method::GET && accepts_html(headers);
    let from_page = headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin")
        || request.uri().path().starts_with("/api/fn/");
    let secure = is_https(headers, request.uri());
    let give = page || (known.is_none() && from_page);
    let visitor = known.or_else(|| give.then(Uuid::new_v4));
    if let Some(id) = visitor {
        request.extensions_mut().insert(Visitor(id.to_string()));
    }
    let mut response = next.run(request).await;
    if let Some(id) = visitor.filter(|_| give && !is_shared(&response)) {
        let secure = if secure { "; Secure" } else { "" };
        let cookie = format!("{NAME}={id}; Path=/; Max-Age={YEAR_SECONDS}; HttpOnly; SameSite=Lax{secure}");
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    response
}

/// Whether a browser asks for a page.
pub(crate) fn accepts_html(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("text/html"))
}

/// The id in the cookie; anything but a UUID counts as none.
fn known(headers: &HeaderMap) -> Option<Uuid> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == NAME).then(|| Uuid::parse_str(value).ok()).flatten())
}

/// Whether the browser speaks https, to us or to a proxy before us.
pub(crate) fn is_https(headers: &HeaderMap, uri: &Uri) -> bool {
    let forwarded = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
    forwarded.is_some_and(|protocol| protocol.split(',').next().is_some_and(|first| first.trim() == "https"))
        || uri.scheme_str() == Some("https")
}

/// Whether caches between us and the browser may keep the answer; a cookie in it would go to others.
fn is_shared(response: &Response) -> bool {
    let control = response.headers().get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok());
    control.is_some_and(|control| control.contains("public"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_uuid_counts_as_a_visitor() {
        let id = "0b9f1a52-7d0e-4b0a-9d2c-1f2e3d4c5b6a";
        for (cookie, expected) in [
            (format!("a=b; {NAME}={id}"), Some(id)),
            (format!("{NAME}=../../etc/passwd"), None),
            (format!("other{NAME}={id}"), None),
            (String::new(), None),
        ] {
            let headers = HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(&cookie).unwrap())]);
            assert_eq!(known(&headers).map(|id| id.to_string()).as_deref(), expected, "{cookie}");
        }
    }
}
