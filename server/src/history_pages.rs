//! The pages of a visitor's images, and what their forms post.

use adire_app::Document;
use adire_protocol::{HistoryImage, HistoryQuery, ImageRef, Rating, ShareRequest, Thumb};
use adire_studio::{By, Client, Studio, StudioError};
use axum::{
    extract::{Request, State},
    response::{IntoResponse, Redirect, Response},
};
use url::form_urlencoded;

use crate::{
    api::history::{image_of, zip_file},
    error::{Problem, ProblemKind},
    extract::{ClientOf, OriginOf, Posted, Segments},
    flash, pages,
    state::AppState,
};

/// The page of all images, searched.
pub(crate) async fn list(
    State(state): State<AppState>,
    ClientOf(client): ClientOf,
    request: Request,
) -> Response {
    let query = read_query(request.uri().query().unwrap_or_default());
    let flash = flash::read(request.headers());
    let document = Document::history(&state.studio, &client, query, flash).await;
    pages::show_once(state, document, request).await
}

/// The page of one image.
pub(crate) async fn card(
    State(state): State<AppState>,
    ClientOf(client): ClientOf,
    Segments(segments): Segments<2>,
    OriginOf(origin): OriginOf,
    request: Request,
) -> Response {
    let Ok(of) = image_of(segments) else { return pages::show(state, Document::not_found(), request).await };
    let flash = flash::read(request.headers());
    let document = Document::image(&state.studio, &client, &of, origin, flash).await;
    pages::show_once(state, document, request).await
}

/// Unknown keys are ignored, as on every page; numbers that cannot be read are none.
fn read_query(text: &str) -> HistoryQuery {
    let mut query = HistoryQuery::default();
    for (key, value) in form_urlencoded::parse(text.as_bytes()) {
        let value = value.into_owned();
        match key.as_ref() {
            "q" => query.q = value,
            "adapter" => query.adapter = value,
            "seed" => query.seed = value,
            "from" => query.from = value,
            "to" => query.to = value,
            "starred" => query.starred = value == "true",
            "before" => query.before = value.parse().ok(),
            _ => {}
        }
    }
    query
}

/// The images that a form has selected.
fn images(form: &Posted) -> Result<Vec<ImageRef>, Problem> {
    let named = form.0.iter().filter(|(key, _)| key == "image");
    named.map(|(_, value)| read_image(value)).collect()
}

fn read_image(text: &str) -> Result<ImageRef, Problem> {
    ImageRef::read(text).ok_or_else(|| {
        let shown: String = text.chars().take(60).collect();
        Problem::field(
            "image",
            format!("“{shown}” is not an image; expected the id of a generation, / and an index."),
        )
    })
}

/// The forms of the list: star, delete.
pub(crate) async fn change(
    State(state): State<AppState>,
    ClientOf(client): ClientOf,
    parts: axum::http::request::Parts,
    form: Posted,
) -> Result<Response, Problem> {
    let back = back(&form);
    let studio = &state.studio;
    // The star of one image is a button of its own, whatever is selected.
    for (name, starred) in [("star", true), ("unstar", false)] {
        if let Some(image) = form.get(name) {
            star(studio, &client, &read_image(image)?, starred).await?;
            return Ok(Redirect::to(&back).into_response());
        }
    }
    let images = images(&form)?;
    if let Err(error) = studio.check_selection(&images) {
        return Ok(answer_with(&back, &error.to_string()));
    }
    match form.get("action") {
        Some("star") => {
            for image in &images {
                star(studio, &client, image, true).await?;
            }
            Ok(answer_with(&back, &format!("{} starred.", counted(images.len()))))
        }
        Some("delete") => {
            let mut found = Vec::new();
            for image in &images {
                found.push(studio.history_image(image, By::Client(&client)).await?);
            }
            let query = back.split_once('?').map_or("", |(_, query)| query).to_owned();
            let document = Document::delete(found, query);
            Ok(pages::show(state, document, Request::from_parts(parts, axum::body::Body::empty())).await)
        }
        Some("delete-now") => {
            let deleted = delete(studio, &client, &images).await;
            Ok(answer_with(&back, &deleted))
        }
        _ => Err(Problem::field("action", "The action must be star, delete or delete-now.")),
    }
}

