//! Asking for images. Server only.

use adire_protocol::{Generation, ValidationError};
use adire_studio::{Client, ErrorKind, Studio, StudioError};
use leptos::prelude::*;

use super::{AppError, context};
use crate::form::{self, FormValues};

/// Longest query that proxies and browsers take without complaint.
const MAX_QUERY_BYTES: usize = 6_000;

/// Reads the form and puts it into the queue.
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

/// What a plain form sends: its fields, and the files that were chosen.
#[derive(Debug, Default)]
pub struct FormPost {
    values: FormValues,
    upload_error: Option<&'static str>,
}

/// Why an image that came with a plain form was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadError {
    /// Its file is too large.
    Large,
    /// It is no image that can be read.
    Unreadable,
    /// Too many are being read, or this visitor has uploaded enough for today.
    Busy,
}

impl FormPost {
    /// Takes a field in; names that the form does not have are ignored.
    pub fn field(&mut self, name: &str, text: String) {
        form::set_posted(&mut self.values, name, text);
    }

    /// Takes the name of an uploaded image in, for the file field `name`; or why there is none.
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

/// Makes what a plain form asks for; the address to go on to: the page of the generation, or the form with its values
/// and what is wrong with them.
pub async fn submit_form_post(studio: &Studio, client: &Client, form: FormPost) -> String {
    let post_error = match form.upload_error {
        Some(why) => why,
        None => match submit(studio, client, &form.values).await {
            // A seed that someone typed stays in the form.
            Ok(generation) if form.values.seed.trim().is_empty() => return generation.links.page,
            Ok(generation) => {
                let typed = FormValues { seed: form.values.seed.clone(), ..FormValues::default() };
                return format!("{}&{}", generation.links.page, form::encode(&typed));
            }
            Err(StudioError::Invalid(errors)) => {
                let is = |name: &str| errors.0.iter().any(|error| error.field == name);
                let model = studio.model();
                match form.values.check(&model.limits, &model.defaults) {
                    // What only the studio can know the page cannot find again.
                    Ok(_) if is("init_image") => "gone-init-image",
                    Ok(_) if is("mask") => "gone-mask",
                    _ => "form",
                }
            }
            Err(StudioError::UnknownAdapter { .. }) => "form",
            Err(StudioError::QueueFull { .. }) => "full",
            Err(error) if error.kind() == ErrorKind::TooMany => "waiting",
            Err(StudioError::LowSpace | StudioError::DiskFull) => "disk",
            Err(_) => "failed",
        },
    };
    address_of(&form.values, post_error)
}

/// The form with its values; `post_error` makes the page check them and say what is wrong. Text that does not fit into an
/// address is shortened.
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
