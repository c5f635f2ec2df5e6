//! Pages for those with their link: a shared image, the studio with one version chosen, and the form as code.

use adire_app::{Document, FormPost, submit_form_post};
use adire_studio::StudioError;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Redirect, Response},
};

use crate::{
    error::Problem,
    extract::{ClientOf, OriginOf, Posted, Segment},
    flash, pages, qr,
    site::matches_etag,
    state::AppState,
};

/// The page of a shared image.
pub(crate) async fn shared(
    State(state): State<AppState>,
    Segment(hash): Segment,
    OriginOf(origin): OriginOf,
    request: Request,
) -> Response {
    let flash = flash::read(request.headers());
    let document = Document::shared(&state.studio, &hash, origin, flash).await;
    pages::show_once(state, document, request).await
}

/// Reports a shared image.
pub(crate) async fn report(
    State(state): State<AppState>,
    Segment(hash): Segment,
    ClientOf(client): ClientOf,
    form: Posted,
) -> Result<Response, Problem> {
    let notice = match state.studio.flag_shared(&hash, form.get("reason").unwrap_or_default(), &client).await
    {
        Ok(()) => "Reported to the admin.".to_owned(),
        Err(error @ (StudioError::Invalid(_) | StudioError::UploadQuota { .. })) => error.to_string(),
        Err(error) => return Err(error.into()),
    };
    // It is shared, so its name is a hash.
    let mut response = Redirect::to(&format!("/p/{hash}")).into_response();
    flash::set(&mut response, &[notice]);
    Ok(response)
}

/// The file of a shared image, without texts.
pub(crate) async fn image(
    State(state): State<AppState>,
    Segment(hash): Segment,
    request: HeaderMap,
) -> Result<Response, Problem> {
    // Read before answering 304: a share that has ended must not look as if it went on.
    let file = state.studio.shared_file(&hash).await?;
    let etag = HeaderValue::try_from(format!("\"{hash}\"")).map_err(Problem::internal)?;
    let mut headers = HeaderMap::new();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    let is_known = matches_etag(&request, &etag);
    headers.insert(header::ETAG, etag);
    if is_known {
        return Ok((axum::http::StatusCode::NOT_MODIFIED, headers).into_response());
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/png"));
    Ok((headers, file).into_response())
}

/// The QR code of a shared image's page.
pub(crate) async fn shared_qr(
    State(state): State<AppState>,
    Segment(hash): Segment,
    OriginOf(origin): OriginOf,
) -> Result<Response, Problem> {
    state.studio.shared_image(&hash).await?;
    qr::answer(&format!("{origin}/p/{hash}"))
}

/// The studio with one version chosen.
pub(crate) async fn try_version(
    State(state): State<AppState>,
    Segment(name): Segment,
    OriginOf(origin): OriginOf,
    request: Request,
) -> Response {
    let document = Document::try_version(&state.studio, &name, origin).await;
    pages::show(state, document, request).await
}

/// Generates an image with that version.
pub(crate) async fn generate(
    State(state): State<AppState>,
    Segment(name): Segment,
    ClientOf(client): ClientOf,
    form: Posted,
) -> Result<Response, Problem> {
    let version = state.studio.linkable_version(&name).await?;
    let mut prompt = form.get("prompt").unwrap_or_default().trim().to_owned();
    let trigger = version.trigger.trim();
    if !trigger.is_empty() && !prompt.to_lowercase().contains(&trigger.to_lowercase()) {
        let between = if prompt.is_empty() { "" } else { ", " };
        prompt = format!("{prompt}{between}{trigger}");
    }
    let mut post = FormPost::default();
    post.field("prompt", prompt);
    post.field("adapters[0][name]", version.id());
    post.field("adapters[0][strength]", "1".to_owned());
    Ok(Redirect::to(&submit_form_post(&state.studio, &client, post).await).into_response())
}

/// The form as code.
pub(crate) async fn code(
    State(state): State<AppState>,
    OriginOf(origin): OriginOf,
    request: Request,
) -> Response {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let document = Document::code(&state.studio, &query, origin);
    pages::show(state, document, request).await
}

/// The QR code of that page.
pub(crate) async fn try_qr(
    State(state): State<AppState>,
    Segment(name): Segment,
    OriginOf(origin): OriginOf,
) -> Result<Response, Problem> {
    state.studio.linkable_version(&name).await?;
    qr::answer(&format!("{origin}/try/{name}"))
}
