//! Sends a blob: all of it, or the one range that the client names. It comes from the disk or the bucket piece by piece;
//! what a slow reader has not taken is not in memory. A damaged one ends before its length, which every client notices.

use adire_studio::Blob;
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{error::Problem, part};

/// Answers a request for a blob. `headers` are those of a successful answer.
pub(crate) async fn send(
    blob: Blob,
    request: &HeaderMap,
    mut headers: HeaderMap,
) -> Result<Response, Problem> {
    let (etag, mut named) = (etag(blob.hash())?, HeaderMap::new());
    let part = part::named(request, &etag, blob.size(), &mut named).map_err(Problem::internal)?;
    let Some((status, range)) = part else {
        return Ok((StatusCode::RANGE_NOT_SATISFIABLE, named).into_response());
    };
    headers.extend(named);
    headers.insert(header::ETAG, etag);
    let body = match status {
        StatusCode::OK => Body::from_stream(blob.stream()),
        _ => Body::from_stream(blob.range(range).await?),
    };
    Ok((status, headers, body).into_response())
}

/// The content's name is its hash.
pub(crate) fn etag(hash: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::try_from(format!("\"{hash}\"")).map_err(Problem::internal)
}
