//! Following one generation's server-sent events. The browser itself reconnects and says what it saw last
//! (`Last-Event-ID`); where it gives up, the record is read again and a new stream begins.

use std::{cell::RefCell, time::Duration};

use adire_protocol::GenerationEvent;
use leptos::prelude::*;
use wasm_bindgen::{JsCast, closure::Closure};
use wasm_bindgen_futures::spawn_local;
use web_sys::{EventSource, MessageEvent};

use crate::{api, state::Stage, wire::Value};

const NAMES: [&str; 7] = ["queued", "started", "progress", "image", "done", "failed", "cancelled"];
const PATIENCE: Duration = Duration::from_secs(3);

/// A stream and the functions that it calls.
struct Following {
    source: EventSource,
    _on_event: Closure<dyn FnMut(MessageEvent)>,
    _on_open: Closure<dyn FnMut()>,
    _on_error: Closure<dyn FnMut()>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.source.set_onopen(None);
        self.source.set_onerror(None);
        self.source.close();
    }
}

thread_local! {
    // A page follows one generation; a new one ends the old.
    static FOLLOWING: RefCell<Option<Following>> = const { RefCell::new(None) };
}

/// Follows the stage's generation until its last event.
pub(crate) fn follow(stage: Stage) {
    let Some((id, address)) = stage.job.with_untracked(|job| {
        job.as_ref().filter(|job| !job.state.is_final()).map(|job| (job.id.clone(), job.links.events.clone()))
    }) else {
        return;
    };
    let Ok(source) = EventSource::new(&address) else {
        return try_again(stage, id);
    };
    let on_event = Closure::new(move |message: MessageEvent| {
        let Some(text) = message.data().as_string() else { return };
        let Some(event) = read(&message.type_(), &text) else { return };
        stage.lost.set(false);
        let last = event.is_last();
        stage.take(event);
        if last {
            end_soon();
        }
    });
    let on_open = Closure::new(move || stage.lost.set(false));
    let on_error = Closure::new({
        let source = source.clone();
        move || {
            if stage.is_busy() {
                stage.lost.set(true);
                if source.ready_state() == EventSource::CLOSED {
                    end_soon();
                    try_again(stage, id.clone());
                }
            }
        }
    });
    for name in NAMES {
        let _ = source.add_event_listener_with_callback(name, on_event.as_ref().unchecked_ref());
    }
    source.set_onopen(Some(on_open.as_ref().unchecked_ref()));
    source.set_onerror(Some(on_error.as_ref().unchecked_ref()));
    let following = Following { source, _on_event: on_event, _on_open: on_open, _on_error: on_error };
    FOLLOWING.set(Some(following));
}

/// Reads an event by its name.
fn read(name: &str, text: &str) -> Option<GenerationEvent> {
    let value = Value::parse(text)?;
    Some(match name {
        "queued" => GenerationEvent::Queued {
            ahead: value.get("ahead").read()?,
            wait_ms: value.get("wait_ms").read()?,
        },
        "started" => GenerationEvent::Started,
        "progress" => GenerationEvent::Progress(value.read()?),
        "image" => GenerationEvent::Image { image: value.get("image").read()? },
        "done" => GenerationEvent::Done,
        "failed" => GenerationEvent::Failed { message: value.get("message").read()? },
        "cancelled" => GenerationEvent::Cancelled,
        _ => return None,
    })
}

/// Closes the stream.
pub(crate) fn stop_following() {
    FOLLOWING.set(None);
}

/// Closes it from inside one of its own functions: those must not be dropped while they run.
fn end_soon() {
    FOLLOWING.with_borrow(|following| following.iter().for_each(|following| following.source.close()));
    set_timeout(
        || {
            let closed = |following: &Following| following.source.ready_state() == EventSource::CLOSED;
            if FOLLOWING.with_borrow(|following| following.as_ref().is_some_and(closed)) {
                stop_following();
            }
        },
        Duration::ZERO,
    );
}

/// Reads the record again after a while and goes on from there.
fn try_again(stage: Stage, id: String) {
    set_timeout(
        move || {
            let is_ours = stage.job.with_untracked(|job| job.as_ref().is_some_and(|job| job.id == id));
            if is_ours && stage.is_busy() {
                spawn_local(catch_up(stage, id));
            }
        },
        PATIENCE,
    );
}

async fn catch_up(stage: Stage, id: String) {
    match api::load_studio(&id).await {
        Ok(data) => {
            stage.lost.set(false);
            stage.queue.set(data.queue);
            stage.history.set(data.history);
            stage.more.set(data.more);
            if let Some(problem) = data.problem {
                stage.fail(problem);
            } else if let Some(job) = data.named {
                stage.resume(job);
                follow(stage);
            }
        }
        Err(_) => try_again(stage, id),
    }
}

#[cfg(test)]
mod tests {
    use adire_protocol::{Event, Progress};

    use super::*;

    #[test]
    fn events_are_read_as_the_server_writes_them() {
        let progress = Progress {
            image: 1,
            images: 2,
            step: 3,
            steps: 20,
            remaining_ms: Some(900),
            preview: Some("data:".to_owned()),
        };
        for event in [
            GenerationEvent::Queued { ahead: 2, wait_ms: None },
            GenerationEvent::Queued { ahead: 0, wait_ms: Some(50) },
            GenerationEvent::Started,
            GenerationEvent::Progress(progress),
            GenerationEvent::Done,
            GenerationEvent::Failed { message: "No memory.".to_owned() },
            GenerationEvent::Cancelled,
        ] {
            let text = serde_json::to_string(&Event { id: 7, event: event.clone() }).unwrap();
            assert!(NAMES.contains(&event.name()));
            assert_eq!(read(event.name(), &text), Some(event), "{text}");
        }
        assert_eq!(read("done?", "{}"), None);
        assert_eq!(read("progress", "{"), None);
    }
}
