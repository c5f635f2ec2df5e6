//! The page of blind votes, for those with its link.

use adire_app::Document;
use adire_protocol::VoteChoice;
use axum::{
    extract::{Request, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use crate::{
    error::{Problem, unknown_address},
    extract::{ClientOf, OriginOf, Posted, Segment, Segments},
    pages, qr,
    state::AppState,
};

/// A vote.
#[derive(Debug, Deserialize)]
pub(crate) struct Vote {
    pair: u32,
    choice: VoteChoice,
}

/// The next pair.
pub(crate) async fn ballot(
    State(state): State<AppState>,
    Segment(token): Segment,
    ClientOf(client): ClientOf,
    request: Request,
) -> Response {
    let document = Document::ballot(&state.studio, &token, &client).await;
    let mut response = pages::show(state, document, request).await;
    // Another pair after each vote, also when one goes back.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Counts a vote, and leads to the next pair. One that does not count any more leads there too.
pub(crate) async fn vote(
    State(state): State<AppState>,
    Segment(token): Segment,
    ClientOf(client): ClientOf,
    Posted(Vote { pair, choice }): Posted<Vote>,
) -> Result<Response, Problem> {
    state.studio.vote(&token, pair, choice, &client).await?;
    Ok(Redirect::to(&format!("/vote/{token}")).into_response())
}

/// An image of a pair. Which one it is depends on the voter, so nothing keeps it.
pub(crate) async fn image(
    State(state): State<AppState>,
    Segments([token, pair, side]): Segments<3>,
    ClientOf(client): ClientOf,
) -> Result<Response, Problem> {
    let side = match side.as_str() {
        "left" => VoteChoice::Left,
        "right" => VoteChoice::Right,
        _ => return Err(unknown_address("this side of a pair")),
    };
    let pair = pair.parse().map_err(|_| unknown_address("this pair"))?;
    let file = state.studio.ballot_image(&token, pair, side, &client).await?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("image/png")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, file).into_response())
}

/// The QR code of the link.
pub(crate) async fn code(
    State(state): State<AppState>,
    Segment(token): Segment,
    OriginOf(origin): OriginOf,
    ClientOf(client): ClientOf,
) -> Result<Response, Problem> {
    state.studio.ballot(&token, &client).await?;
    qr::answer(&format!("{origin}/vote/{token}"))
}
