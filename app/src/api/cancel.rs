//! Cancels a generation. Server only.

use adire_studio::By;
use leptos::prelude::*;

use super::{AppError, context};

/// Cancels a generation; finished images are kept. Its event stream reports when it has stopped.
#[server(prefix = "/api/fn", endpoint = "cancel", output = super::json::Json)]
async fn cancel(#[server(default)] id: String) -> Result<(), AppError> {
    let studio = context::studio()?;
    let result = studio.cancel(&id, By::Client(&context::client())).await;
    if context::is_plain_form() {
        // The page shows the generation's state, or the empty studio.
        let known = result.as_ref().ok().map(|generation| generation.links.page.clone());
        context::go_to(known.as_deref().unwrap_or("/"));
        return Ok(());
    }
    result.map(|_| ()).map_err(context::refuse)
}
