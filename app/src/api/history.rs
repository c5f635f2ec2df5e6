//! A visitor's older images. Server only.

use adire_protocol::ImageRecord;
use leptos::prelude::*;

use super::{AppError, context};

/// Images per page: two screens of the strip.
const PAGE: u32 = 24;

/// The images before `before` (an image's `created_at`), newest first, and whether more follow.
#[server(prefix = "/api/fn", endpoint = "history", input = leptos::server_fn::codec::GetUrl, output = super::json::Json)]
async fn load_history(before: i64) -> Result<(Vec<ImageRecord>, bool), AppError> {
    let studio = context::studio()?;
    page(&studio, &context::client(), Some(before)).await.map_err(context::refuse)
}

/// One page; one image more than shown is loaded, to know whether there are more.
pub(super) async fn page(
    studio: &adire_studio::Studio,
    client: &adire_studio::Client,
    before: Option<i64>,
) -> Result<(Vec<ImageRecord>, bool), adire_studio::StudioError> {
    let Some(visitor) = client.visitor_id() else { return Ok((Vec::new(), false)) };
    let mut images = studio.history(visitor, PAGE + 1, before).await?;
    let more = images.len() > PAGE as usize;
    images.truncate(PAGE as usize);
    Ok((images, more))
}
