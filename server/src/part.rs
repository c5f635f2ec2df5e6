//! Byte ranges (RFC 9110, section 14) of what is sent.

use std::ops::Range;

use axum::http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{self, InvalidHeaderValue},
};

/// The status of the response (200 or 206) and the bytes to send, of `size` bytes with `etag`: all of them, or the one range that the
/// request names. `None` means 416: the range lies beyond the end, cannot be parsed, or is one of several. Writes `Accept-Ranges`,
/// `Content-Length` and `Content-Range`.
///
/// # Errors
/// Where a header cannot hold a number, which does not happen.
pub(crate) fn named(
    request: &HeaderMap,
    etag: &HeaderValue,
    size: u64,
    headers: &mut HeaderMap,
) -> Result<Option<(StatusCode, Range<u64>)>, InvalidHeaderValue> {
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // A part is of use only to a client that has the rest of the same content.
    let is_same = request.get(header::IF_RANGE).is_none_or(|held| held == etag);
    let Some(range) = request.get(header::RANGE).filter(|_| is_same) else {
        headers.insert(header::CONTENT_LENGTH, size.into());
        return Ok(Some((StatusCode::OK, 0..size)));
    };
    let ranges = range.to_str().ok().and_then(|range| http_range_header::parse_range_header(range).ok());
    let ranges = ranges.and_then(|ranges| ranges.validate(size).ok());
    let Some([range]) = ranges.as_deref() else {
        headers.insert(header::CONTENT_RANGE, HeaderValue::try_from(format!("bytes */{size}"))?);
        return Ok(None);
    };
    let (start, end) = (*range.start(), *range.end());
    headers.insert(header::CONTENT_RANGE, HeaderValue::try_from(format!("bytes {start}-{end}/{size}"))?);
    headers.insert(header::CONTENT_LENGTH, (end - start + 1).into());
    Ok(Some((StatusCode::PARTIAL_CONTENT, start..end + 1)))
}
