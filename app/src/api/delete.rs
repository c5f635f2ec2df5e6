//! Deletes a visitor's images. Server only.

use adire_studio::By;
use leptos::prelude::*;

use super::{AppError, context};

/// Deletes one image of a generation, and with the last one the prompt. An image that is already gone counts as deleted.
#[server(prefix = "/api/fn", endpoint = "delete", output = super::json::Json)]
async fn delete_image(
    #[server(default)] generation: String,
    #[server(default)] index: u32,
) -> Result<(), AppError> {
    let studio = context::studio()?;
    let result = studio.delete_image(&generation, index, By::Client(&context::client())).await;
    if context::is_plain_form() {
        let problem = result.is_err_and(|error| error.kind() != adire_studio::ErrorKind::NotFound);
        context::go_to(if problem { "/?post_error=delete" } else { "/" });
        return Ok(());
    }
    result.map_err(context::refuse)
}

/// Deletes every image of the visitor.
#[server(prefix = "/api/fn", endpoint = "delete_all", output = super::json::Json)]
async fn delete_all() -> Result<(), AppError> {
    let result = context::studio()?.delete_history(&context::client()).await;
    if context::is_plain_form() {
        context::go_to(if result.is_err() { "/?post_error=delete" } else { "/" });
        return Ok(());
    }
    result.map(|_| ()).map_err(context::refuse)
}
