//! A1111's lists: what there is to choose from. No entry has a real path.

use adire_protocol::{Sampling, Schedule};
use axum::{Json, extract::State};
use serde_json::{Map, Value, json};

use crate::{
    compat::models,
    error::{Problem, ProblemKind},
    state::AppState,
};

/// As much of a hash as A1111 shows.
pub(super) fn short(hash: &str) -> &str {
    hash.get(..10).unwrap_or(hash)
}

type Answer = Result<Json<Value>, Problem>;

pub(crate) async fn models(State(state): State<AppState>) -> Answer {
    let listed = models::list(&state.studio).await?.into_iter().map(|model| {
        json!({
            "title": model.title, "model_name": model.title, "hash": short(&model.hash), "sha256": model.hash,
            "filename": format!("{}.safetensors", model.title), "config": null,
        })
    });
    Ok(Json(listed.collect()))
}

pub(crate) async fn samplers() -> Json<Value> {
    let mut names: Vec<&str> = Sampling::ALL.iter().map(|sampling| sampling.sampler.label()).collect();
    names.dedup();
    let samplers = names.into_iter().map(|name| json!({"name": name, "aliases": [], "options": {}}));
    Json(samplers.collect())
}

pub(crate) async fn schedulers() -> Json<Value> {
    let mut listed = vec![scheduler("automatic", "Automatic")];
    listed.extend(Schedule::ALL.map(|schedule| match schedule {
        Schedule::Normal => scheduler("uniform", "Uniform"),
        Schedule::Karras => scheduler("karras", "Karras"),
    }));
    Json(listed.into())
}

fn scheduler(name: &str, label: &str) -> Value {
    json!({"name": name, "label": label, "aliases": [], "default_rho": -1, "need_inner_model": false})
}

pub(crate) async fn upscalers() -> Json<Value> {
    let upscaler = |name: &str, scale: u32| json!({"name": name, "model_name": null, "model_path": null, "model_url": null, "scale": scale});
    Json(json!([upscaler("None", 1), upscaler("Lanczos", 4)]))
}

pub(crate) async fn latent_upscale_modes() -> Json<Value> {
    Json(json!([{"name": "Latent"}]))
}

pub(crate) async fn loras(State(state): State<AppState>) -> Answer {
    let versions = state.studio.adapters().await?.into_iter().map(|version| {
        json!({
            "name": version.id(), "alias": version.name, "path": format!("{}.safetensors", version.id()),
            "metadata": {"ss_output_name": version.name, "sshs_model_hash": version.hash, "trigger": version.trigger},
        })
    });
    Ok(Json(versions.collect()))
}

pub(crate) async fn embeddings(State(state): State<AppState>) -> Answer {
    let loaded = state.studio.embeddings().await?.into_iter().map(|embedding| {
        let facts = json!({
            "step": null, "sd_checkpoint": null, "sd_checkpoint_name": null, "shape": embedding.width,
            "vectors": embedding.vectors,
        });
        (embedding.word, facts)
    });
    Ok(Json(json!({"loaded": loaded.collect::<Map<_, _>>(), "skipped": {}})))
}

pub(crate) async fn scripts() -> Json<Value> {
    Json(json!({"txt2img": [], "img2img": []}))
}

/// For what there is none of.
pub(crate) async fn none() -> Json<Value> {
    Json(json!([]))
}

pub(crate) async fn flags() -> Json<Value> {
    Json(json!({"api": true, "nowebui": false, "listen": false}))
}

/// A1111's form, in which a server without a figure says so by `error`.
pub(crate) async fn memory(State(state): State<AppState>) -> Json<Value> {
    let cuda = json!({"error": format!("{} has no CUDA statistics here", state.studio.model().device)});
    Json(json!({"ram": {"error": "see /metrics"}, "cuda": cuda}))
}

/// What A1111 answers where it has done something.
pub(crate) async fn done() -> Json<Value> {
    Json(Value::Null)
}

/// Upscaling alone is not here.
pub(crate) async fn not_here() -> Problem {
    Problem::new(
        ProblemKind::NotImplemented,
        "Upscaling alone is not supported; use enable_hr of txt2img, or img2img with a larger size.",
    )
}
