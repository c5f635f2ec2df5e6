//! Hugging Face's inference, `/hf/models/{id}`: text-to-image and image-to-image, answered with the file itself.

use adire_protocol::{GenerationRequest, Sampler, SamplerName};
use axum::{
    extract::{Request as HttpRequest, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::Value;

use super::{
    images::{self, Format},
    lenient,
    run::{self, Ask},
};
use crate::{
    error::Problem,
    extract::{Segment, media_type, parse},
    state::AppState,
    submission::Program,
};

/// The body; a raw image instead is one to start from.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Request {
    inputs: String,
    parameters: Parameters,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Parameters {
    /// With an image.
    prompt: Option<String>,
    negative_prompt: Option<Value>,
    #[serde(deserialize_with = "lenient::whole")]
    width: Option<u32>,
    #[serde(deserialize_with = "lenient::whole")]
    height: Option<u32>,
    target_size: Option<Size>,
    #[serde(deserialize_with = "lenient::whole")]
    num_inference_steps: Option<u32>,
    #[serde(deserialize_with = "lenient::number")]
    guidance_scale: Option<f64>,
    scheduler: Option<String>,
    #[serde(deserialize_with = "lenient::seed")]
    seed: Option<u64>,
    /// Of ours.
    #[serde(deserialize_with = "lenient::seed")]
    subseed: Option<u64>,
    /// Of ours.
    #[serde(deserialize_with = "lenient::number")]
    subseed_strength: Option<f64>,
    #[serde(deserialize_with = "lenient::number")]
    strength: Option<f64>,
    #[serde(deserialize_with = "lenient::whole")]
    clip_skip: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Size {
    width: u32,
    height: u32,
}

/// Makes one image of a model.
pub(crate) async fn infer(
    State(state): State<AppState>,
    program: Program,
    Segment(model): Segment,
    headers: HeaderMap,
    request: HttpRequest,
) -> Result<Response, Problem> {
    let kind = media_type(&headers);
    let (body, held) = state.bodies.read(request).await?;
    let ask = if kind.starts_with("image/") {
        Ask { init_image: Some(body.to_vec()), ..Ask::default() }
    } else {
        parse::<Request>(&body)?.translate()?
    };
    drop(body);
    let generation = run::begin(&state, &program.0, Ask { model: Some(model), ..ask }).await?;
    drop(held);
    let generation = run::finish(&state, generation).await?;
    let Some(image) = generation.images.first() else { return Err(run::cancelled()) };
    let format = format_of(&headers);
    let file = images::file_as(&state.studio, image, format).await?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(format.media_type())),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, file).into_response())
}

/// The first format in `Accept` that there is; PNG otherwise.
fn format_of(headers: &HeaderMap) -> Format {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let named = accept.split(',').find_map(|part| match part.split(';').next().unwrap_or_default().trim() {
        "image/png" => Some(Format::Png),
        "image/jpeg" => Some(Format::Jpeg(90)),
        "image/webp" => Some(Format::WebP),
        _ => None,
    });
    named.unwrap_or_default()
}

impl Request {
    fn translate(self) -> Result<Ask, Problem> {
        let Self { inputs, parameters } = self;
        // A prompt of its own says that the inputs are an image.
        let (prompt, init_image) = match parameters.prompt {
            Some(prompt) => (prompt, Some(images::decode("init_image", &inputs)?)),
            None if is_image(&inputs) => (String::new(), Some(images::decode("init_image", &inputs)?)),
            None => (inputs, None),
        };
        let negative_prompt = match parameters.negative_prompt {
            Some(Value::String(text)) => text,
            // A list, in older versions.
            Some(Value::Array(texts)) => {
                texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
            }
            _ => String::new(),
        };
        let size = parameters.target_size.map(|size| (size.width, size.height)).unzip();
        let request = GenerationRequest {
            prompt,
            negative_prompt,
            seed: parameters.seed,
            subseed: parameters.subseed,
            subseed_strength: parameters.subseed_strength,
            steps: parameters.num_inference_steps,
            guidance: parameters.guidance_scale,
            sampler: parameters.scheduler.as_deref().map(sampler).transpose()?,
            width: parameters.width.or(size.0),
            height: parameters.height.or(size.1),
            count: Some(1),
            clip_skip: parameters.clip_skip,
            denoising_strength: parameters.strength.filter(|_| init_image.is_some()),
            ..GenerationRequest::default()
        };
        Ok(Ask { request, init_image, ..Ask::default() })
    }
}

/// Whether a text is an image as base64; those of PNG, JPEG and WebP begin so.
fn is_image(text: &str) -> bool {
    text.len() > 100
        && ["iVBORw0KGgo", "/9j/", "UklGR", "data:image/"].iter().any(|start| text.starts_with(start))
}

/// The sampler of a name of ours or of a class of diffusers'.
fn sampler(name: &str) -> Result<SamplerName, Problem> {
    let of_class = match name {
        "DDIMScheduler" => Sampler::Ddim,
        "EulerDiscreteScheduler" => Sampler::Euler,
        "EulerAncestralDiscreteScheduler" => Sampler::EulerA,
        "HeunDiscreteScheduler" => Sampler::Heun,
        "PNDMScheduler" => Sampler::Pndm,
        "DPMSolverMultistepScheduler" => Sampler::Dpmpp2m,
        "DPMSolverSDEScheduler" => Sampler::DpmppSde,
        "UniPCMultistepScheduler" => Sampler::UniPc,
        "LCMScheduler" => Sampler::Lcm,
        other => return other.parse().map_err(|error| Problem::field("sampler", format!("{error}."))),
    };
    Ok(of_class.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ask(body: Value) -> Result<Ask, Problem> {
        serde_json::from_value::<Request>(body).unwrap().translate()
    }

    #[test]
    fn inputs_are_a_prompt_or_an_image() {
        let text = ask(json!({"inputs": "moons", "parameters": {"num_inference_steps": 3, "strength": 0.5}}))
            .unwrap();
        assert_eq!((text.request.prompt.as_str(), text.request.steps), ("moons", Some(3)));
        assert_eq!((text.init_image, text.request.denoising_strength), (None, None));
        let image =
            ask(json!({"inputs": "AAEC", "parameters": {"prompt": "moons", "strength": 0.5}})).unwrap();
        assert_eq!(
            (image.init_image.as_deref(), image.request.denoising_strength),
            (Some(&[0, 1, 2][..]), Some(0.5))
        );
    }

    #[test]
    fn schedulers_go_by_diffusers_names_and_ours() {
        for (name, expected) in [
            ("DPMSolverMultistepScheduler", "dpmpp_2m"),
            ("euler_a", "euler_a"),
            ("DPM++ 2M Karras", "dpmpp_2m_karras"),
        ] {
            assert_eq!(sampler(name).unwrap().name(), expected);
        }
        assert_eq!(sampler("KarrasVeScheduler").unwrap_err().errors[0].field, "sampler");
    }
}
