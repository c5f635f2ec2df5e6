//! QR codes of this server's pages, as SVG: dark on white with a quiet zone, whatever the theme, so that every camera reads
//! them.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use qrcode::{EcLevel, QrCode, render::svg};

use crate::error::Problem;

/// The code of an address.
pub(crate) fn answer(address: &str) -> Result<Response, Problem> {
    let code = QrCode::with_error_correction_level(address, EcLevel::M).map_err(Problem::internal)?;
    let drawing = code
        .render::<svg::Color<'_>>()
        .min_dimensions(200, 200)
        .dark_color(svg::Color("#171a2e"))
        .light_color(svg::Color("#ffffff"))
        .quiet_zone(true)
        .build();
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("image/svg+xml")),
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
    ];
    Ok((headers, drawing).into_response())
}
