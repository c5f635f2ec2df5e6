//! Bodies may not grow without end. axum's own limit reaches only its extractors; leptos reads the bodies of
//! server functions itself, so they are limited here.

use axum::{
    RequestExt,
    extract::Request,
    http::header,
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::error::{Problem, ProblemKind};

/// Largest body of a request that carries no image, in bytes. The longest prompts that pass take 32 kB.
pub(crate) const MAX_BODY_BYTES: usize = 256 << 10;

/// Refuses a server function's body that says it is too large, and cuts one that does not say so.
pub(crate) async fn limit(request: Request, next: Next) -> Response {
    if !request.uri().path().starts_with("/api/fn/") {
        return next.run(request).await;
    }
    let content_length = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if content_length.is_some_and(|bytes| bytes > MAX_BODY_BYTES) {
        let sentence = format!("The request body is larger than {MAX_BODY_BYTES} bytes.");
        return Problem::new(ProblemKind::TooLarge, sentence).into_response();
    }
    next.run(request.with_limited_body()).await
}
