//! The HTML document around every page, and which page an address gets. Server only.

use adire_protocol::{
    AdapterVersion, FieldError, HistoryImage, HistoryPage, HistoryQuery, ImageRef, ModelInfo,
};
use adire_studio::{By, Client, ErrorKind, Studio, StudioError};
use leptos::{nonce::use_nonce, prelude::*};

use crate::{
    api::{self, DATA_ID, StudioData},
    form,
    pages::{
        AdapterData, AdapterPage, AdaptersPage, CardData, CardView, CodeData, CodeView, DeleteView,
        HistoryData, HistoryView, NoAdapter, NotFound, ShareData, ShareView, StudioPage, TryData, TryView,
        Unavailable, VoteData, VoteView, title,
    },
    request::current_theme,
    state::Address,
};

/// A page with its data.
#[derive(Clone)]
pub struct Document(Content);

#[derive(Clone)]
enum Content {
    Studio(Box<StudioData>),
    Adapters(Vec<AdapterVersion>, Box<ModelInfo>),
    Adapter(Box<AdapterData>),
    History(Box<HistoryData>),
    Card(Box<CardData>),
    Delete(Vec<HistoryImage>, String),
    Share(Box<ShareData>),
    Try(Box<TryData>),
    Vote(Box<VoteData>),
    Code(Box<CodeData>),
    NoAdapter(String),
    NotFound,
    Unavailable(ErrorKind, String),
}

impl Document {
    /// The studio page; `query` is the part of the address after `?`. `warning`: what there is to say about files that have
    /// just been posted.
    pub async fn studio(studio: &Studio, client: &Client, query: &str, warning: Option<String>) -> Self {
        let address = Address::read(query);
        Self(match api::data(studio, client, (address.generation, address.index), address.before).await {
            Ok(data) => Content::Studio(Box::new(StudioData { warning, ..data })),
            Err(error) => Content::Unavailable(error.kind(), error.to_string()),
        })
    }

    /// Every adapter.
    pub async fn adapters(studio: &Studio) -> Self {
        let model = Box::new(studio.model().clone());
        Self(match studio.adapters().await {
            Ok(adapters) => Content::Adapters(adapters, model),
            Err(error) => Content::Unavailable(error.kind(), error.to_string()),
        })
    }

    /// One adapter version: `name@vN`, `name@alias`, or `name` for the newest.
    pub async fn adapter(studio: &Studio, name: &str) -> Self {
        Self(match adapter(studio, name).await {
            Ok(data) => Content::Adapter(Box::new(data)),
            Err(error @ (StudioError::UnknownAdapter { .. } | StudioError::Invalid(_))) => {
                Content::NoAdapter(error.to_string())
            }
            Err(error) => Content::Unavailable(error.kind(), error.to_string()),
        })
    }

    /// The visitor's images that fit a search. `flash`: message about the last action.
    pub async fn history(
        studio: &Studio,
        client: &Client,
        query: HistoryQuery,
        flash: Option<String>,
    ) -> Self {
        let (page, errors) = match studio.search_history(&query, client).await {
            Ok(page) => (page, Vec::new()),
            Err(StudioError::Invalid(invalid)) => (HistoryPage::default(), invalid.0),
            Err(error) => return Self::refused(&error),
        };
        let mut adapters: Vec<String> = Vec::new();
        for version in studio.adapters().await.unwrap_or_default() {
            if !adapters.contains(&version.name) {
                adapters.push(version.name.clone());
            }
            adapters.push(version.id());
        }
        Self(Content::History(Box::new(HistoryData { query, page, errors, adapters, flash })))
    }

    /// One of the visitor's images. `origin`: scheme and host of the request; `flash`: message about the last action.
    pub async fn image(
        studio: &Studio,
        client: &Client,
        of: &ImageRef,
        origin: String,
        flash: Option<String>,
    ) -> Self {
        let loaded = async {
            let image = studio.history_image(of, By::Client(client)).await?;
            let share = studio.share_of(of, By::Client(client)).await?;
            Ok(CardData { image, share, origin, flash })
        };
        match loaded.await {
            Ok(data) => Self(Content::Card(Box::new(data))),
            Err(error) => Self::refused(&error),
        }
    }

