//! The studio: a prompt, a picture.

use std::{borrow::Cow, time::Duration};

use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::use_query_map;

use crate::{
    api::{StudioData, load_studio},
    browser,
    components::{Canvas, Composer, DropOverlay, Header, History, Keys},
    form,
    state::{Address, Page, fraction},
};

/// How often the words on the button are brought up to date.
const QUEUE_EVERY: Duration = Duration::from_secs(4);

/// The page at `/`.
#[component]
pub(crate) fn StudioPage() -> impl IntoView {
    let query = use_query_map();
    // The address is read once: while the page is open it follows the page, not the other way round.
    let (job, before, address) = query.with_untracked(|query| {
        let pairs = query.into_iter().map(|(key, value): (&Cow<'static, str>, &str)| (key.as_ref(), value));
        let address = Address {
            values: form::parse(pairs),
            tried: query.get("tried"),
            index: query.get("picture").and_then(|index| index.parse().ok()).unwrap_or_default(),
        };
        (query.get("job"), query.get("before").and_then(|time| time.parse().ok()), address)
    });
    let address = StoredValue::new(address);
    let data = Resource::new_blocking(|| (), move |()| load_studio(job.clone(), before));
    view! {
        <Suspense>
            {move || Suspend::new(async move {
                match data.await {
                    Ok(data) => view! { <Studio data=data address=address /> }.into_any(),
                    Err(error) => view! { <Unavailable message=error.message /> }.into_any(),
                }
            })}
        </Suspense>
    }
}

#[component]
fn Studio(data: StudioData, address: StoredValue<Address>) -> impl IntoView {
    let model = data.model.name.clone();
    let page = address.with_value(|address| Page::new(data, address.clone()));
    provide_context(page);
    Effect::new(move || live(page));
    let title = Memo::new(move |_| {
        page.stage.job.with(|job| match job {
            Some(job) if !job.state.is_final() => format!("{:.0} % · Adire", fraction(job) * 100.0),
            _ => "Adire".to_owned(),
        })
    });
    view! {
        <Title text=title />
        <Header model=model />
        <main class="studio">
            <Composer />
            <Canvas />
            <History />
        </main>
        <DropOverlay />
        <Keys />
    }
}

/// What begins once the page is interactive.
fn live(page: Page) {
    if let Some(root) = document().document_element() {
        // The style sheet shows what needs a script from here on; tests wait for it.
        let _ = root.set_attribute("data-hydrated", "");
    }
    if untrack(|| page.stage.is_busy()) {
        if let Some(address) =
            page.stage.job.with_untracked(|job| job.as_ref().map(|job| job.links.page.clone()))
        {
            browser::show_address(&address);
        }
        browser::follow(page.stage);
    }
    let refresh = move || {
        if !document().hidden() && !untrack(|| page.stage.is_busy()) {
            page.refresh_queue();
        }
    };
    if let Ok(timer) = set_interval_with_handle(refresh, QUEUE_EVERY) {
        on_cleanup(move || timer.clear());
    }
    on_cleanup(browser::stop_following);
}

#[component]
fn Unavailable(message: String) -> impl IntoView {
    view! {
        <main class="not-found">
            <h1>"The studio cannot be opened"</h1>
            <p>{message}</p>
            <p>
                <a href="/" rel="external">
                    "Try again"
                </a>
            </p>
        </main>
    }
}
