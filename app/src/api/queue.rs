//! State of the queue, for the forecast on the button. Server only.

use adire_protocol::QueueStatus;
use leptos::prelude::*;

use super::AppError;

/// Asked every few seconds while the page is visible.
#[server(prefix = "/api/fn", endpoint = "queue", input = leptos::server_fn::codec::GetUrl, output = super::json::Json)]
async fn load_queue() -> Result<QueueStatus, AppError> {
    Ok(super::context::studio()?.queue())
}
