//! Image files, dropped on the page or chosen.

use std::cell::RefCell;

use leptos::{ev, prelude::*};
use web_sys::{DragEvent, File, HtmlImageElement};

/// The server's upload limit.
const MAX_UPLOAD_BYTES: f64 = 20.0 * 1024.0 * 1024.0;

thread_local! {
    // Signals require `Send`, which a file is not.
    static KEPT: RefCell<Option<File>> = const { RefCell::new(None) };
}

/// Whether a file exceeds the upload limit.
pub(crate) fn is_too_large(file: &File) -> bool {
    file.size() > MAX_UPLOAD_BYTES
}

/// Whether the browser reports a media type that the server accepts.
pub(crate) fn is_image(file: &File) -> bool {
    ["image/png", "image/jpeg", "image/webp"].contains(&file.type_().as_str())
}

/// Keeps a file until its purpose is known.
pub(crate) fn keep_file(file: File) {
    KEPT.set(Some(file));
}

/// The file that was kept.
pub(crate) fn kept_file() -> Option<File> {
    KEPT.take()
}

/// Width and height of an image on the page, once it is loaded.
pub(crate) fn image_size(id: &str) -> Option<(u32, u32)> {
    let image: HtmlImageElement = super::element(id)?;
    let size = (image.natural_width(), image.natural_height());
    (size.0 > 0 && size.1 > 0).then_some(size)
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