    /// Asks once more before images are deleted. `back`: query of the history to return to.
    pub fn delete(images: Vec<HistoryImage>, back: String) -> Self {
        Self(Content::Delete(images, back))
    }

    /// A shared image. `origin`: scheme and host of the request; `flash`: message about the last action.
    pub async fn shared(studio: &Studio, hash: &str, origin: String, flash: Option<String>) -> Self {
        match studio.shared_image(hash).await {
            Ok(image) => Self(Content::Share(Box::new(ShareData { image, origin, flash }))),
            Err(error) => Self::refused(&error),
        }
    }

    /// The studio with one version chosen, by `name`, `name@vN` or `name@alias`. `origin`: scheme and host of the request.
    pub async fn try_version(studio: &Studio, name: &str, origin: String) -> Self {
        match studio.linkable_version(name).await {
            Ok(version) => {
                let (name, model) = (name.to_owned(), studio.model().clone());
                Self(Content::Try(Box::new(TryData { version, name, model, origin })))
            }
            Err(error) => Self::refused(&error),
        }
    }

    /// The form as code; `query` is the part of the address after `?`, with the form's values. `origin`: scheme and host of
    /// the request.
    pub fn code(studio: &Studio, query: &str, origin: String) -> Self {
        let mut values = Address::read(query).values;
        // The studio's form sends its rows so when no script does it.
        for (name, text) in form::pairs(query).into_iter().filter(|(name, _)| name.starts_with("adapters[")) {
            form::set_posted(&mut values, &name, text);
        }
        let model = studio.model();
        let request = values.check(&model.limits, &model.defaults);
        let query = form::encode(&values);
        Self(Content::Code(Box::new(CodeData { request, query, origin })))
    }

    /// The next pair of a blind vote.
    pub async fn ballot(studio: &Studio, token: &str, client: &Client) -> Self {
        match studio.ballot(token, client).await {
            Ok(ballot) => Self(Content::Vote(Box::new(VoteData { ballot, known: client.visitor.is_some() }))),
            Err(error) => Self::refused(&error),
        }
    }

    fn refused(error: &StudioError) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self(Content::NotFound),
            kind => Self(Content::Unavailable(kind, error.to_string())),
        }
    }

    /// Errors of the fields that the page shows, for the status of its answer.
    pub fn field_errors(&self) -> &[FieldError] {
        match &self.0 {
            Content::History(data) => &data.errors,
            _ => &[],
        }
    }

    /// For an unknown address.
    pub fn not_found() -> Self {
        Self(Content::NotFound)
    }

    /// The kind of problem, if this is an error page.
    pub fn problem(&self) -> Option<ErrorKind> {
        match &self.0 {
            Content::Studio(_)
            | Content::Adapters(..)
            | Content::Adapter(_)
            | Content::History(_)
            | Content::Card(_)
            | Content::Delete(..)
            | Content::Share(_)
            | Content::Try(_)
            | Content::Vote(_)
            | Content::Code(_) => None,
            Content::NotFound | Content::NoAdapter(_) => Some(ErrorKind::NotFound),
            Content::Unavailable(kind, _) => Some(*kind),
        }
    }
}

/// Loads the wasm after the first paint, which fetching and compiling it would delay on a slow machine; the page works
/// without it. The first frame shows the header, the second the page (`style/layout.css`); a frame's
/// callback runs before that frame is painted, a timer set in it after.
const START: &str = "requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(async () => {
  const program = fetch('/pkg/adire_bg.wasm');
  const page = await import('/pkg/adire.js');
  await page.default({ module_or_path: program });
  page.hydrate();
})));";

async fn adapter(studio: &Studio, name: &str) -> Result<AdapterData, StudioError> {
    let detail = studio.adapter(name).await?;
    let mut versions = studio.adapters().await?;
    versions.retain(|version| version.name == detail.version.name);
    Ok(AdapterData { detail, versions, model: studio.model().clone() })
}

