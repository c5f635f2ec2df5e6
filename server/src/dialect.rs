//! The APIs of other programs that this server answers to, and how each of them says that something is wrong. Handlers
//! answer with a [`Problem`] as everywhere; a layer turns it into what the dialect's clients read.

use axum::{
    Json,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::error::{Problem, ProblemKind};

/// An API of another program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// AUTOMATIC1111's web UI, `/sdapi/v1`.
    A1111,
    /// OpenAI's images, `/v1`.
    OpenAi,
    /// Hugging Face's inference, `/hf`.
    HuggingFace,
    /// Gradio's clients, `/config` and `/gradio_api`.
    Gradio,
}

impl Dialect {
    /// The one that a path belongs to.
    pub(crate) fn of(path: &str) -> Option<Self> {
        match path {
            _ if path.starts_with("/sdapi/") => Some(Self::A1111),
            _ if path.starts_with("/v1/") => Some(Self::OpenAi),
            _ if path.starts_with("/hf/") => Some(Self::HuggingFace),
            "/config" | "/login" => Some(Self::Gradio),
            _ if path.starts_with("/gradio_api/") => Some(Self::Gradio),
            _ => None,
        }
    }

    /// What it calls a parameter of ours.
    fn name_of(self, field: &str) -> &str {
        match (self, field) {
            (Self::A1111, "count") => "batch_size",
            (Self::A1111, "guidance") => "cfg_scale",
            (Self::A1111, "sampler") => "sampler_name",
            (Self::A1111, "schedule") => "scheduler",
            (Self::A1111, "init_image") => "init_images",
            (Self::A1111, "adapters") => "sd_model_checkpoint",
            (Self::OpenAi, "count") => "n",
            (Self::OpenAi, "width" | "height") => "size",
            (Self::OpenAi, "init_image") => "image",
            (Self::OpenAi | Self::HuggingFace, "adapters") => "model",
            (Self::HuggingFace, "steps") => "num_inference_steps",
            (Self::HuggingFace, "guidance") => "guidance_scale",
            (Self::HuggingFace, "sampler") => "scheduler",
            (Self::HuggingFace, "init_image") => "inputs",
            (Self::Gradio, "count") => "images",
            (Self::Gradio, "adapters") => "adapter",
            (Self::Gradio, "init_image") => "image",
            _ => field,
        }
    }

    /// The status by which its clients know what happened.
    fn status(self, problem: &Problem) -> StatusCode {
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        match (self, status) {
            (Self::OpenAi, StatusCode::UNPROCESSABLE_ENTITY) => StatusCode::BAD_REQUEST,
            // 503 would be a server that is down.
            (Self::OpenAi, _) if problem.is(ProblemKind::QueueFull) => StatusCode::TOO_MANY_REQUESTS,
            (Self::Gradio, _) if problem.is(ProblemKind::TooMany) => StatusCode::SERVICE_UNAVAILABLE,
            _ => status,
        }
    }

    /// Its body for a problem.
    pub(crate) fn body(self, problem: &Problem) -> Value {
        let (detail, first) = (&problem.detail, problem.errors.first());
        let param = first.map(|error| self.name_of(&error.field));
        match self {
            Self::A1111 if problem.status == 422 && !problem.errors.is_empty() => {
                let errors = problem.errors.iter().map(|error| {
                    json!({"loc": ["body", self.name_of(&error.field)], "msg": error.message, "type": "value_error"})
                });
                json!({ "detail": errors.collect::<Vec<_>>() })
            }
            Self::A1111 => json!({"error": problem.title, "detail": detail, "body": "", "errors": detail}),
            Self::OpenAi => {
                let (kind, code) = match problem.status {
                    401 => ("invalid_request_error", "invalid_api_key"),
                    404 if param == Some("model") => ("invalid_request_error", "model_not_found"),
                    429 => ("rate_limit_error", "rate_limit_exceeded"),
                    _ if problem.is(ProblemKind::QueueFull) => ("rate_limit_error", "queue_full"),
                    400..=499 => ("invalid_request_error", "invalid_value"),
                    _ => ("server_error", "server_error"),
                };
                json!({"error": {"message": detail, "type": kind, "param": param, "code": code}})
            }
            Self::HuggingFace if problem.is(ProblemKind::Starting) => {
                json!({"error": detail, "estimated_time": 10.0})
            }
            Self::HuggingFace => json!({ "error": detail }),
            Self::Gradio if problem.status == 422 => {
                let message = |name: &str, message: &str| json!({"__type__": "validate", "is_valid": false, "parameter_name": name, "message": message});
                let mut errors: Vec<_> =
                    problem.errors.iter().map(|it| message(self.name_of(&it.field), &it.message)).collect();
                if errors.is_empty() {
                    errors.push(message("data", detail));
                }
                json!({ "detail": errors })
            }
            Self::Gradio => json!({ "detail": detail }),
        }
    }
}

/// Answers problems in the words of the path's dialect.
pub(crate) async fn shape(request: Request, next: Next) -> Response {
    let dialect = Dialect::of(request.uri().path());
    let mut response = next.run(request).await;
    let Some((dialect, problem)) = dialect.zip(response.extensions_mut().remove::<Problem>()) else {
        return response;
    };
    let mut shaped = (dialect.status(&problem), Json(dialect.body(&problem))).into_response();
    let headers = shaped.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // What layers on the way have added stays; what described the other body goes.
    for (name, value) in response.headers() {
        if ![header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONTENT_ENCODING].contains(name) {
            headers.insert(name, value.clone());
        }
    }
    if problem.status == 401 && !headers.contains_key(header::WWW_AUTHENTICATE) {
        let scheme = if dialect == Dialect::A1111 { "Basic realm=\"adire\"" } else { "Bearer" };
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
    }
    shaped
}
