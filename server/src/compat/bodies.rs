//! Bodies with images in them. They are read into memory as a whole, so only so many bytes of them at a time.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{FromRef, FromRequest, Request},
    http::header,
};
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    error::{Problem, ProblemKind},
    extract::parse,
};

/// Largest body: an init image and a mask of 20 MiB each, as base64.
pub(crate) const MAX_BYTES: usize = 56 << 20;
/// Bodies up to this size are always read.
const SMALL: usize = 256 << 10;
/// KiB of larger bodies that may be in memory.
const ROOM_KIB: usize = 4 * (MAX_BYTES >> 10);
/// How long a body may take to arrive, the wait for room included.
const DEADLINE: Duration = Duration::from_secs(60);

/// Room for large bodies.
#[derive(Clone, Debug)]
pub(crate) struct Bodies(Arc<Semaphore>);

impl Default for Bodies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ROOM_KIB)))
    }
}

impl Bodies {
    /// Reads a body. The permit is held for as long as its bytes are needed.
    pub(crate) async fn read(
        &self,
        request: Request,
    ) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Problem> {
        let named = request.headers().get(header::CONTENT_LENGTH);
        let named = named.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        let read = self.read_within(named.unwrap_or(MAX_BYTES), request.into_body());
        tokio::time::timeout(DEADLINE, read).await.unwrap_or_else(|_| {
            let sentence = format!("The request timed out after {} s. Try again.", DEADLINE.as_secs());
            Err(Problem::new(ProblemKind::Timeout, sentence))
        })
    }

    async fn read_within(
        &self,
        bytes: usize,
        body: Body,
    ) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Problem> {
        let too_large = || {
            let sentence = format!("The request body is larger than {} MiB.", MAX_BYTES >> 20);
            Problem::new(ProblemKind::TooLarge, sentence)
        };
        if bytes > MAX_BYTES {
            return Err(too_large());
        }
        let permit = match bytes <= SMALL {
            true => None,
            false => {
                let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
                Some(self.0.clone().acquire_many_owned(kib).await.map_err(Problem::internal)?)
            }
        };
        let read = to_bytes(body, bytes).await.map_err(|error| {
            let too_long = std::error::Error::source(&error)
                .is_some_and(|source| source.to_string().contains("length limit"));
            if too_long {
                return too_large();
            }
            Problem::new(
                ProblemKind::Unreadable,
                format!("The request body was not received completely: {error}."),
            )
        })?;
        Ok((read, permit))
    }
}

/// A JSON body of any media type: clients forget to name it.
#[derive(Debug)]
pub(crate) struct AnyJson<T>(pub(crate) T);

impl<T, S> FromRequest<S> for AnyJson<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
    Bodies: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (body, _held) = Bodies::from_ref(state).read(request).await?;
        // An empty body is one without fields.
        let body = if body.trim_ascii().is_empty() { &b"{}"[..] } else { &body };
        parse(body).map(Self)
    }
}
