//! The studio page.

use std::time::Duration;

use adire_protocol::{Generation, ImageRecord};
use leptos::prelude::*;

use crate::{
    api::StudioData,
    browser,
    components::{Canvas, Composer, DropOverlay, Header, History, Keys, Purpose},
    request,
    state::{self, Address, Page, fraction},
    thin::erased::{EraseView, ErasedView},
};

/// Interval at which the forecast on the button is refreshed.
const QUEUE_EVERY: Duration = Duration::from_secs(4);

/// The page at `/`. The server puts its [`StudioData`] into the context; the browser finds it in the document.
#[component]
pub(crate) fn StudioPage() -> ErasedView {
    let Some(data) = StudioData::here() else {
        return ().erase();
    };
    // The address is read once: while the page is open it follows the page, not the other way round.
    let address = Address::read(&request::query());
    let model = data.model.name.clone();
    let page = Page::new(data, address);
    provide_context(page);
    Effect::new(move || live(page));
    Effect::new(move || {
        document().set_title(&page.workspace.generation.with(|generation| title(generation.as_ref())))
    });
    view! {
        <Header model=model />
        <main class="studio">
            <Composer />
            <Canvas />
            <History />
        </main>
        <DropOverlay />
        <Keys />
        <Purpose />
    }
    .erase()
}

/// Title of the window: progress of the generation.
pub(crate) fn title(generation: Option<&Generation>) -> String {
    match generation {
        Some(generation) if !generation.state.is_final() => {
            format!("{}% · Adire", (fraction(generation) * 100.0).round() as u32)
        }
        _ => "Adire".to_owned(),
    }
}

/// Starts everything that needs an interactive page.
fn live(page: Page) {
    keep_fields(page);
    if untrack(|| page.workspace.is_busy()) {
        if let Some(address) = page
            .workspace
            .generation
            .with_untracked(|generation| generation.as_ref().map(|generation| generation.links.page.clone()))
        {
            browser::show_address(&address);
        }
        state::follow(page.workspace);
    }
    let refresh = move || {
        if !document().hidden() && !untrack(|| page.workspace.is_busy()) {
            page.refresh_queue();
        }
    };
    if let Ok(timer) = set_interval_with_handle(refresh, QUEUE_EVERY) {
        on_cleanup(move || timer.clear());
    }
    // The first one came with the page.
    Effect::new(move |before: Option<Option<(String, u32)>>| {
        let place = |image: &ImageRecord| (image.generation.clone(), image.index);
        let now = page.workspace.shown.with(|shown| shown.as_ref().map(place));
        if before.is_some_and(|before| before != now) {
            page.load_rating();
        }
        now
    });
    state::rest_out_of_sight(page.workspace);
    on_cleanup(state::stop_following);
}

/// Restores the fields as they were when this page was left, and saves them from here on.
fn keep_fields(page: Page) {
    browser::begin_keeping();
    if let Ok(Some(form)) = document().query_selector(".composer") {
        // Browsers keep the fields of a page without a script; with one they would get in each other's way.
        let _ = form.set_attribute("autocomplete", "off");
    }
    let begun = untrack(|| page.form.values());
    let ready = RwSignal::new(false);
    // After the fields have read what was typed before hydration.
    set_timeout(
        move || {
            if let Some(text) = browser::kept() {
                page.restore(&text, &begun);
            }
            ready.set(true);
            if let Some(root) = document().document_element() {
                // The style sheet shows what needs a script from here on; tests wait for it.
                let _ = root.set_attribute("data-hydrated", "");
            }
        },
        Duration::ZERO,
    );
    Effect::new(move || {
        if ready.get() {
            browser::keep(&page.form.kept());
        }
    });
}
