//! Reading the parameters out of a picture: dropped on the page, or chosen as a file.

use adire_protocol::GenerationRequest;
use leptos::{ev, prelude::*};
use serde::Deserialize;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;
use web_sys::{DragEvent, File, RequestInit, Response};

/// The largest file that the server takes.
const LARGEST: f64 = 32.0 * 1024.0 * 1024.0;

/// What the API answers when something is wrong.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

/// Asks the server what made a picture.
///
/// # Errors
/// A sentence: the server cannot be reached, or the file carries no parameters.
pub(crate) async fn read_recipe(file: File) -> Result<GenerationRequest, String> {
    if file.size() > LARGEST {
        return Err(format!("{} is larger than 32 MB; drop the PNG that Adire or A1111 wrote.", file.name()));
    }
    let unreachable = |_| "The server cannot be reached; try again in a moment.".to_owned();
    let init = RequestInit::new();
    init.set_method("POST");
    init.set_body(&file);
    let answer = JsFuture::from(window().fetch_with_str_and_init("/api/v1/recipe", &init));
    let answer: Response = answer.await.map_err(unreachable)?.unchecked_into();
    let text = JsFuture::from(answer.text().map_err(unreachable)?).await.map_err(unreachable)?;
    let text = text.as_string().unwrap_or_default();
    if answer.ok() {
        serde_json::from_str(&text)
            .map_err(|_| format!("The parameters in {} are not readable.", file.name()))
    } else {
        let problem = serde_json::from_str::<Problem>(&text).ok();
        Err(problem.map_or_else(|| format!("{} could not be read.", file.name()), |problem| problem.detail))
    }
}

/// Lets files be dropped anywhere. `over` is true while one hovers above the page.
pub(crate) fn drop_target(over: RwSignal<bool>, on_file: impl Fn(File) + Clone + 'static) {
    let carries_file = |event: &DragEvent| {
        event.data_transfer().is_some_and(|data| data.types().includes(&"Files".into(), 0))
    };
    let handles = [
        window_event_listener(ev::dragover, move |event| {
            if carries_file(&event) {
                event.prevent_default();
                over.set(true);
            }
        }),
        window_event_listener(ev::dragleave, move |event| {
            // Leaving the window, not one element for the next.
            if event.related_target().is_none() {
                over.set(false);
            }
        }),
        window_event_listener(ev::drop, move |event| {
            over.set(false);
            if carries_file(&event) {
                event.prevent_default();
                if let Some(file) =
                    event.data_transfer().and_then(|data| data.files()).and_then(|files| files.get(0))
                {
                    on_file(file);
                }
            }
        }),
    ];
    on_cleanup(move || handles.into_iter().for_each(|handle| handle.remove()));
}
