//! Follows the server-sent events of one generation. All tabs of a browser share one stream, which the shared worker
//! `streams.js` holds: a browser has six connections to a server that speaks HTTP/1.1. Without shared workers (phones),
//! only the visible tab has a stream. The browser itself reconnects with `Last-Event-ID`; where it gives up, the record
//! is read again and a new stream is opened.

use std::{cell::RefCell, time::Duration};

use adire_protocol::GenerationEvent;
use js_sys::{Array, JsString, Object, Reflect};
use leptos::{ev, prelude::*};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::spawn_local;
use web_sys::{EventSource, MessageEvent, MessagePort, SharedWorker};

use super::Workspace;
use crate::thin::{client, wire::Value};

const NAMES: [&str; 7] = ["queued", "started", "progress", "image", "done", "failed", "cancelled"];
const PATIENCE: Duration = Duration::from_secs(3);
/// The number changes with the protocol between worker and pages.
const WORKER: &str = "/streams.js?1";

/// Source of the events.
enum Source {
    Shared(SharedWorker, MessagePort, String),
    Own(EventSource),
}

/// A stream and its callbacks.
struct Following {
    source: Source,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_open: Closure<dyn FnMut()>,
    _on_error: Closure<dyn FnMut()>,
}

impl Drop for Following {
    fn drop(&mut self) {
        match &self.source {
            Source::Own(source) => {
                source.set_onopen(None);
                source.set_onerror(None);
            }
            Source::Shared(worker, port, _) => {
                worker.set_onerror(None);
                port.set_onmessage(None);
            }
        }
        self.source.close();
    }
}

impl Source {
    /// Closes the stream; idempotent.
    fn close(&self) {
        match self {
            Self::Own(source) => source.close(),
            Self::Shared(_, port, address) => {
                let _ = port.post_message(&record(&[("leave", &JsString::from(address.as_str()))]));
                port.close();
            }
        }
    }
}

fn record(fields: &[(&str, &JsValue)]) -> Object {
    let record = Object::new();
    for (key, value) in fields {
        let _ = Reflect::set(&record, &JsString::from(*key), value);
    }
    record
}

thread_local! {
    // A page follows one generation; a new one ends the old.
    static FOLLOWING: RefCell<Option<Following>> = const { RefCell::new(None) };
}

/// Follows the workspace's generation until its last event.
pub(crate) fn follow(workspace: Workspace) {
    follow_by(workspace, true);
}

/// `shared`: through the shared worker, where the browser supports it.
fn follow_by(workspace: Workspace, shared: bool) {
    let Some((id, address)) = workspace.generation.with_untracked(|generation| {
        generation
            .as_ref()
            .filter(|generation| !generation.state.is_final())
            .map(|generation| (generation.id.clone(), generation.links.events.clone()))
    }) else {
        return;
    };
    let shared = shared && Reflect::has(&window(), &JsString::from("SharedWorker")).unwrap_or(false);
    let source = if shared {
        SharedWorker::new(WORKER).ok().map(|worker| {
            let port = worker.port();
            Source::Shared(worker, port, address.clone())
        })
    } else if document().hidden() {
        // The tab reconnects when it becomes visible.
        return;
    } else {
        None
    };
    let Some(source) = source.or_else(|| EventSource::new(&address).ok().map(Source::Own)) else {
        return try_again(workspace, id);
    };
    let apply = move |name: &str, text: &str| {
        let Some(event) = read(name, text) else { return };
        workspace.lost.set(false);
        let last = event.is_last();
        workspace.apply_event(event);
        if last {
            end_soon();
        }
    };
    let lost = move |ended: bool| {
        if workspace.is_busy() {
            workspace.lost.set(true);
            if ended {
                end_soon();
                try_again(workspace, id.clone());
            }
        }
    };
    let ended = lost.clone();
    let of = address.clone();
    let on_message = Closure::new(move |message: MessageEvent| {
        let data = message.data();
        let Some(message) = data.dyn_ref::<Array>() else {
            // An event of the page's own stream.
            return apply(&message.type_(), &data.as_string().unwrap_or_default());
        };
        if message.get(0).as_string().as_deref() != Some(&of) {
            return;
        }
        match message.get(1).as_string().unwrap_or_default().as_str() {
            "" => ended(true),
            "error" => ended(false),
            "open" => workspace.lost.set(false),
            name => apply(name, &message.get(2).as_string().unwrap_or_default()),
        }
    });
    let on_open = Closure::new(move || workspace.lost.set(false));
    let stream = match &source {
        Source::Own(stream) => Some(stream.clone()),
        Source::Shared(..) => None,
    };
    let on_error = Closure::new(move || match &stream {
        Some(stream) => lost(stream.ready_state() == EventSource::CLOSED),
        None => {
            // The worker could not be loaded.
            set_timeout(move || follow_by(workspace, false), Duration::ZERO);
        }
    });
    match &source {
        Source::Own(stream) => {
            for name in NAMES {
                let _ = stream.add_event_listener_with_callback(name, on_message.as_ref().unchecked_ref());
            }
            stream.set_onopen(Some(on_open.as_ref().unchecked_ref()));
            stream.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        }
        Source::Shared(worker, port, address) => {
            worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
            port.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
            let names: Array = NAMES.iter().map(|name| JsString::from(*name)).collect();
            let wanted = record(&[("follow", &JsString::from(address.as_str())), ("names", &names)]);
            let _ = port.post_message(&wanted);
        }
    }
    let following = Following { source, _on_message: on_message, _on_open: on_open, _on_error: on_error };
    FOLLOWING.set(Some(following));
}

