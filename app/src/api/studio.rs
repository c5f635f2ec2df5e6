//! The initial data of the studio page, in one call.

use adire_protocol::{AdapterVersion, Generation, ImageRecord, ModelInfo, QueueStatus};

#[cfg(feature = "ssr")]
use super::AppError;

/// Id of the element that holds the page's data.
pub(crate) const DATA_ID: &str = "page-data";

/// The initial data of the page.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(any(feature = "ssr", feature = "serde-wire", test), derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct StudioData {
    /// The loaded model.
    pub(crate) model: ModelInfo,
    /// Every adapter version, by name, the newest first.
    pub(crate) adapters: Vec<AdapterVersion>,
    /// Words of prompts that stand for embeddings.
    pub(crate) embeddings: Vec<String>,
    /// Names of wildcard lists.
    pub(crate) wildcards: Vec<String>,
    /// State of the queue.
    pub(crate) queue: QueueStatus,
    /// The visitor's newest images.
    pub(crate) history: Vec<ImageRecord>,
    /// Whether there are older ones.
    pub(crate) more: bool,
    /// The generation that the address names.
    pub(crate) named: Option<Generation>,
    /// The visitor's queued or running generation; the first of several.
    pub(crate) active: Option<Generation>,
    /// Why the generation that the address names is not shown.
    pub(crate) problem: Option<String>,
    /// What there is to say about files that a plain form has just posted.
    pub(crate) warning: Option<String>,
}

crate::thin::wire::records! {
    StudioData { model, adapters, embeddings, wildcards, queue, history, more, named, active, problem, warning }
}

impl StudioData {
    /// The data of this page: on the server from the context, in the browser from the document.
    pub(crate) fn here() -> Option<Self> {
        #[cfg(feature = "ssr")]
        return leptos::prelude::use_context();
        #[cfg(not(feature = "ssr"))]
        {
            let element = leptos::prelude::document().get_element_by_id(DATA_ID)?;
            crate::thin::wire::Value::parse(&element.text_content()?)?.read()
        }
    }
}

/// Reads the page's data once more. `generation`: the generation that the page follows.
#[cfg(feature = "ssr")]
#[leptos::server(prefix = "/api/fn", endpoint = "studio", input = leptos::server_fn::codec::GetUrl, output = super::json::Json)]
async fn load_studio(generation: Option<String>) -> Result<StudioData, AppError> {
    use super::context;

    data(&context::studio()?, &context::client(), generation, None).await.map_err(context::refuse)
}

/// The page's data. `generation`: a generation's id from the address; `before`: show history older than this.
#[cfg(feature = "ssr")]
pub(crate) async fn data(
    studio: &adire_studio::Studio,
    client: &adire_studio::Client,
    generation: Option<String>,
    before: Option<i64>,
) -> Result<StudioData, adire_studio::StudioError> {
    let (mut named, mut active, mut problem) = (None, None, None);
    if let Some(id) = generation {
        match studio.generation(&id).await {
            Ok(generation) => named = Some(generation),
            Err(error) => problem = Some(error.to_string()),
        }
    }
    if let Some(visitor) = client.visitor_id() {
        active = studio.active(visitor).await?.into_iter().next();
    }
    let (history, more) = super::history::page(studio, client, before).await?;
    Ok(StudioData {
        model: studio.model().clone(),
        adapters: studio.adapters().await?,
        embeddings: studio.embeddings().await?.into_iter().map(|one| one.word).collect(),
        wildcards: studio.wildcards().await?.0.into_keys().collect(),
        queue: studio.queue(),
        history,
        more,
        named,
        active,
        problem,
        warning: None,
    })
}
