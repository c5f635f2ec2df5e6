//! Submits a generation. Server only.

use adire_protocol::{Generation, ValidationError};
use adire_studio::{Client, ErrorKind, Studio, StudioError};
use leptos::prelude::*;

use super::{AppError, context};
use crate::form::{self, FormValues};

/// Longest query that proxies and browsers accept, in bytes.
const MAX_QUERY_BYTES: usize = 6_000;

/// Reads the form and enqueues it.
#[server(prefix = "/api/fn", endpoint = "generate", output = super::json::Json)]
async fn generate(#[server(flatten)] form: FormValues) -> Result<Generation, AppError> {
    submit(&context::studio()?, &context::client(), &form).await.map_err(context::refuse)
}

async fn submit(studio: &Studio, client: &Client, form: &FormValues) -> Result<Generation, StudioError> {
    let model = studio.model();
    let request = form
        .check(&model.limits, &model.defaults)
        .map_err(|fields| StudioError::Invalid(ValidationError(fields)))?;
    studio.submit(request, client).await
}

/// A plain form post: its fields and its uploads.
#[derive(Debug, Default)]
pub struct FormPost {
    values: FormValues,
    upload_error: Option<&'static str>,
}

/// Why an image of a plain form post was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadError {
    /// Its file is too large.
    Large,
    /// It is not a readable image.
    Unreadable,
    /// Too many uploads at once, or the visitor's daily limit is reached.
    Busy,
}

impl FormPost {
    /// Adds a field; unknown names are ignored.
    pub fn field(&mut self, name: &str, text: String) {
        form::set_posted(&mut self.values, name, text);
    }

    /// Adds the hash of an uploaded image for the file field `name`, or why it was refused.
    pub fn image(&mut self, name: &str, uploaded: Result<String, UploadError>) {
        let is_mask = name == form::MASK_FILE;
        match uploaded {
            Ok(hash) => form::set_posted(&mut self.values, if is_mask { "mask" } else { "init_image" }, hash),
            Err(why) => {
                self.upload_error.get_or_insert(match (why, is_mask) {
                    (UploadError::Large, false) => "large-init-image",
                    (UploadError::Large, true) => "large-mask",
                    (UploadError::Unreadable, false) => "no-init-image",
                    (UploadError::Unreadable, true) => "no-mask",
                    (UploadError::Busy, false) => "busy-init-image",
                    (UploadError::Busy, true) => "busy-mask",
                });
            }
        }
    }
}

/// Submits a plain form; returns the address to redirect to: the page of the generation, or the form with its values and
/// errors.
pub async fn submit_form_post(studio: &Studio, client: &Client, form: FormPost) -> String {
    let post_error = match form.upload_error {
        Some(why) => why,
        None => match submit(studio, client, &form.values).await {
            // A typed seed stays in the form.
            Ok(generation) if form.values.seed.trim().is_empty() => return generation.links.page,
            Ok(generation) => {
                let typed = FormValues { seed: form.values.seed.clone(), ..FormValues::default() };
                return format!("{}&{}", generation.links.page, form::encode(&typed));
            }
            Err(StudioError::Invalid(errors)) => {
                let is = |name: &str| errors.0.iter().any(|error| error.field == name);
                let model = studio.model();
                match form.values.check(&model.limits, &model.defaults) {
                    // The page cannot detect these errors itself.
                    Ok(_) if is("init_image") => "gone-init-image",
                    Ok(_) if is("mask") => "gone-mask",
                    _ => "form",
                }
            }
            Err(StudioError::UnknownAdapter { .. }) => "form",
            Err(StudioError::QueueFull { .. }) => "full",
            Err(StudioError::IntakePaused) => "paused",
            Err(error) if error.kind() == ErrorKind::TooMany => "waiting",
            Err(StudioError::LowSpace | StudioError::DiskFull) => "disk",
            Err(_) => "failed",
        },
    };
    address_of(&form.values, post_error)
}

/// The form with its values; `post_error` makes the page validate them. Text that does not fit into an address is cut.
fn address_of(values: &FormValues, mut post_error: &'static str) -> String {
    let mut values = values.clone();
    let mut query = form::encode(&values);
    while query.len() > MAX_QUERY_BYTES && !(values.prompt.is_empty() && values.negative_prompt.is_empty()) {
        let longer = if values.prompt.len() >= values.negative_prompt.len() {
            &mut values.prompt
        } else {
            &mut values.negative_prompt
        };
        let half = longer.chars().count() / 2;
        *longer = longer.chars().take(half).collect();
        post_error = "long";
        query = form::encode(&values);
    }
    format!("/?post_error={post_error}&{query}")
}