/// Closes the stream while the page is hidden and reopens it afterwards: pages in the back/forward cache must not hold a
/// connection, nor may background tabs without the worker.
pub(crate) fn rest_out_of_sight(workspace: Workspace) {
    let back = move || {
        if let Some(id) = untrack(|| workspace.is_busy())
            .then(|| {
                workspace
                    .generation
                    .with_untracked(|generation| generation.as_ref().map(|generation| generation.id.clone()))
            })
            .flatten()
        {
            spawn_local(catch_up(workspace, id));
        }
    };
    let away = move || {
        let own = |following: &Following| matches!(following.source, Source::Own(_));
        let own = FOLLOWING.with_borrow(|following| following.as_ref().is_none_or(own));
        if own && document().hidden() {
            stop_following();
        } else if own {
            back();
        }
    };
    let handles = [
        window_event_listener_untyped("pagehide", |_| stop_following()),
        window_event_listener_untyped("pageshow", move |event| {
            let persisted = Reflect::get(&event, &JsString::from("persisted")).ok();
            if persisted.and_then(|persisted| persisted.as_bool()) == Some(true) {
                back();
            }
        }),
        window_event_listener(ev::visibilitychange, move |_| away()),
    ];
    on_cleanup(move || handles.into_iter().for_each(|handle| handle.remove()));
}

/// Reads an event by its name.
fn read(name: &str, text: &str) -> Option<GenerationEvent> {
    let value = Value::parse(text)?;
    Some(match name {
        "queued" => GenerationEvent::Queued {
            ahead: value.get("ahead").read()?,
            wait_ms: value.get("wait_ms").read()?,
            wait_reason: value.get("wait_reason").read()?,
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

/// Closes the stream from one of its own callbacks, which must not be dropped while they run.
fn end_soon() {
    let ended = FOLLOWING.with_borrow_mut(Option::take);
    if let Some(following) = &ended {
        following.source.close();
    }
    // Dropped with the timer's function.
    set_timeout(move || drop(ended), Duration::ZERO);
}

/// Reads the record again after a delay and continues from there.
fn try_again(workspace: Workspace, id: String) {
    set_timeout(
        move || {
            let is_ours = workspace.generation.with_untracked(|generation| {
                generation.as_ref().is_some_and(|generation| generation.id == id)
            });
            if is_ours && workspace.is_busy() {
                spawn_local(catch_up(workspace, id));
            }
        },
        PATIENCE,
    );
}

async fn catch_up(workspace: Workspace, id: String) {
    match client::load_studio(&id).await {
        Ok(data) => {
            workspace.lost.set(false);
            workspace.queue.set(data.queue);
            workspace.history.set(data.history);
            workspace.more.set(data.more);
            if let Some(problem) = data.problem {
                workspace.fail(problem);
            } else if let Some(generation) = data.named {
                workspace.resume(generation);
                follow(workspace);
            }
        }
        Err(_) => try_again(workspace, id),
    }
}

#[cfg(test)]
mod tests {
    use adire_protocol::{Event, Progress, WaitReason};

    use super::*;

    #[test]
    fn events_are_read_as_the_server_writes_them() {
        let progress = Progress {
            image: 1,
            images: 2,
            batch: 1,
            step: 3,
            steps: 20,
            remaining_ms: Some(900),
            preview: Some("data:".to_owned()),
        };
        for event in [
            GenerationEvent::Queued {
                ahead: 2,
                wait_ms: None,
                wait_reason: Some(WaitReason::OtherGenerations),
            },
            GenerationEvent::Queued { ahead: 0, wait_ms: Some(50), wait_reason: None },
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
