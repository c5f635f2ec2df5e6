//! An answer begins within a minute or not at all. Streams are not cut: their answers begin at once.

use std::time::Duration;

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::error::{Problem, ProblemKind};

/// Enough for 32 MiB at 5 Mbit/s.
const DEADLINE: Duration = Duration::from_secs(60);

/// Gives up on a request whose answer has not begun by the deadline; mostly its body has not arrived.
pub(crate) async fn limit(request: Request, next: Next) -> Response {
    match tokio::time::timeout(DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let sentence = format!("The request was not finished after {} s; try again.", DEADLINE.as_secs());
            Problem::new(ProblemKind::Timeout, sentence).into_response()
        }
    }
}
