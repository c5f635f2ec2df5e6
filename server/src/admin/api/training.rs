//! Trainings: asking for them, looking at them, stopping them, their files.

use adire_protocol::{AdapterVersion, TrainingRequest, TrainingRun, TrainingRunDetail, TrainingSettings};
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

/// List training runs
///
/// Newest first.
#[utoipa::path(
    get,
    path = "/admin/api/training",
    tag = "training",
    responses((status = 200, description = "The full list", body = Vec<TrainingRun>))
)]
pub(crate) async fn list(State(studio): State<Studio>) -> Result<Json<Vec<TrainingRun>>, Problem> {
    Ok(Json(studio.trainings().await?))
}

/// Start a training run
///
/// The run is queued behind earlier ones. Three trial steps, rolled back afterwards, forecast time and memory; the run
/// fails if memory does not suffice. Its dataset is frozen.
#[utoipa::path(
    post,
    path = "/admin/api/training",
    tag = "training",
    request_body = TrainingRequest,
    responses(
        (status = 202, description = "Queued; `Location` is its URL", body = TrainingRun,
            headers(("location" = String, description = "URL of the training run"))),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid fields, listed in `errors`", body = Problem, content_type = "application/problem+json"),
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

/// Get a training run
///
/// Its state, with every point and sample.
#[utoipa::path(
    get,
    path = "/admin/api/training/{id}",
    tag = "training",
    params(("id" = String, Path, description = "Id of the training run, a UUID")),
    responses(
        (status = 200, description = "The training run", body = TrainingRunDetail),
        (status = 404, description = "Training run not found", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    State(studio): State<Studio>,
    Segment(id): Segment,
) -> Result<Json<TrainingRunDetail>, Problem> {
    Ok(Json(studio.training(&id).await?))
}

/// Pause a training run
///
/// Takes effect within one unit of work and persists across restarts.
#[utoipa::path(
    post,
    path = "/admin/api/training/{id}/pause",
    tag = "training",
    params(("id" = String, Path, description = "Id of the training run, a UUID")),
    responses(
        (status = 200, description = "The updated record", body = TrainingRun),
        (status = 404, description = "Training run not found", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It has ended", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn pause(
    State(studio): State<Studio>,
    Segment(id): Segment,
) -> Result<Json<TrainingRun>, Problem> {
    Ok(Json(studio.pause_training(&id).await?))
}

/// Resume a training run
///
/// Continues a paused or failed run from its last checkpoint.
#[utoipa::path(
    post,
    path = "/admin/api/training/{id}/resume",
    tag = "training",
    params(("id" = String, Path, description = "Id of the training run, a UUID")),
    responses(
        (status = 200, description = "The updated record", body = TrainingRun),
        (status = 404, description = "Training run not found", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is done or cancelled", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn resume(
    State(studio): State<Studio>,
    Segment(id): Segment,
) -> Result<Json<TrainingRun>, Problem> {
    Ok(Json(studio.resume_training(&id).await?))
}

/// Cancel a training run
///
/// Takes effect within one unit of work. Its points and samples are kept.
#[utoipa::path(
    post,
    path = "/admin/api/training/{id}/cancel",
    tag = "training",
    params(("id" = String, Path, description = "Id of the training run, a UUID")),
    responses(
        (status = 200, description = "The updated record", body = TrainingRun),
        (status = 404, description = "Training run not found", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is done", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn cancel(
    State(studio): State<Studio>,
    Segment(id): Segment,
) -> Result<Json<TrainingRun>, Problem> {
    Ok(Json(studio.cancel_training(&id).await?))
}

/// Make a checkpoint a version
///
/// The adapter as it was at a step becomes a candidate, during the run or after it. Again, the response is the same version.
#[utoipa::path(
    post,
    path = "/admin/api/training/{id}/steps/{step}/keep",
    tag = "training",
    params(
        ("id" = String, Path, description = "Id of the training run, a UUID"),
        ("step" = u32, Path, description = "A step at which the run has saved its adapter"),
    ),
    responses(
        (status = 200, description = "The version", body = AdapterVersion),
        (status = 404, description = "Run or step not found, or the step was deleted", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn keep(
    State(studio): State<Studio>,
    Segments([id, step]): Segments<2>,
) -> Result<Json<AdapterVersion>, Problem> {
    let not_a_number = || Problem::field("step", "The step must be a number.");
    let step = step.parse().map_err(|_| not_a_number())?;
    Ok(Json(studio.keep_training_step(&id, step).await?))
}

/// Download a file of a finished run
///
/// `kohya` and `diffusers` are the adapter in these formats, `card` is its model card.
#[utoipa::path(
    get,
    path = "/admin/api/training/{id}/files/{file}",
    tag = "training",
    params(
        ("id" = String, Path, description = "Id of the training run, a UUID"),
        ("file" = String, Path, description = "`kohya`, `diffusers` or `card`"),
    ),
    responses(
        (status = 200, description = "The file; supports ranges", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 404, description = "Run or file not found, or the run is not finished", body = Problem, content_type = "application/problem+json"),
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

/// Get the training settings
#[utoipa::path(
    get,
    path = "/admin/api/settings/training",
    tag = "training",
    responses((status = 200, description = "The settings", body = TrainingSettings))
)]
pub(crate) async fn settings(State(studio): State<Studio>) -> Json<TrainingSettings> {
    Json(studio.training_settings())
}

/// Change the training settings
#[utoipa::path(
    put,
    path = "/admin/api/settings/training",
    tag = "training",
    request_body = TrainingSettings,
    responses(
        (status = 200, description = "The updated settings", body = TrainingSettings),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid fields", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn set_settings(
    State(studio): State<Studio>,
    JsonBody(settings): JsonBody<TrainingSettings>,
) -> Result<Json<TrainingSettings>, Problem> {
    Ok(Json(studio.set_training_settings(settings).await?))
}
