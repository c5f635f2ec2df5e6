//! An answer begins within a minute or not at all, unless it waits for images. Streams are not cut: their answers begin
//! at once.

use std::time::Duration;

use axum::{
    extract::Request,
    http::header,
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{
    dialect::Dialect,
    error::{Problem, ProblemKind},
};

/// Enough for 32 MiB at 5 Mbit/s.
const DEADLINE: Duration = Duration::from_secs(60);

/// For images to train on, which admins upload by the gigabyte, and for answers that wait for images.
const LONG: Duration = Duration::from_secs(60 * 60);

/// How long the answer to this request may take to begin.
fn deadline(request: &Request) -> Duration {
    // Other programs' APIs answer once the images are there; their bodies have a deadline of their own.
    if Dialect::of(request.uri().path()).is_some() {
        return LONG;
    }
    let brings = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"multipart/form-data"));
    let imports = request.uri().path().ends_with("/import");
    if request.uri().path().starts_with("/admin/") && (brings || imports) { LONG } else { DEADLINE }
}

/// Gives up on a request whose answer has not begun by the deadline; mostly its body has not arrived.
pub(crate) async fn limit(request: Request, next: Next) -> Response {
    let deadline = deadline(&request);
    match tokio::time::timeout(deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let sentence = format!("The request timed out after {} s. Try again.", deadline.as_secs());
            Problem::new(ProblemKind::Timeout, sentence).into_response()
        }
    }
}
