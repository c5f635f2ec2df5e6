//! One line per request, and an id that ties it to what was logged on the way.

use std::time::Instant;

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use tracing::Instrument;
use uuid::Uuid;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Logs method, path, status and milliseconds until the answer began; failures of ours as warnings, health checks
/// only at debug. The query is left out: it may hold a prompt.
pub(crate) async fn log(request: Request, next: Next) -> Response {
    let begin = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let id =
        request.headers().get(&REQUEST_ID).and_then(usable).unwrap_or_else(|| Uuid::new_v4().to_string());
    let span = tracing::info_span!("request", %id);
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    let ms = (begin.elapsed().as_secs_f64() * 1e4).round() / 10.0;
    span.in_scope(|| match path.as_str() {
        "/healthz" | "/readyz" => tracing::debug!(%method, path, status, ms, "answered"),
        _ if status >= 500 => tracing::warn!(%method, path, status, ms, "answered"),
        _ => tracing::info!(%method, path, status, ms, "answered"),
    });
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// An id that a proxy gave, when it is safe to write into a log.
fn usable(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?;
    let fits = (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    fits.then(|| text.to_owned())
}
