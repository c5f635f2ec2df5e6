//! Images as events. No event has an id: the clients keep the last one and take the blank line after a comment for an event
//! without data.

use std::{convert::Infallible, time::Duration};

use adire_protocol::{Generation, GenerationEvent, ImageRecord};
use adire_studio::EventStream;
use axum::{
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response, Sse, sse},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::{Stream, StreamExt, stream};
use image::imageops::FilterType;
use serde_json::{Value, json};

use super::{Purpose, size_of, usage};
use crate::{
    compat::{
        images::{self, Format},
        run,
    },
    dialect::Dialect,
    error::Problem,
    state::AppState,
};

/// Comments keep proxies from closing a stream on which nothing happens.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The events of a generation with up to `partial` previews of each image.
pub(super) async fn answer(
    state: AppState,
    generation: Generation,
    purpose: Purpose,
    format: Format,
    partial: u32,
) -> Result<Response, Problem> {
    let events = run::events(&state, &generation.id).await?;
    let progress = Progress { state, generation, purpose, format, partial, image: 0, sent: 0 };
    let events = progress.stream(events).map(Ok::<_, Infallible>);
    let mut response =
        Sse::new(events).keep_alive(sse::KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// What has been sent about a generation.
struct Progress {
    state: AppState,
    generation: Generation,
    purpose: Purpose,
    format: Format,
    partial: u32,
    /// The image that previews are of.
    image: u32,
    /// Previews of it so far.
    sent: u32,
}

impl Progress {
    fn stream(self, events: EventStream) -> impl Stream<Item = sse::Event> + Send {
        stream::unfold((self, Some(events)), |(mut progress, events)| async move {
            let mut events = events?;
            loop {
                let Some(event) = events.next().await else {
                    return Some((failed(&run::stopping()), (progress, None)));
                };
                let last = event.event.is_last();
                match progress.event(event.event).await {
                    Some(next) => return Some((next, (progress, (!last).then_some(events)))),
                    None if last => return None,
                    None => {}
                }
            }
        })
    }

    async fn event(&mut self, event: GenerationEvent) -> Option<sse::Event> {
        match event {
            GenerationEvent::Progress(progress) => {
                if progress.image != self.image {
                    (self.image, self.sent) = (progress.image, 0);
                }
                // Evenly over the steps of each image.
                let due = progress.step * (self.partial + 1) / progress.steps.max(1);
                if self.sent >= self.partial.min(due) {
                    return None;
                }
                let preview = self.preview(progress.preview?).await?;
                self.sent += 1;
                let index = self.sent - 1;
                Some(self.named("partial_image", &preview, json!({"partial_image_index": index})))
            }
            GenerationEvent::Image { image } => Some(self.completed(&image).await),
            GenerationEvent::Failed { message } => Some(failed(&run::failed(message))),
            GenerationEvent::Cancelled => Some(failed(&run::cancelled())),
            _ => None,
        }
    }

    async fn completed(&self, image: &ImageRecord) -> sse::Event {
        match images::file_as(&self.state.studio, image, self.format).await {
            Ok(file) => self.named("completed", &images::encode(&file), json!({"usage": usage()})),
            Err(problem) => failed(&problem),
        }
    }

    /// A preview, which is small, at the size and in the format of the image.
    async fn preview(&self, preview: String) -> Option<String> {
        let (_, data) = preview.split_once(',')?;
        let (small, (width, height)) = (STANDARD.decode(data).ok()?, self.generation.spec.final_size());
        let format = self.format;
        let enlarged = tokio::task::spawn_blocking(move || {
            let large = images::read(&small)?.resize_exact(width, height, FilterType::Triangle);
            images::convert(&images::write(&large)?, format).ok()
        });
        Some(images::encode(&enlarged.await.ok()??))
    }

    fn named(&self, what: &str, image: &str, more: Value) -> sse::Event {
        let of = if self.purpose == Purpose::Generation { "image_generation" } else { "image_edit" };
        let name = format!("{of}.{what}");
        let mut event = json!({
            "type": name, "b64_json": image, "created_at": self.generation.created_at / 1000,
            "size": size_of(&self.generation), "quality": "auto", "background": "opaque",
            "output_format": self.format.name(),
        });
        if let (Value::Object(event), Value::Object(more)) = (&mut event, more) {
            event.extend(more);
        }
        sse::Event::default().event(name).data(event.to_string())
    }
}

fn failed(problem: &Problem) -> sse::Event {
    sse::Event::default().event("error").data(Dialect::OpenAi.body(problem).to_string())
}
