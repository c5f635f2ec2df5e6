//! Headers that keep browsers from doing more with an answer than was meant.

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue, header},
    middleware::Next,
    response::Response,
};

/// For everything that is not a page of ours: nothing in it may load or run anything. Styles are allowed because
/// browsers show a bare image or SVG with some of their own.
const NOT_A_PAGE: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; base-uri 'none'; \
                          form-action 'none'; frame-ancestors 'none'";

/// What a page of ours may do: run our own files and the scripts that carry `nonce` (leptos puts it on its own),
/// compile WebAssembly, show our images and previews (`data:`) and dropped files (`blob:`). Style attributes are
/// allowed, style elements only with the nonce.
pub(crate) fn page_policy(nonce: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'wasm-unsafe-eval'; style-src 'self' \
         'nonce-{nonce}'; style-src-attr 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self'; connect-src \
         'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
}

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// Whether a window that opened the page must lose it: where one signs in, and what only the admin sees. A trade: browsers start
/// another process for such a page, which delayed the first paint by 40 ms (docs/performance.md), so visitors' pages go without. A site that
/// opens one of those can still send its window elsewhere; it reads nothing of it, and no frame is in it to be counted.
fn guarded(path: &str) -> bool {
    ["/admin", "/login"]
        .into_iter()
        .any(|of| path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Adds what is not there yet.
pub(crate) async fn secure(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    // Responses about prompts are stored nowhere; the rest not in shared caches.
    let kept = match path {
        _ if path.starts_with("/api/v1/generations") => Some("no-store"),
        _ if path.starts_with("/api/") => Some("private, no-cache"),
        _ => None,
    };
    let is_guarded = guarded(path);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    // The older header knows no origins; browsers that know the policy's do without it.
    let framed = headers.get(header::CONTENT_SECURITY_POLICY).is_some_and(|policy| {
        policy.to_str().is_ok_and(|policy| {
            !policy.contains("frame-ancestors 'none'") && policy.contains("frame-ancestors")
        })
    });
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, NOT_A_PAGE),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    ] {
        if !(framed && name == header::X_FRAME_OPTIONS) {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
    }
    if is_guarded {
        headers.entry(OPENER_POLICY).or_insert(HeaderValue::from_static("same-origin"));
    }
    if let Some(kept) = kept {
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static(kept));
    }
    response
}
