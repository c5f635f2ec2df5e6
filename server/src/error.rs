//! The one place where an error becomes a status code. Every error under `/api` leaves as
//! `application/problem+json` (RFC 9457) with a `detail` that a person understands.

use adire_protocol::FieldError;
use adire_studio::{ErrorKind, StudioError};
use axum::{
    Json,
    extract::rejection::{BytesRejection, FailedToBufferBody, QueryRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

/// Before the name of every kind of problem.
const URN: &str = "urn:adire:problem:";

/// What can go wrong, seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// The body is no JSON, or an address or header cannot be read.
    Unreadable,
    /// Requires a signed-in admin.
    SignedOut,
    /// A token that this server does not know.
    UnknownToken,
    /// Requires an admin, and no admin password is set.
    NoAdminPassword,
    /// A password was guessed too often.
    TooManyAttempts,
    /// A page of another site tried to act for the visitor.
    CrossOrigin,
    /// The requested host is not one of the server's names.
    Misdirected,
    /// It belongs to somebody else, or the admin has turned it off.
    Forbidden,
    /// Nothing lives at this address.
    NotFound,
    /// The address exists, the method does not.
    MethodNotAllowed,
    /// The request did not arrive, or was not answered, in time.
    Timeout,
    /// The body is larger than this route takes.
    TooLarge,
    /// The body is of a kind that this route does not take.
    MediaType,
    /// Readable, but a field is invalid.
    Invalid,
    /// The thing exists already and never changes.
    Conflict,
    /// This visitor asks for too much at once.
    TooMany,
    /// This server does not do that.
    NotImplemented,
    /// Internal error.
    Internal,
    /// The server's disk takes no more.
    DiskFull,
    /// The queue takes no more for now.
    QueueFull,
    /// The admin has paused new jobs.
    IntakePaused,
    /// Too much is being done at once just now.
    Busy,
    /// The model is still loading.
    Starting,
    /// The server is going down.
    ShuttingDown,
}

impl ProblemKind {
    /// The HTTP status of the answer.
    pub fn status(self) -> StatusCode {
        self.facts().0
    }

    /// Status, last part of the `type` URN, title.
    fn facts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Unreadable => (StatusCode::BAD_REQUEST, "unreadable", "Malformed request"),
            Self::SignedOut => (StatusCode::UNAUTHORIZED, "signed-out", "Sign-in required"),
            Self::UnknownToken => (StatusCode::UNAUTHORIZED, "unknown-token", "Unknown token"),
            Self::TooManyAttempts => {
                (StatusCode::TOO_MANY_REQUESTS, "too-many-attempts", "Too many attempts")
            }
            Self::NoAdminPassword => (StatusCode::FORBIDDEN, "no-operator", "No admin password set"),
            Self::CrossOrigin => (StatusCode::FORBIDDEN, "cross-origin", "Cross-origin request blocked"),
            Self::Misdirected => (StatusCode::MISDIRECTED_REQUEST, "misdirected", "Unknown host name"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "Not allowed"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed")
            }
            Self::Timeout => (StatusCode::REQUEST_TIMEOUT, "timeout", "Request timed out"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Request body too large"),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "Unsupported media type"),
            Self::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "invalid", "Validation failed"),
            Self::Conflict => (StatusCode::CONFLICT, "conflict", "Conflict"),
            Self::TooMany => (StatusCode::TOO_MANY_REQUESTS, "too-many", "Too many queued requests"),
            Self::NotImplemented => (StatusCode::NOT_IMPLEMENTED, "not-implemented", "Not supported"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
            Self::DiskFull => (StatusCode::INSUFFICIENT_STORAGE, "disk-full", "The server's disk is full"),
            Self::QueueFull => (StatusCode::SERVICE_UNAVAILABLE, "queue-full", "The queue is full"),
            Self::IntakePaused => {
                (StatusCode::SERVICE_UNAVAILABLE, "intake-paused", "New requests are paused")
            }
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", "The server is busy"),
            Self::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting", "Starting"),
            Self::ShuttingDown => {
                (StatusCode::SERVICE_UNAVAILABLE, "shutting-down", "The server is shutting down")
            }
        }
    }
}

