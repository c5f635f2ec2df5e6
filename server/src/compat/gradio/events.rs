//! The events of Gradio's queue. Each block begins with `data:`; there are no comments, names or ids, at which its Python
//! client gives up.

use std::{convert::Infallible, time::Duration};

use adire_protocol::{GenerationEvent, ImageRecord};
use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream, SelectAll},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    compat::{
        run,
        sessions::{Event, Outcome},
    },
    error::Problem,
    state::AppState,
};

/// Heartbeats keep proxies from closing a stream on which nothing happens.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);

/// A message about an event, and whether it is the last.
#[derive(Debug)]
pub(crate) struct Message {
    event: String,
    pub(crate) body: Value,
    pub(crate) last: bool,
}

/// The messages of one event.
pub(crate) async fn messages(
    state: &AppState,
    event: &Event,
    origin: &str,
) -> Result<BoxStream<'static, Message>, Problem> {
    let id = event.id.clone();
    let message = move |body: Value, last: bool| {
        let mut body = body;
        if let Value::Object(body) = &mut body {
            body.insert("event_id".to_owned(), id.clone().into());
        }
        Message { event: id.clone(), body, last }
    };
    if let Outcome::Adapters = event.outcome {
        let adapters = serde_json::to_value(state.studio.adapters().await?).map_err(Problem::internal)?;
        let done = completed(json!([adapters]));
        return Ok(stream::iter([message(starts(), false), message(done, true)]).boxed());
    }
    let events = run::events(state, &event.id).await?;
    let progress = Progress { image: None, origin: origin.to_owned() };
    let messages = stream::unfold((Some(events), progress), move |(events, mut progress)| {
        let message = message.clone();
        async move {
            let mut events = events?;
            loop {
                match events.next().await {
                    None => {
                        let stopped = failed(&run::stopping().detail);
                        return Some((message(stopped, true), (None, progress)));
                    }
                    Some(event) => {
                        let last = event.event.is_last();
                        if let Some(body) = progress.body(event.event) {
                            return Some((message(body, last), ((!last).then_some(events), progress)));
                        }
                    }
                }
            }
        }
    });
    Ok(messages.boxed())
}

/// The last message, after a `None` for each `interval` of waiting for it.
pub(crate) fn with_heartbeats(
    messages: BoxStream<'static, Message>,
    interval: Duration,
) -> impl Stream<Item = Option<Message>> + Send {
    let waiting = Some((messages, Instant::now() + interval));
    stream::unfold(waiting, move |waiting| async move {
        let (mut messages, due) = waiting?;
        loop {
            match tokio::time::timeout_at(due, messages.next()).await {
                Err(_) => return Some((None, Some((messages, due + interval)))),
                Ok(Some(message)) if message.last => return Some((Some(message), None)),
                Ok(Some(_)) => {}
                Ok(None) => return None,
            }
        }
    })
}

/// What has been sent about a generation.
struct Progress {
    image: Option<ImageRecord>,
    /// By which address the client came.
    origin: String,
}

impl Progress {
    fn body(&mut self, event: GenerationEvent) -> Option<Value> {
        Some(match event {
            GenerationEvent::Queued { ahead, wait_ms, .. } => json!({
                "msg": "estimation", "rank": ahead, "queue_size": ahead + 1,
                "rank_eta": wait_ms.map(|ms| ms as f64 / 1000.0),
            }),
            GenerationEvent::Started => starts(),
            GenerationEvent::Progress(progress) => json!({
                "msg": "progress",
                "progress_data": [{
                    "index": progress.step, "length": progress.steps, "unit": "steps", "progress": null, "desc": null,
                }],
            }),
            GenerationEvent::Image { image } => {
                self.image = Some(*image);
                return None;
            }
            GenerationEvent::Done => match &self.image {
                Some(image) => completed(output(image, &self.origin)),
                None => failed("The generation has no image."),
            },
            GenerationEvent::Failed { message } => failed(&message),
            GenerationEvent::Cancelled => failed(&run::cancelled().detail),
        })
    }
}

