//! Trainings: asking for them, looking at them, stopping them, their files.

use adire_protocol::{TrainingRequest, TrainingRun, TrainingRunDetail, TrainingSettings};
use adire_studio::{Studio, TrainingFile};
use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use tower::ServiceExt;
use tower_http::services::ServeFile;

use crate::{
    error::{Problem, unknown_address},
    extract::{JsonBody, Segment, Segments},
};

/// Every training
///
/// The newest first.
#[utoipa::path(
    get,
    path = "/admin/api/training",
    tag = "training",
    responses((status = 200, description = "All of them", body = Vec<TrainingRun>))
)]
pub(crate) async fn list(State(studio): State<Studio>) -> Result<Json<Vec<TrainingRun>>, Problem> {
    Ok(Json(studio.trainings().await?))
}

/// Train an adapter
///
/// The job waits until those before it have ended. Before its first step it makes three that are undone, forecasts time
/// and memory, and fails with a sentence where memory will not do. Its dataset never changes from then on.
#[utoipa::path(
    post,
    path = "/admin/api/training",
    tag = "training",
    request_body = TrainingRequest,
    responses(
        (status = 202, description = "Taken; `Location` is its address", body = TrainingRun,
            headers(("location" = String, description = "Address of the training"))),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not sent as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Some field cannot be taken; `errors` names each", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn submit(
    State(studio): State<Studio>,
    JsonBody(request): JsonBody<TrainingRequest>,
) -> Result<impl IntoResponse, Problem> {
    let job = studio.train(request).await?;
    let location = [(header::LOCATION, format!("/admin/api/training/{}", job.id))];
    Ok((StatusCode::ACCEPTED, location, Json(job)))
}

/// A training
///
/// How it stands, with every point and sample.
#[utoipa::path(
    get,
    path = "/admin/api/training/{id}",
    tag = "training",
    params(("id" = String, Path, description = "Id of the training, a UUID")),
    responses(
        (status = 200, description = "The training", body = TrainingRunDetail),
        (status = 404, description = "No such training", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    State(studio): State<Studio>,
    Segment(id): Segment,
) -> Result<Json<TrainingRunDetail>, Problem> {
    Ok(Json(studio.training(&id).await?))
}

/// Pause a training
///
/// Within one unit of its work; it stays paused over a restart.
#[utoipa::path(
    post,
    path = "/admin/api/training/{id}/pause",
    tag = "training",
    params(("id" = String, Path, description = "Id of the training, a UUID")),
    responses(
        (status = 200, description = "How it stands now", body = TrainingRun),
        (status = 404, description = "No such training", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It has ended", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn pause(
    State(studio): State<Studio>,
    Segment(id): Segment,
) -> Result<Json<TrainingRun>, Problem> {
    Ok(Json(studio.pause_training(&id).await?))
}

/// Go on with a training
///
/// One that was paused, or one that failed: from its last checkpoint.
#[utoipa::path(
    post,
    path = "/admin/api/training/{id}/resume",
    tag = "training",
    params(("id" = String, Path, description = "Id of the training, a UUID")),
    responses(
        (status = 200, description = "How it stands now", body = TrainingRun),
        (status = 404, description = "No such training", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is done or cancelled", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn resume(
    State(studio): State<Studio>,
    Segment(id): Segment,
) -> Result<Json<TrainingRun>, Problem> {
    Ok(Json(studio.resume_training(&id).await?))
}

/// Stop a training for good
///
/// Within one unit of its work. What it has measured stays.
#[utoipa::path(
    post,
    path = "/admin/api/training/{id}/cancel",
    tag = "training",
    params(("id" = String, Path, description = "Id of the training, a UUID")),
    responses(
        (status = 200, description = "How it stands now", body = TrainingRun),
        (status = 404, description = "No such training", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is done", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn cancel(
    State(studio): State<Studio>,
    Segment(id): Segment,
) -> Result<Json<TrainingRun>, Problem> {
    Ok(Json(studio.cancel_training(&id).await?))
}

/// A file of a finished training
///
/// `kohya` and `diffusers` are the adapter in these formats, `card` is its model card.
#[utoipa::path(
    get,
    path = "/admin/api/training/{id}/files/{file}",
    tag = "training",
    params(
        ("id" = String, Path, description = "Id of the training, a UUID"),
        ("file" = String, Path, description = "`kohya`, `diffusers` or `card`"),
    ),
    responses(
        (status = 200, description = "The file; ranges are taken", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 404, description = "No such training or file, or it has not ended", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn file(
    State(studio): State<Studio>,
    Segments([id, file]): Segments<2>,
    request: Request,
) -> Result<Response, Problem> {
    let which = match file.as_str() {
        "kohya" => TrainingFile::Kohya,
        "diffusers" => TrainingFile::Diffusers,
        "card" => TrainingFile::Card,
        _ => return Err(unknown_address(request.uri().path())),
    };
    let path = studio.training_file(&id, which).await?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let sent = ServeFile::new(path).oneshot(request).await.map_err(Problem::internal)?;
    let mut response = sent.map(axum::body::Body::new).into_response();
    let headers = response.headers_mut();
    let kind =
        if which == TrainingFile::Card { "text/markdown; charset=utf-8" } else { "application/octet-stream" };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let saved = format!("attachment; filename=\"{name}\"");
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_str(&saved).map_err(Problem::internal)?);
    Ok(response)
}

/// How trainings and people share the device
#[utoipa::path(
    get,
    path = "/admin/api/settings/training",
    tag = "training",
    responses((status = 200, description = "As it is", body = TrainingSettings))
)]
pub(crate) async fn settings(State(studio): State<Studio>) -> Json<TrainingSettings> {
    Json(studio.training_settings())
}

/// Decide how trainings and people share the device
#[utoipa::path(
    put,
    path = "/admin/api/settings/training",
    tag = "training",
    request_body = TrainingSettings,
    responses(
        (status = 200, description = "As it is now", body = TrainingSettings),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not sent as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Some field cannot be taken", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn set_settings(
    State(studio): State<Studio>,
    JsonBody(settings): JsonBody<TrainingSettings>,
) -> Result<Json<TrainingSettings>, Problem> {
    Ok(Json(studio.set_training_settings(settings).await?))
}