/// The body of every error answer.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Problem {
    /// `urn:adire:problem:…`, one per kind of problem; for programs.
    #[serde(rename = "type")]
    pub urn: String,
    /// The kind of problem in a few words.
    pub title: &'static str,
    /// The HTTP status once more.
    #[schema(example = 422)]
    pub status: u16,
    /// What was wrong, what was expected, what to do.
    pub detail: String,
    /// Every invalid field, each with its own sentence.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Seconds after which another try makes sense; also in the header `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl Problem {
    /// A problem of this kind with a sentence.
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        let (status, slug, title) = kind.facts();
        Self {
            urn: format!("{URN}{slug}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
        }
    }

    /// One invalid field of the request.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        let message = message.into();
        let errors = vec![FieldError { field: field.into(), message: message.clone() }];
        Self { errors, ..Self::new(ProblemKind::Invalid, message) }
    }

    /// Our fault: the cause goes to the log, the client learns only that it happened.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "internal error");
        Self::new(ProblemKind::Internal, "Internal error. See the server log for this X-Request-Id.")
    }

    /// Whether it is of this kind.
    pub(crate) fn is(&self, kind: ProblemKind) -> bool {
        self.urn.strip_prefix(URN) == Some(kind.facts().1)
    }

    /// Says when another try makes sense.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after;
        let mut response = (status, Json(&self)).into_response();
        // For those whose clients read another form of it.
        response.extensions_mut().insert(self);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Whole seconds, at least one: what `Retry-After` takes.
fn seconds(ms: u64) -> u64 {
    ms.div_ceil(1000).max(1)
}

impl From<ErrorKind> for ProblemKind {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Invalid => Self::Invalid,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Forbidden => Self::Forbidden,
            ErrorKind::TooLarge => Self::TooLarge,
            ErrorKind::Busy => Self::Busy,
            ErrorKind::Conflict => Self::Conflict,
            ErrorKind::TooMany => Self::TooMany,
            ErrorKind::QueueFull => Self::QueueFull,
            ErrorKind::IntakePaused => Self::IntakePaused,
            ErrorKind::ShuttingDown => Self::ShuttingDown,
            ErrorKind::DiskFull => Self::DiskFull,
            ErrorKind::Internal => Self::Internal,
        }
    }
}

impl From<StudioError> for Problem {
    fn from(error: StudioError) -> Self {
        let (kind, detail) = (error.kind().into(), error.to_string());
        match error {
            StudioError::Invalid(error) => Self { errors: error.0, ..Self::new(kind, detail) },
            StudioError::UnknownAdapter { .. } => Self::field("adapters", detail),
            StudioError::QueueFull { wait_ms, .. } => {
                Self::new(kind, detail).retry_after(seconds(wait_ms.unwrap_or(10_000)))
            }
            StudioError::TooManyWaiting { .. } | StudioError::TooMuchWaiting { .. } => {
                Self::new(kind, detail).retry_after(10)
            }
            StudioError::UploadQuota { retry_after, .. } | StudioError::TooManyWithdrawn { retry_after } => {
                Self::new(kind, detail).retry_after(retry_after)
            }
            StudioError::Busy => Self::new(kind, detail).retry_after(5),
            StudioError::OutOfFiles => {
                // A limit that the admin can raise.
                tracing::warn!("no file descriptor is free; see the limit of open files (ulimit -n)");
                Self::new(kind, detail).retry_after(5)
            }
            StudioError::LowSpace | StudioError::IntakePaused => Self::new(kind, detail).retry_after(60),
            StudioError::ShuttingDown => Self::new(kind, detail).retry_after(5),
            other if kind == ProblemKind::Internal => Self::internal(other),
            _ => Self::new(kind, detail),
        }
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        match rejection {
            BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
                Self::new(ProblemKind::TooLarge, "The request body is too large.")
            }
            other => Self::new(
                ProblemKind::Unreadable,
                format!("The request body was not received completely: {other}."),
            ),
        }
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(ProblemKind::Unreadable, format!("{}.", rejection.body_text().trim_end_matches('.')))
    }
}

/// An address under `/api` that does not exist.
pub(crate) fn unknown_address(path: &str) -> Problem {
    let shown: String = path.chars().take(120).collect();
    Problem::new(
        ProblemKind::NotFound,
        format!("Nothing at {shown}; see /api/v1/openapi.json for all endpoints."),
    )
}

/// For axum's `method_not_allowed_fallback`; axum adds the `Allow` header.
pub(crate) async fn method_not_allowed(method: axum::http::Method, uri: axum::http::Uri) -> Problem {
    Problem::new(
        ProblemKind::MethodNotAllowed,
        format!("{method} is not allowed on {}; see the Allow header.", uri.path()),
    )
}

/// For the catch-panic layer. The panic itself has been logged by the hook.
pub(crate) fn panicked(_: Box<dyn std::any::Any + Send + 'static>) -> Response {
    Problem::internal("a handler panicked").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_free_file_descriptor_is_a_503_that_says_when_to_try_again() {
        let response = Problem::from(StudioError::OutOfFiles).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "5");
    }
}
