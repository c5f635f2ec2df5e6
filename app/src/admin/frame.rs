//! The frame of every admin page: the navigation rail.

use leptos::prelude::*;

use super::icons::Icon;
use crate::components::logo;

/// Sections in the rail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Overview,
    Queue,
    Monitoring,
    Images,
    Datasets,
    Training,
    Versions,
    Evaluation,
    Wildcards,
    Tokens,
}

impl Section {
    const ALL: [Self; 10] = [
        Self::Overview,
        Self::Queue,
        Self::Monitoring,
        Self::Images,
        Self::Datasets,
        Self::Training,
        Self::Versions,
        Self::Evaluation,
        Self::Wildcards,
        Self::Tokens,
    ];

    fn link(self) -> (&'static str, &'static str, Icon) {
        match self {
            Self::Overview => ("/admin", "Overview", Icon::Overview),
            Self::Queue => ("/admin/queue", "Queue", Icon::Queue),
            Self::Monitoring => ("/admin/monitoring", "Monitoring", Icon::Monitoring),
            Self::Images => ("/admin/images", "Images", Icon::Studio),
            Self::Versions => ("/admin/versions", "Versions", Icon::Versions),
            Self::Evaluation => ("/admin/evaluations", "Evaluation", Icon::Evaluation),
            Self::Wildcards => ("/admin/wildcards", "Wildcards", Icon::Wildcards),
            Self::Tokens => ("/admin/tokens", "API tokens", Icon::Tokens),
            Self::Datasets => ("/admin/datasets", "Datasets", Icon::Datasets),
            Self::Training => ("/admin/training", "Training", Icon::Training),
        }
    }
}

/// A page with the rail beside it; on a phone above it. `signed_in`: whether there is a session to end.
pub(super) fn framed(section: Option<Section>, signed_in: bool, page: AnyView) -> AnyView {
    let entries = Section::ALL.map(|entry| {
        let (address, name, icon) = entry.link();
        view! {
            <li>
                <a href=address aria-current=(section == Some(entry)).then_some("page")>
                    {icon.draw()}
                    {name}
                </a>
            </li>
        }
    });
    view! {
        <a class="skip" href="#main">
            "Skip to content"
        </a>
        <div class="admin">
            <header class="side">
                <a class="brand" href="/admin">
                    {logo()}
                    "Adire"
                    <span>"Admin"</span>
                </a>
                <nav aria-label="Admin">
                    <ul>{entries.into_iter().collect::<Vec<_>>()}</ul>
                </nav>
                <div class="side-end">
                    <a href="/">{Icon::Studio.draw()} "Studio"</a>
                    {signed_in
                        .then(|| {
                            view! {
                                <form method="post" action="/admin/sign-out">
                                    <button type="submit">{Icon::SignOut.draw()} "Sign out"</button>
                                </form>
                            }
                        })}
                </div>
            </header>
            <main id="main">{page}</main>
        </div>
    }
    .into_any()
}

/// A centred page without the rail, before sign-in.
pub(super) fn alone(page: AnyView) -> AnyView {
    view! {
        <div class="access">
            <main class="access-card">
                <a class="brand" href="/">
                    {logo()}
                    "Adire"
                    <span>"Admin"</span>
                </a>
                {page}
            </main>
        </div>
    }
    .into_any()
}

/// The head of a page: title, lead and actions.
pub(super) fn head(
    title: impl Into<String>,
    lead: impl IntoView + 'static,
    actions: impl IntoView + 'static,
) -> impl IntoView {
    view! {
        <div class="head">
            <div>
                <h1>{title.into()}</h1>
                <p class="lead">{lead}</p>
            </div>
            <div class="head-actions">{actions}</div>
        </div>
    }
}

/// The way back to the pages above: address and name of each.
pub(super) fn crumbs<const N: usize>(pages: [(&str, &'static str); N]) -> AnyView {
    let links = pages.into_iter().enumerate().map(|(at, (address, name))| {
        let address = address.to_owned();
        view! {
            {(at > 0).then_some(" / ")}
            <a href=address>{name}</a>
        }
    });
    view! { <p class="crumb">{links.collect::<Vec<_>>()}</p> }.into_any()
}

/// What was just done, or why it was not.
pub(super) fn flash_line(flash: Option<String>) -> AnyView {
    flash.map(|flash| view! { <p class="flash" role="status">{flash}</p> }).into_any()
}
