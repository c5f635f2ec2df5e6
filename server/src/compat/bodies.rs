//! Bodies with images in them. They are read into memory as a whole, so only so many bytes of them at a time. A body takes
//! room as it arrives, so that one which announces much and sends little keeps nobody waiting.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{FromRef, FromRequest, Request},
    http::header,
};
use futures::StreamExt;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    error::{Problem, ProblemKind},
    extract::parse,
};

/// Largest body: an init image and a mask of 20 MiB each, as base64.
pub(crate) const MAX_BYTES: usize = 56 << 20;
/// Bodies up to this size are always read, and larger ones take room in pieces of it.
const PIECE: usize = 256 << 10;
/// Pieces of larger bodies that may be in memory.
const ROOM: usize = 4 * (MAX_BYTES / PIECE);
/// How long a body may take to arrive, the wait for room included.
const DEADLINE: Duration = Duration::from_secs(60);

/// Room for large bodies.
#[derive(Clone, Debug)]
pub(crate) struct Bodies {
    room: Arc<Semaphore>,
    /// Held by the one body that may continue without room. Without it, bodies that have half arrived could all wait
    /// for each other.
    beyond: Arc<Semaphore>,
}

impl Default for Bodies {
    fn default() -> Self {
        Self::with_room(ROOM)
    }
}

/// The room that a body takes.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pieces: usize,
    permits: Vec<OwnedSemaphorePermit>,
    is_beyond: bool,
}

impl Bodies {
    fn with_room(pieces: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(pieces)), beyond: Arc::new(Semaphore::new(1)) }
    }

    /// Reads a body. The room is held for as long as its bytes are needed.
    pub(crate) async fn read(&self, request: Request) -> Result<(Bytes, Held), Problem> {
        let named = request.headers().get(header::CONTENT_LENGTH);
        let named = named.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if named.is_some_and(|bytes| bytes > MAX_BYTES) {
            return Err(too_large());
        }
        tokio::time::timeout(DEADLINE, self.receive(request.into_body())).await.unwrap_or_else(|_| {
            let sentence = format!("The request timed out after {} s. Try again.", DEADLINE.as_secs());
            Err(Problem::new(ProblemKind::Timeout, sentence))
        })
    }

    async fn receive(&self, body: Body) -> Result<(Bytes, Held), Problem> {
        let (mut received, mut held) = (Vec::new(), Held::default());
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| {
                let sentence = format!("The request body was not received completely: {error}.");
                Problem::new(ProblemKind::Unreadable, sentence)
            })?;
            let bytes = received.len() + chunk.len();
            if bytes > MAX_BYTES {
                return Err(too_large());
            }
            self.hold(&mut held, bytes).await?;
            received.extend_from_slice(&chunk);
        }
        Ok((received.into(), held))
    }

    /// Waits until there is room for a body of so many bytes.
    async fn hold(&self, held: &mut Held, bytes: usize) -> Result<(), Problem> {
        let pieces = if bytes <= PIECE { 0 } else { bytes.div_ceil(PIECE) };
        if held.is_beyond || pieces <= held.pieces {
            return Ok(());
        }
        let more = u32::try_from(pieces - held.pieces).unwrap_or(u32::MAX);
        let permit = tokio::select! {
            biased;
            permit = self.room.clone().acquire_many_owned(more) => permit,
            permit = self.beyond.clone().acquire_owned() => {
                held.is_beyond = true;
                permit
            }
        };
        held.permits.push(permit.map_err(Problem::internal)?);
        held.pieces = pieces;
        Ok(())
    }
}

fn too_large() -> Problem {
    Problem::new(ProblemKind::TooLarge, format!("The request body is larger than {} MiB.", MAX_BYTES >> 20))
}

/// A JSON body of any media type: clients forget to name it. Its room is to be held for as long as the value lives, images
/// in base64 in particular, and no longer.
#[derive(Debug)]
pub(crate) struct AnyJson<T>(pub(crate) T, pub(crate) Held);

impl<T, S> FromRequest<S> for AnyJson<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
    Bodies: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (body, held) = Bodies::from_ref(state).read(request).await?;
        // An empty body is one without fields.
        let body = if body.trim_ascii().is_empty() { &b"{}"[..] } else { &body };
        Ok(Self(parse(body)?, held))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;

    use super::*;

    /// A body of so many pieces that ends, or does not.
    fn body(pieces: usize, ends: bool) -> Body {
        let sent = stream::iter(vec![Ok::<_, Infallible>(Bytes::from(vec![b' '; PIECE])); pieces]);
        match ends {
            true => Body::from_stream(sent),
            false => Body::from_stream(sent.chain(stream::pending())),
        }
    }

    async fn received(bodies: &Bodies, body: Body) -> usize {
        let read = tokio::time::timeout(Duration::from_secs(10), bodies.receive(body)).await;
        read.expect("it waits for others").unwrap().0.len()
    }

    #[tokio::test]
    async fn slow_bodies_hold_only_what_has_arrived() {
        let bodies = Bodies::with_room(8);
        let slow: Vec<_> = (0..20)
            .map(|_| {
                let bodies = bodies.clone();
                tokio::spawn(async move { bodies.receive(body(1, false)).await.map(drop) })
            })
            .collect();
        assert_eq!(received(&bodies, body(8, true)).await, 8 * PIECE);
        slow.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test]
    async fn bodies_that_fill_the_room_together_all_arrive() {
        let bodies = Bodies::with_room(4);
        let all = (0..6).map(|_| received(&bodies, body(4, true)));
        assert_eq!(futures::future::join_all(all).await, [4 * PIECE; 6]);
        assert_eq!((bodies.room.available_permits(), bodies.beyond.available_permits()), (4, 1));
    }

    #[tokio::test]
    async fn a_body_that_does_not_say_how_long_it_is_ends_at_the_limit() {
        let endless =
            Body::from_stream(stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from(vec![b' '; PIECE]))));
        let refused = Bodies::default().receive(endless).await.unwrap_err();
        assert!(refused.is(ProblemKind::TooLarge), "{refused:?}");
    }
}