/// The document that the server sends, with `style` in it: one request less before the first paint.
pub fn shell(document: Document, style: String) -> impl IntoView {
    let (title, start) = match &document.0 {
        Content::Studio(data) => {
            (title(data.named.as_ref().or(data.active.as_ref())), Some(handed_over(data)))
        }
        Content::Adapters(..) => ("Adapters · Adire".to_owned(), None),
        Content::Adapter(data) => (format!("{} · Adire", data.detail.version.id()), None),
        Content::History(_) => ("Your images · Adire".to_owned(), None),
        Content::Card(_) => ("Image · Adire".to_owned(), None),
        Content::Delete(..) => ("Delete images · Adire".to_owned(), None),
        Content::Share(data) => (format!("{} · Adire", data.title()), None),
        Content::Try(data) => (format!("{} · Adire", data.title()), None),
        Content::Code(_) => ("Use it from code · Adire".to_owned(), None),
        Content::Vote(_) => ("Which image is better? · Adire".to_owned(), None),
        Content::NotFound | Content::NoAdapter(_) | Content::Unavailable(..) => (title(None), None),
    };
    let preview = match &document.0 {
        Content::Share(data) => Some(data.head()),
        Content::Try(data) => Some(data.head()),
        _ => None,
    };
    let is_history = matches!(
        document.0,
        Content::History(_)
            | Content::Card(_)
            | Content::Delete(..)
            | Content::Share(_)
            | Content::Try(_)
            | Content::Vote(_)
            | Content::Code(_)
    );
    let is_list = matches!(document.0, Content::History(_));
    let is_paper = is_history || matches!(document.0, Content::Adapters(..) | Content::Adapter(_));
    let body = match document.0 {
        Content::Studio(data) => {
            provide_context(*data);
            view! { <StudioPage /> }.into_any()
        }
        Content::Adapters(adapters, model) => {
            view! { <AdaptersPage adapters=adapters model=*model /> }.into_any()
        }
        Content::Adapter(data) => view! { <AdapterPage data=*data /> }.into_any(),
        Content::History(data) => view! { <HistoryView data=*data /> }.into_any(),
        Content::Card(data) => view! { <CardView data=*data /> }.into_any(),
        Content::Delete(images, back) => view! { <DeleteView images=images back=back /> }.into_any(),
        Content::Share(data) => view! { <ShareView data=*data /> }.into_any(),
        Content::Try(data) => view! { <TryView data=*data /> }.into_any(),
        Content::Vote(data) => view! { <VoteView data=*data /> }.into_any(),
        Content::Code(data) => view! { <CodeView data=*data /> }.into_any(),
        Content::NoAdapter(message) => view! { <NoAdapter message=message /> }.into_any(),
        Content::NotFound => view! { <NotFound /> }.into_any(),
        Content::Unavailable(_, message) => view! { <Unavailable message=message /> }.into_any(),
    };
    view! {
        <!DOCTYPE html>
        <html lang="en" data-theme=current_theme().name()>
            <head>
                <meta charset="utf-8" />
                <meta name="viewport" content="width=device-width, initial-scale=1, interactive-widget=resizes-content" />
                <title>{title}</title>
                {preview}
                <style nonce=use_nonce() inner_html=style></style>
                {is_paper.then(|| view! { <link rel="stylesheet" href="/adapters.css" /> })}
                {is_history.then(|| view! { <link rel="stylesheet" href="/history.css" /> })}
                {is_list.then(|| view! { <script type="module" src="/history.js" nonce=use_nonce()></script> })}
                <link rel="icon" href="/favicon.svg" type="image/svg+xml" />
            </head>
            <body>
                {body}
                {start
                    .map(|data| {
                        view! {
                            <script type="application/json" id=DATA_ID nonce=use_nonce() inner_html=data></script>
                            <script type="module" nonce=use_nonce() inner_html=START></script>
                        }
                    })}
            </body>
        </html>
    }
}

/// The page's data as JSON that may stand in a document: no `<` can end the element around it.
fn handed_over(data: &StudioData) -> String {
    serde_json::to_string(data).unwrap_or_default().replace('<', "\\u003c")
}
