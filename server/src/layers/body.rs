//! Bodies may neither grow nor trickle in without end. axum's own limit reaches only its extractors; leptos reads the bodies of
//! server functions itself, so they are limited here.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    BoxError, RequestExt,
    body::{Body, HttpBody},
    extract::{Request, State},
    http::header,
    middleware::Next,
    response::{IntoResponse, Response},
};

use futures::{StreamExt, stream};

use crate::error::{Problem, ProblemKind};

/// Largest body of a request that carries no image, in bytes. The longest prompts that pass take 32 kB.
pub(crate) const MAX_BODY_BYTES: usize = 256 << 10;

/// How long a body may pause between two chunks.
pub(crate) const MAX_GAP: Duration = Duration::from_secs(30);

/// Gives up on a body of which nothing more arrives; the deadline of an upload would let it hold its place for an hour.
pub(crate) async fn gaps(State(most): State<Duration>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let stalled = Arc::new(AtomicBool::new(false));
    let flag = stalled.clone();
    let request = request.map(|body| {
        let chunks = stream::unfold(body.into_data_stream(), move |mut chunks| {
            let flag = flag.clone();
            async move {
                let chunk = match tokio::time::timeout(most, chunks.next()).await {
                    Ok(chunk) => chunk?.map_err(BoxError::from),
                    Err(elapsed) => {
                        flag.store(true, Ordering::Relaxed);
                        Err(elapsed.into())
                    }
                };
                Some((chunk, chunks))
            }
        });
        Body::from_stream(chunks)
    });
    let response = next.run(request).await;
    if !stalled.load(Ordering::Relaxed) {
        return response;
    }
    let sentence =
        format!("No data of the request body arrived for {} s, so it was cut. Try again.", most.as_secs());
    Problem::new(ProblemKind::Timeout, sentence).into_response()
}

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

#[cfg(test)]
mod tests {
    use axum::{Router, body::Bytes, http::StatusCode, middleware, routing::post};
    use tower::ServiceExt;

    use super::*;

    async fn send(pauses: &'static [u64]) -> (StatusCode, String) {
        let router = Router::new()
            .route("/", post(async |body: Bytes| String::from_utf8_lossy(&body).into_owned()))
            .layer(middleware::from_fn_with_state(Duration::from_secs(1), gaps));
        let chunks = stream::iter(pauses).then(|pause| async move {
            tokio::time::sleep(Duration::from_millis(*pause)).await;
            Ok::<_, BoxError>("x")
        });
        let request = Request::post("/").body(Body::from_stream(chunks)).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn a_slow_body_is_received_and_a_stalled_one_is_a_408() {
        assert_eq!(send(&[]).await, (StatusCode::OK, String::new()));
        assert_eq!(send(&[0, 400, 400, 400]).await, (StatusCode::OK, "xxxx".to_owned()));
        let (status, problem) = send(&[0, 1500]).await;
        assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
        assert!(problem.contains("arrived for 1 s"), "{problem}");
    }
}
