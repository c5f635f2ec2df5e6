//! AUTOMATIC1111's API, `/sdapi/v1`. Options, progress and interruptions are the caller's own, where A1111 has one of each
//! for everyone.

mod answer;
mod inpaint;
pub(crate) mod lists;
mod request;

use std::collections::HashMap;

use adire_protocol::{Generation, GenerationState};
use adire_studio::{By, read_texts};
use axum::{
    Json,
    extract::{Query, State},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::request::{Request, Translated, set_options};
use super::{
    bodies::{AnyJson, Held},
    callers::InWork,
    images,
    models::{self, BASE},
    run,
};
use crate::{error::Problem, state::AppState, submission::Program};

type Answer = Result<Json<Value>, Problem>;

pub(crate) async fn txt2img(
    State(state): State<AppState>,
    program: Program,
    AnyJson(request, held): AnyJson<Request>,
) -> Answer {
    generate(state, program, request, held).await
}

pub(crate) async fn img2img(
    State(state): State<AppState>,
    program: Program,
    AnyJson(request, held): AnyJson<Request>,
) -> Answer {
    if !request.has_init_image() {
        return Err(Problem::field("init_image", "init_images must have an image, as base64."));
    }
    generate(state, program, request, held).await
}

async fn generate(state: AppState, program: Program, request: Request, held: Held) -> Answer {
    let send = request.send_images.unwrap_or(true);
    let options = state.callers.options(program.key());
    let model = state.studio.model();
    let translated = request.translate(options, &model.defaults, model.limits.size_step)?;
    let Translated { mut ask, unread, mut notes } = translated;
    let mut finish = None;
    if let Some(unread) = unread {
        let files = state.studio.in_turn(&program.0.client, move || unread.decode()).await?;
        (ask.init_image, ask.mask, finish) = (Some(files.init_image), files.mask, files.finish);
        // The edge is blended here.
        ask.request.keep_unmasked = finish.is_some().then_some(false);
        notes.extend(files.warnings);
    }
    let title = ask.model.clone();
    // In a task of its own: clients hang up and interrupt afterwards.
    let here = state.clone();
    let running = tokio::spawn(async move {
        let (generation, warnings) = run::begin_with_warnings(&here, &program.0, ask).await?;
        drop(held);
        let active = here.callers.begin(program.key(), &generation.id);
        let generation = run::finish_showing(&here, generation, |preview| active.show(preview)).await?;
        Ok::<_, Problem>((generation, warnings))
    });
    let (mut generation, warnings) = running.await.map_err(Problem::internal)??;
    notes.extend(warnings);
    let mut files = Vec::new();
    if send {
        for image in &mut generation.images {
            let mut file = images::file_of(&state.studio, image).await?;
            if let Some(finish) = finish.clone() {
                let text = image.infotext.clone();
                let finished = tokio::task::spawn_blocking(move || finish.apply(&file, &text)).await;
                let (whole, text) = finished.map_err(Problem::internal)?.map_err(Problem::internal)?;
                (file, image.infotext) = (whole.into(), text);
            }
            files.push(images::encode(&file));
        }
    }
    let info = answer::info(&generation, title.as_deref(), &state.studio.model().hash, &notes);
    Ok(Json(json!({"images": files, "parameters": answer::parameters(&generation), "info": info})))
}

/// A caller's generations that wait or run, the one that runs first.
async fn active(state: &AppState, program: &Program) -> Result<Vec<Generation>, Problem> {
    let mut found = Vec::new();
    for InWork { id, preview } in state.callers.active(program.key()) {
        let mut generation = state.studio.generation(&id).await?;
        if let Some(progress) = &mut generation.progress {
            progress.preview = preview;
        }
        if !generation.state.is_final() {
            found.push(generation);
        }
    }
    found.sort_by_key(|generation| generation.state != GenerationState::Running);
    Ok(found)
}

pub(crate) async fn progress(
    State(state): State<AppState>,
    program: Program,
    Query(query): Query<HashMap<String, String>>,
) -> Answer {
    let skips = query.get("skip_current_image").is_some_and(|skip| skip.eq_ignore_ascii_case("true"));
    Ok(Json(answer::progress(&active(&state, &program).await?, !skips)))
}

/// Stops the caller's generation that runs, or else the one that has waited longest.
pub(crate) async fn interrupt(State(state): State<AppState>, program: Program) -> Answer {
    if let Some(first) = active(&state, &program).await?.first() {
        state.studio.cancel(&first.id, By::Client(&program.0.client)).await?;
    }
    Ok(Json(json!({})))
}

pub(crate) async fn options(State(state): State<AppState>, program: Program) -> Json<Value> {
    let options = state.callers.options(program.key());
    Json(json!({
        "sd_model_checkpoint": options.model.as_deref().unwrap_or(BASE),
        "sd_checkpoint_hash": state.studio.model().hash,
        "sd_vae": "Automatic",
        "CLIP_stop_at_last_layers": options.clip_skip.unwrap_or(1),
        "randn_source": options.noise.as_deref().unwrap_or("CPU"),
        "samples_format": "png",
        "enable_pnginfo": true,
        "eta_noise_seed_delta": 0,
    }))
}

/// Sets the caller's options. Clients send back all that they were given, so others are ignored.
pub(crate) async fn set(
    State(state): State<AppState>,
    program: Program,
    AnyJson(settings, _held): AnyJson<Map<String, Value>>,
) -> Answer {
    if let Some(title) = settings.get("sd_model_checkpoint").and_then(Value::as_str) {
        models::adapters(&state.studio, title).await?;
    }
    state.callers.set_options(program.key(), |options| set_options(&settings, options));
    Ok(Json(Value::Null))
}

/// The body of `png-info`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PngInfo {
    image: String,
}

/// The infotext of an image.
pub(crate) async fn png_info(AnyJson(request, _held): AnyJson<PngInfo>) -> Answer {
    let file = images::decode("image", &request.image)?;
    let entries =
        tokio::task::spawn_blocking(move || read_texts(&file)).await.map_err(Problem::internal)??;
    let text = entries.iter().find(|entry| entry.key == "parameters").map(|entry| entry.text.clone());
    let text = text.unwrap_or_default();
    let items: Map<String, Value> = entries.into_iter().map(|entry| (entry.key, entry.text.into())).collect();
    Ok(Json(json!({"info": text, "items": items, "parameters": answer::parsed(&text)})))
}
