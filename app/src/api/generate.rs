//! Asking for pictures.

use adire_protocol::Generation;
use leptos::prelude::*;

use super::AppError;
use crate::form::FormValues;

/// Reads the form and puts it into the queue. A plain form post is sent on to the page of the generation, or back
/// to the form with its values and what is wrong with them.
#[server(prefix = "/api/fn", endpoint = "generate", output = super::json::Json)]
pub(crate) async fn generate(#[server(flatten)] form: FormValues) -> Result<Generation, AppError> {
    use super::context;

    let result = submit(&form).await;
    if !context::is_plain_form() {
        return result.map_err(context::refuse);
    }
    match result {
        Ok(generation) => {
            context::go_to(&generation.links.page);
            Ok(generation)
        }
        Err(error) => {
            context::go_to(&plain::address_of(&form, &error));
            Err(context::told(error))
        }
    }
}

#[cfg(feature = "ssr")]
async fn submit(form: &FormValues) -> Result<Generation, adire_studio::StudioError> {
    use adire_studio::StudioError;

    use super::context;

    let studio = context::studio().map_err(|_| StudioError::ShuttingDown)?;
    let model = studio.model();
    let request = form
        .check(&model.limits, &model.defaults)
        .map_err(|fields| StudioError::Invalid(adire_protocol::ValidationError(fields)))?;
    let visitor = context::visitor();
    studio.submit(request, visitor.as_ref().map(|visitor| visitor.0.as_str())).await
}

/// The way back to the form without any script.
#[cfg(feature = "ssr")]
mod plain {
    use adire_studio::StudioError;

    use crate::form::{self, FormValues};

    /// Longest query that proxies and browsers take without complaint.
    const LONGEST: usize = 6_000;

    /// The form with its values; `tried` makes the page check them and say what is wrong. Text that does not fit
    /// into an address is shortened.
    pub(super) fn address_of(values: &FormValues, error: &StudioError) -> String {
        let mut tried = match error {
            StudioError::Invalid(_) | StudioError::UnknownAdapter { .. } => "form",
            StudioError::QueueFull { .. } | StudioError::TooManyWaiting { .. } => "full",
            _ => "failed",
        };
        let mut values = values.clone();
        let mut query = form::encode(&values);
        while query.len() > LONGEST && !(values.prompt.is_empty() && values.negative_prompt.is_empty()) {
            let longer = if values.prompt.len() >= values.negative_prompt.len() {
                &mut values.prompt
            } else {
                &mut values.negative_prompt
            };
            let half = longer.chars().count() / 2;
            *longer = longer.chars().take(half).collect();
            tried = "long";
            query = form::encode(&values);
        }
        format!("/?tried={tried}&{query}")
    }
}