/// The page of the history that a form came from.
fn back(form: &Posted) -> String {
    let query = form.get("back").unwrap_or_default();
    let fits = query.len() <= 2000 && query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if fits && !query.is_empty() { format!("/history?{query}") } else { "/history".to_owned() }
}

fn counted(count: usize) -> String {
    if count == 1 { "1 image".to_owned() } else { format!("{count} images") }
}

/// Leads to a page that shows a sentence once.
fn answer_with(address: &str, sentence: &str) -> Response {
    let mut response = Redirect::to(address).into_response();
    flash::set(&mut response, &[sentence.to_owned()]);
    response
}

async fn star(studio: &Studio, client: &Client, of: &ImageRef, starred: bool) -> Result<(), StudioError> {
    let HistoryImage { rating, .. } = studio.history_image(of, By::Client(client)).await?;
    studio.rate(of, Rating { starred, ..rating }, By::Client(client)).await.map(drop)
}

/// Deletes images, and says what became of them.
async fn delete(studio: &Studio, client: &Client, images: &[ImageRef]) -> String {
    let mut deleted = 0;
    for image in images {
        match studio.delete_image(&image.generation, image.index, By::Client(client)).await {
            Ok(()) => deleted += 1,
            // Deleted in another tab meanwhile.
            Err(error) if ProblemKind::from(error.kind()) == ProblemKind::NotFound => {}
            Err(error) => return format!("{} deleted. {error}", counted(deleted)),
        }
    }
    format!("{} deleted.", counted(deleted))
}

/// The selected images as a zip file.
pub(crate) async fn zip(
    State(state): State<AppState>,
    ClientOf(client): ClientOf,
    form: Posted,
) -> Result<Response, Problem> {
    let images = images(&form)?;
    match state.studio.zip_images(images, By::Client(&client)).await {
        Ok(content) => Ok(zip_file(content)),
        Err(error @ StudioError::Invalid(_)) => Ok(answer_with(&back(&form), &error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// The forms of the page of one image: rating, report, share.
pub(crate) async fn change_one(
    State(state): State<AppState>,
    ClientOf(client): ClientOf,
    Segments(segments): Segments<2>,
    form: Posted,
) -> Result<Response, Problem> {
    let of = image_of(segments)?;
    let address = format!("/history/{}/{}", of.generation, of.index);
    let studio = &state.studio;
    match form.get("action") {
        Some("rate") => {
            let HistoryImage { mut rating, .. } = studio.history_image(&of, By::Client(&client)).await?;
            if let Some(star) = form.get("star") {
                rating.starred = star == "on";
            }
            if let Some(thumb) = form.get("thumb") {
                rating.thumb = match thumb {
                    "up" => Some(Thumb::Up),
                    "down" => Some(Thumb::Down),
                    _ => None,
                };
            }
            studio.rate(&of, rating, By::Client(&client)).await?;
            let studio_page = || format!("/?generation={}&image={}", of.generation, of.index);
            let back = form.get("back").filter(|back| *back == "studio").map(|_| studio_page());
            Ok(Redirect::to(&back.unwrap_or(address)).into_response())
        }
        Some("flag") => match studio.flag(&of, form.get("reason").unwrap_or_default(), &client).await {
            Ok(()) => Ok(answer_with(&address, "Reported to the admin.")),
            Err(error @ (StudioError::Invalid(_) | StudioError::UploadQuota { .. })) => {
                Ok(answer_with(&address, &error.to_string()))
            }
            Err(error) => Err(error.into()),
        },
        Some("share") => {
            let request = ShareRequest { recipe: form.get("recipe").is_some() };
            studio.share(&of, request, By::Client(&client)).await?;
            let said_so = match request.recipe {
                true => "The image and its prompt are shared.",
                false => "The image is shared without its prompt.",
            };
            Ok(answer_with(&address, said_so))
        }
        Some("unshare") => {
            studio.unshare(&of, By::Client(&client)).await?;
            Ok(answer_with(&address, "No longer shared. The link leads nowhere."))
        }
        _ => Err(Problem::field("action", "The action must be rate, flag, share or unshare.")),
    }
}
