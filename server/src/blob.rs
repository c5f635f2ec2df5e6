//! Sends a blob: all of it, or the one range that the client names. It comes from the disk or the bucket piece by piece;
//! what a slow reader has not taken is not in memory. A damaged one ends before its length, which every client notices.

use adire_studio::Blob;
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::error::Problem;

/// Answers a request for a blob. `headers` are those of a successful answer.
pub(crate) async fn send(
    blob: Blob,
    request: &HeaderMap,
    mut headers: HeaderMap,
) -> Result<Response, Problem> {
    let size = blob.size();
    let etag = etag(blob.hash())?;
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // A part is of use only to a client that has the rest of the same content.
    let is_same = request.get(header::IF_RANGE).is_none_or(|held| *held == etag);
    headers.insert(header::ETAG, etag);
    let range = request.get(header::RANGE).filter(|_| is_same);
    let Some(range) = range else {
        headers.insert(header::CONTENT_LENGTH, size.into());
        return Ok((headers, Body::from_stream(blob.stream())).into_response());
    };
    let ranges = range.to_str().ok().and_then(|range| http_range_header::parse_range_header(range).ok());
    let ranges = ranges.and_then(|ranges| ranges.validate(size).ok());
    let Some([range]) = ranges.as_deref() else {
        let of = HeaderValue::try_from(format!("bytes */{size}")).map_err(Problem::internal)?;
        return Ok((StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, of)]).into_response());
    };
    let (start, end) = (*range.start(), *range.end());
    let of = HeaderValue::try_from(format!("bytes {start}-{end}/{size}")).map_err(Problem::internal)?;
    headers.insert(header::CONTENT_RANGE, of);
    headers.insert(header::CONTENT_LENGTH, (end - start + 1).into());
    let part = blob.range(start..end + 1).await?;
    Ok((StatusCode::PARTIAL_CONTENT, headers, Body::from_stream(part)).into_response())
}

/// The content's name is its hash.
pub(crate) fn etag(hash: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::try_from(format!("\"{hash}\"")).map_err(Problem::internal)
}