/// The results of `/generate` and `/img2img`.
fn output(image: &ImageRecord, origin: &str) -> Value {
    let seed = image.recipe.spec.seed;
    let name = format!("adire-{seed}.png");
    let path = format!("{}/{name}", image.hash);
    json!([
        {
            "path": path, "url": format!("{origin}/gradio_api/file={path}"), "size": null, "orig_name": name, "mime_type": "image/png", "is_stream": false,
            "meta": {"_type": "gradio.FileData"},
        },
        seed,
    ])
}

fn starts() -> Value {
    json!({"msg": "process_starts", "eta": null})
}

fn completed(data: Value) -> Value {
    json!({
        "msg": "process_completed",
        "output": {"data": data, "is_generating": false, "duration": null, "average_duration": null},
        "success": true,
    })
}

fn failed(why: &str) -> Value {
    json!({"msg": "process_completed", "output": {"error": why}, "success": false, "title": "Error"})
}

/// The stream of a session: what its events say, until the last of them has ended.
pub(crate) fn of_session(
    state: AppState,
    caller: String,
    session: String,
    origin: String,
    held: impl Send + 'static,
) -> Response {
    let following = Following {
        state,
        caller,
        session,
        origin,
        known: Vec::new(),
        streams: SelectAll::new(),
        over: false,
    };
    let blocks = stream::unfold(following, |mut following| async move {
        let body = following.next().await?;
        Some((body, following))
    });
    let blocks = blocks.map(move |body| {
        let _held = &held;
        block(&body)
    });
    respond(blocks)
}

struct Following {
    state: AppState,
    caller: String,
    session: String,
    origin: String,
    /// Events whose messages are followed.
    known: Vec<String>,
    streams: SelectAll<BoxStream<'static, Message>>,
    over: bool,
}

impl Following {
    async fn next(&mut self) -> Option<Value> {
        loop {
            if self.over {
                return None;
            }
            let Some((events, more)) = self.state.sessions.events(&self.caller, &self.session) else {
                self.over = true;
                return Some(json!({"msg": "close_stream", "event_id": null}));
            };
            for event in events {
                if self.known.contains(&event.id) {
                    continue;
                }
                self.known.push(event.id.clone());
                match messages(&self.state, &event, &self.origin).await {
                    Ok(messages) => self.streams.push(messages),
                    Err(problem) => {
                        self.state.sessions.remove(&self.caller, &self.session, &event.id);
                        let mut body = failed(&problem.detail);
                        if let Value::Object(body) = &mut body {
                            body.insert("event_id".to_owned(), event.id.into());
                        }
                        return Some(body);
                    }
                }
            }
            tokio::select! {
                Some(message) = self.streams.next() => {
                    if message.last {
                        self.state.sessions.remove(&self.caller, &self.session, &message.event);
                    }
                    return Some(message.body);
                }
                () = more.notified() => {}
                () = tokio::time::sleep(HEARTBEAT) => return Some(json!({"msg": "heartbeat"})),
            }
        }
    }
}

fn block(body: &Value) -> String {
    format!("data: {body}\n\n")
}

/// An answer of blocks that are ready to be sent.
pub(crate) fn respond(blocks: impl Stream<Item = String> + Send + 'static) -> Response {
    let mut response = Body::from_stream(blocks.map(Ok::<_, Infallible>)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn heartbeats_come_until_the_last_message() {
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let sent = |last| Message { event: "1".to_owned(), body: Value::Null, last };
        let first = stream::iter([sent(false)]);
        let last = stream::once(async move {
            ended.await.unwrap();
            sent(true)
        });
        let found = with_heartbeats(first.chain(last).boxed(), Duration::from_millis(1));
        let mut found = std::pin::pin!(found.map(|message| message.is_some()));
        for _ in 0..3 {
            assert_eq!(found.next().await, Some(false));
        }
        end.send(()).unwrap();
        let rest: Vec<bool> = found.collect().await;
        assert_eq!(rest.iter().position(|is_message| *is_message), Some(rest.len() - 1), "{rest:?}");
    }
}
