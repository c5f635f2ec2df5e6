//! The page of the queue, and what its forms post.

use adire_app::admin::{AdminPage, FormInput};
use adire_protocol::{Intake, JobMove, QueueOwner};
use adire_studio::StudioError;
use axum::{
    extract::{Query, State},
    http::request::Parts,
    response::Response,
};
use serde::Deserialize;

use super::{Posted, answer, refuse, to};
use crate::{error::Problem, state::AppState};

/// How many were cancelled.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Done {
    done: Option<u32>,
}

pub(crate) async fn show(State(state): State<AppState>, Query(query): Query<Done>, parts: Parts) -> Response {
    let flash = query.done.map(|count| match count {
        0 => "Nothing to cancel.".to_owned(),
        1 => "Cancelled 1 job.".to_owned(),
        more => format!("Cancelled {more} jobs."),
    });
    let page = AdminPage::queue(&state.studio, flash).await;
    answer(state, page, parts, None).await
}

pub(crate) async fn change(
    State(state): State<AppState>,
    parts: Parts,
    Posted(form): Posted,
) -> Result<Response, Problem> {
    match act(&state, &form).await? {
        Ok(Some(count)) => Ok(to(format!("/admin/queue?done={count}"))),
        Ok(None) => Ok(to("/admin/queue")),
        Err(error) => {
            let page = AdminPage::queue(&state.studio, Some(error.to_string())).await;
            Ok(refuse(state, page, parts, error.kind()).await)
        }
    }
}

/// Does what a button stands for; how many jobs it cancelled.
async fn act(state: &AppState, form: &FormInput) -> Result<Result<Option<u32>, StudioError>, Problem> {
    let (studio, id) = (&state.studio, form.get("id"));
    let shift = async |to| studio.move_job(id, to).await.map(|()| None);
    let intake = async |paused| studio.set_intake(Intake { paused }).await.map(|_| None);
    Ok(match form.get("action") {
        "cancel" => studio.cancel_job(id).await.map(|()| Some(1)),
        "cancel-network" => {
            let network = Some(form.get("network").to_owned()).filter(|network| !network.is_empty());
            studio.cancel_all(QueueOwner { network, visitor: None }).await.map(Some)
        }
        "front" => shift(JobMove::Front).await,
        "earlier" => shift(JobMove::Earlier).await,
        "later" => shift(JobMove::Later).await,
        "pause" => intake(true).await,
        "resume" => intake(false).await,
        _ => {
            let sentence =
                "The action must be cancel, cancel-network, front, earlier, later, pause or resume.";
            return Err(Problem::field("action", sentence));
        }
    })
}
