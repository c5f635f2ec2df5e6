//! A page of another site must not act for our visitors: browsers say where a request comes from, and whatever
//! changes something is taken only from our own pages. Programs send neither header and are let through; they
//! hold no visitor's cookie that they were not given.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::client::Arrival;
use crate::{
    access::Access,
    error::{Problem, ProblemKind},
};

/// Refuses what another site's page sends, reading aside.
pub(crate) async fn check(State(access): State<Arc<Access>>, mut request: Request, next: Next) -> Response {
    let function = request.uri().path().starts_with("/api/fn/");
    // Leptos sends the browser of a plain form back to where it says that it came from.
    if function && !comes_from_us(&request) {
        request.headers_mut().remove(header::REFERER);
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    // Server functions may change something at any method.
    let reads = reads && !function;
    if !is_ours(&request) && is_let_in(&access, &request) {
        // The page acts for itself, not for its visitor.
        request.headers_mut().remove(header::COOKIE);
        return next.run(request).await;
    }
    if reads || is_ours(&request) {
        return next.run(request).await;
    }
    let sentence =
        "Cross-origin requests are blocked. Use Adire's own pages, or call the API outside a browser.";
    Problem::new(ProblemKind::CrossOrigin, sentence).into_response()
}

/// Whether the page that the request says it comes from has this server's name.
fn comes_from_us(request: &Request) -> bool {
    let from = request.headers().get(header::REFERER).and_then(|value| value.to_str().ok());
    let authority = from.and_then(|from| {
        let rest = from.strip_prefix("http://").or_else(|| from.strip_prefix("https://"))?;
        rest.split(['/', '?', '#', '\\']).next()
    });
    let host = request.extensions().get::<Arrival>().and_then(|arrival| arrival.host.as_deref());
    authority.zip(host).is_some_and(|(from, host)| host.eq_ignore_ascii_case(from))
}

/// Whether the admin has allowed the page's origin to call this address.
fn is_let_in(access: &Access, request: &Request) -> bool {
    let origin = request.headers().get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    origin.is_some_and(|origin| access.lets_in(origin, request.uri().path()))
}

fn is_ours(request: &Request) -> bool {
    let headers = request.headers();
    let text = |name| headers.get(name).map(|value: &header::HeaderValue| value.to_str().unwrap_or("?"));
    // `none`: typed into the address bar, or a bookmark.
    if let Some(site) = text(header::HeaderName::from_static("sec-fetch-site")) {
        return matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text(header::ORIGIN) else { return true };
    let from = origin.split_once("://").map(|(_, host)| host);
    let host = request.extensions().get::<Arrival>().and_then(|arrival| arrival.host.as_deref());
    from.zip(host).is_some_and(|(from, host)| host.eq_ignore_ascii_case(from))
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::HeaderValue};

    use super::*;

    #[test]
    fn who_is_let_through() {
        for (expected, given) in [
            (true, &[][..]),
            (true, &[("host", "a.org"), ("origin", "https://a.org")]),
            (true, &[("host", "localhost:3000"), ("origin", "http://localhost:3000")]),
            (true, &[("sec-fetch-site", "same-origin"), ("host", "inner"), ("origin", "https://a.org")]),
            (false, &[("host", "a.org"), ("origin", "https://b.org")]),
            (false, &[("host", "a.org"), ("origin", "https://a.org:8443")]),
            (false, &[("host", "a.org"), ("origin", "null")]),
            (false, &[("sec-fetch-site", "cross-site")]),
            (false, &[("sec-fetch-site", "same-site"), ("host", "a.org"), ("origin", "https://b.a.org")]),
        ] {
            let mut request = Request::new(Body::empty());
            for (name, value) in given {
                let value = HeaderValue::from_static(value);
                request.headers_mut().insert(header::HeaderName::from_static(name), value);
            }
            let host = given.iter().find(|(name, _)| *name == "host").map(|(_, host)| (*host).to_owned());
            request.extensions_mut().insert(Arrival { host, ..Arrival::default() });
            assert_eq!(is_ours(&request), expected, "{given:?}");
        }
    }
}
