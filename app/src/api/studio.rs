//! The initial data of the studio page, in one call.

use adire_protocol::{AdapterVersion, Generation, ImageRecord, ModelInfo, QueueStatus, Rating};

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
    /// Rating of the image that the page begins with; `None`: there is none, or it is another visitor's.
    pub(crate) rating: Option<Rating>,
    /// Why the generation that the address names is not shown.
    pub(crate) problem: Option<String>,
    /// What there is to say about files that a plain form has just posted.
    pub(crate) warning: Option<String>,
}

crate::thin::wire::records! {
    StudioData { model, adapters, embeddings, wildcards, queue, history, more, named, active, rating, problem, warning }
}

impl StudioData {
    /// The image that the page begins with: the one at `index` of the generation that the address names, else the newest.
    pub(crate) fn first_image(&self, index: u32) -> Option<&ImageRecord> {
        match (&self.named, &self.active) {
            (Some(named), _) if named.state.is_final() => {
                named.images.iter().find(|image| image.index == index).or(named.images.first())
            }
            (None, None) => self.history.first(),
            _ => None,
        }
    }

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

    data(&context::studio()?, &context::client(), (generation, 0), None).await.map_err(context::refuse)
}

/// The page's data. `generation`: a generation's id from the address, and the index of an image of it; `before`: show
/// history older than this.
#[cfg(feature = "ssr")]
pub(crate) async fn data(
    studio: &adire_studio::Studio,
    client: &adire_studio::Client,
    (generation, index): (Option<String>, u32),
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
    let mut data = StudioData {
        model: studio.model().clone(),
        adapters: studio.adapters().await?,
        embeddings: studio.embeddings().await?.into_iter().map(|one| one.word).collect(),
        wildcards: studio.wildcards().await?.0.into_keys().collect(),
        queue: studio.queue(),
        history,
        more,
        named,
        active,
        rating: None,
        problem,
        warning: None,
    };
    if let Some(ImageRecord { generation, index, .. }) = data.first_image(index) {
        let of = adire_protocol::ImageRef { generation: generation.clone(), index: *index };
        // Another visitor's has none here.
        data.rating =
            studio.history_image(&of, adire_studio::By::Client(client)).await.ok().map(|of| of.rating);
    }
    Ok(data)
}
