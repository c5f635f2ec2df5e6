//! A1111's requests, and what they mean here. Clients send dozens of fields; those without a meaning here are ignored, as
//! A1111 ignores unknown ones, and what would have changed the image is noted in the answer's `info`.

use adire_protocol::{GenerationRequest, HiresRequest, HiresUpscaler, Rng, a1111_sampling};
use image::imageops::FilterType;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::inpaint::{self, Finish, Prepared, Wanted};
use crate::{
    compat::{callers::Options, images, lenient, run::Ask},
    error::{Problem, ProblemKind},
};

/// Scripts that clients send although they are switched off.
const MAX_NOTES: usize = 20;

/// The body of `txt2img` and `img2img`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Request {
    prompt: String,
    negative_prompt: String,
    styles: Vec<String>,
    #[serde(deserialize_with = "lenient::seed")]
    seed: Option<u64>,
    #[serde(deserialize_with = "lenient::seed")]
    subseed: Option<u64>,
    #[serde(deserialize_with = "lenient::number")]
    subseed_strength: Option<f64>,
    #[serde(deserialize_with = "lenient::number")]
    seed_resize_from_w: Option<f64>,
    #[serde(deserialize_with = "lenient::number")]
    seed_resize_from_h: Option<f64>,
    #[serde(deserialize_with = "lenient::whole")]
    steps: Option<u32>,
    #[serde(deserialize_with = "lenient::number")]
    cfg_scale: Option<f64>,
    #[serde(deserialize_with = "lenient::whole")]
    width: Option<u32>,
    #[serde(deserialize_with = "lenient::whole")]
    height: Option<u32>,
    #[serde(deserialize_with = "lenient::whole")]
    batch_size: Option<u32>,
    #[serde(deserialize_with = "lenient::whole")]
    n_iter: Option<u32>,
    sampler_name: Option<String>,
    sampler_index: Option<String>,
    scheduler: Option<String>,
    #[serde(deserialize_with = "lenient::whole")]
    clip_skip: Option<u32>,
    #[serde(deserialize_with = "lenient::number")]
    denoising_strength: Option<f64>,
    #[serde(deserialize_with = "lenient::flag")]
    enable_hr: Option<bool>,
    #[serde(deserialize_with = "lenient::number")]
    hr_scale: Option<f64>,
    hr_upscaler: Option<String>,
    #[serde(deserialize_with = "lenient::whole")]
    hr_resize_x: Option<u32>,
    #[serde(deserialize_with = "lenient::whole")]
    hr_resize_y: Option<u32>,
    #[serde(deserialize_with = "lenient::whole")]
    hr_second_pass_steps: Option<u32>,
    init_images: Vec<String>,
    mask: Option<String>,
    #[serde(deserialize_with = "lenient::number")]
    mask_blur: Option<f64>,
    #[serde(deserialize_with = "lenient::number")]
    mask_blur_x: Option<f64>,
    #[serde(deserialize_with = "lenient::number")]
    mask_blur_y: Option<f64>,
    #[serde(deserialize_with = "lenient::whole")]
    inpaint_full_res_padding: Option<u32>,
    #[serde(deserialize_with = "lenient::number")]
    inpainting_fill: Option<f64>,
    #[serde(deserialize_with = "lenient::flag")]
    inpaint_full_res: Option<bool>,
    #[serde(deserialize_with = "lenient::flag")]
    inpainting_mask_invert: Option<bool>,
    #[serde(deserialize_with = "lenient::number")]
    resize_mode: Option<f64>,
    #[serde(deserialize_with = "lenient::flag")]
    restore_faces: Option<bool>,
    #[serde(deserialize_with = "lenient::flag")]
    tiling: Option<bool>,
    #[serde(deserialize_with = "lenient::flag")]
    pub(crate) send_images: Option<bool>,
    script_name: Option<String>,
    alwayson_scripts: Map<String, Value>,
    override_settings: Map<String, Value>,
}

/// What a request means here.
#[derive(Debug)]
pub(crate) struct Translated {
    pub(crate) ask: Ask,
    /// How the images of an inpainting become those that are sent.
    pub(crate) finish: Option<Finish>,
    /// What was left out, one sentence each.
    pub(crate) notes: Vec<String>,
}

/// Options in the words of A1111's settings; what is not there stays as it is.
pub(crate) fn set_options(settings: &Map<String, Value>, options: &mut Options) {
    if let Some(title) = settings.get("sd_model_checkpoint").and_then(Value::as_str) {
        options.model = Some(title.to_owned());
    }
    let skip = settings.get("CLIP_stop_at_last_layers").and_then(Value::as_f64);
    if let Some(skip) = skip.filter(|skip| (1.0..=12.0).contains(skip)) {
        options.clip_skip = Some(skip as u32);
    }
    if let Some(noise) = settings.get("randn_source").and_then(Value::as_str) {
        options.noise = Some(noise.to_owned());
    }
}

impl Request {
    /// Whether it names an image to start from.
    pub(crate) fn has_init_image(&self) -> bool {
        !self.init_images.is_empty()
    }

    /// What it means for a caller with these options.
    pub(crate) async fn translate(mut self, mut options: Options) -> Result<Translated, Problem> {
        if let Some(name) = self.script_name.as_deref().filter(|name| !name.is_empty() && *name != "None") {
            let shown: String = name.chars().take(60).collect();
            return Err(Problem::field(
                "script_name",
                format!("Script “{shown}” not found; scripts are not supported."),
            ));
        }
        set_options(&self.override_settings, &mut options);
        let mut notes = self.notes();
        let Files { init_image, mask, finish } = self.take_files(&mut notes).await?;
        let (sampler, schedule) = self.sampling(&mut notes)?;
        let hires = self.enable_hr.unwrap_or_default().then(|| self.hires());
        let request = GenerationRequest {
            prompt: self.prompt,
            negative_prompt: self.negative_prompt,
            seed: self.seed,
            subseed: self.subseed,
            subseed_strength: self.subseed_strength,
            steps: self.steps,
            guidance: self.cfg_scale,
            sampler,
            schedule,
            rng: options.noise.as_deref().map(noise),
            width: self.width.filter(|width| *width > 0),
            height: self.height.filter(|height| *height > 0),
            count: Some(self.batch_size.unwrap_or(1).max(1).saturating_mul(self.n_iter.unwrap_or(1).max(1))),
            clip_skip: self.clip_skip.filter(|skip| *skip > 0).or(options.clip_skip),
            // Without an init image it is the hires pass's, and sent with 0.7 where there is none.
            denoising_strength: self.denoising_strength.filter(|_| init_image.is_some()),
            hires,
            // The edge is blended here.
            keep_unmasked: finish.is_some().then_some(false),
            ..GenerationRequest::default()
        };
        Ok(Translated { ask: Ask { request, model: options.model, init_image, mask }, finish, notes })
    }

    /// What would have changed the image elsewhere.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for (ignored, sentence) in [
            (!self.styles.is_empty(), "styles were ignored: there are none here."),
            (self.restore_faces == Some(true), "restore_faces was ignored."),
            (self.tiling == Some(true), "tiling was ignored."),
            (
                [self.seed_resize_from_w, self.seed_resize_from_h]
                    .iter()
                    .all(|side| side.is_some_and(|side| side > 0.0)),
                "seed_resize_from_w and seed_resize_from_h were ignored.",
            ),
            (self.init_images.len() > 1, "Only the first of init_images was used."),
            (
                self.mask.is_some()
                    && self.inpainting_fill.is_some_and(|fill| fill > 1.0)
                    && self.denoising_strength.is_none_or(|strength| strength < 1.0),
                "inpainting_fill was taken as 1: the masked area starts from the image itself.",
            ),
        ] {
            if ignored {
                notes.push(sentence.to_owned());
            }
        }
        // What is switched off is sent, too: “ControlNet workaround” of webuiapi.
        let used = self.alwayson_scripts.iter().filter(|(_, script)| is_used(script));
        notes.extend(used.take(MAX_NOTES).map(|(name, _)| {
            let shown: String = name.chars().take(60).collect();
            format!("The script {shown} was ignored: it is not here.")
        }));
        notes
    }

    fn sampling(
        &self,
        notes: &mut Vec<String>,
    ) -> Result<(Option<adire_protocol::SamplerName>, Option<adire_protocol::Schedule>), Problem> {
        let named =
            |name: &Option<String>| name.clone().filter(|name| !name.trim().is_empty() && name != "None");
        let Some(name) = named(&self.sampler_name).or_else(|| named(&self.sampler_index)) else {
            return Ok((None, None));
        };
        let Some((sampling, exact)) = a1111_sampling(&name, self.scheduler.as_deref()) else {
            let shown: String = name.chars().take(60).collect();
            let sentence = format!("Sampler not found: “{shown}”. GET /sdapi/v1/samplers lists them.");
            return Err(Problem::new(ProblemKind::NotFound, sentence));
        };
        if !exact {
            notes.push(format!("The scheduler was ignored: {} does not run on it here.", sampling.label()));
        }
        Ok((Some(sampling.into()), Some(sampling.schedule)))
    }

    fn hires(&self) -> HiresRequest {
        let size = self.hr_resize_x.zip(self.hr_resize_y).filter(|(width, height)| *width > 0 && *height > 0);
        HiresRequest {
            scale: self.hr_scale.filter(|_| size.is_none()),
            width: size.map(|(width, _)| width),
            height: size.map(|(_, height)| height),
            denoising_strength: self.denoising_strength,
            steps: self.hr_second_pass_steps.filter(|steps| *steps > 0),
            upscaler: self.hr_upscaler.as_deref().map(HiresUpscaler::from_label),
        }
    }

    /// What it says about the mask.
    fn inpainting(&self) -> Wanted {
        // More than a few dozen pixels make no edge, but cost much.
        let blur = |own: Option<f64>| own.or(self.mask_blur).unwrap_or_default().clamp(0.0, 64.0) as f32;
        Wanted {
            blur: match self.mask_blur {
                Some(_) => (blur(None), blur(None)),
                None => (blur(self.mask_blur_x), blur(self.mask_blur_y)),
            },
            only_masked: (self.inpaint_full_res == Some(true))
                .then(|| self.inpaint_full_res_padding.unwrap_or_default()),
            fill: self.inpainting_fill == Some(0.0),
            size: self.width.zip(self.height).filter(is_size),
        }
    }

    /// The files of init image and mask as they are taken here.
    async fn take_files(&mut self, notes: &mut Vec<String>) -> Result<Files, Problem> {
        let Some(first) = self.init_images.first_mut().map(std::mem::take) else {
            return Ok(Files::default());
        };
        let wanted = self.inpainting();
        let mut init_image = images::decode("init_image", &first)?;
        let mask = self.mask.take().map(|mask| images::decode("mask", &mask)).transpose()?;
        // A1111's “Just resize” stretches; everything else here covers and crops.
        let stretch = self.width.zip(self.height).filter(|_| self.resize_mode.unwrap_or_default() == 0.0);
        // The masked part alone is scaled, not the image.
        let stretch = stretch.filter(|_| mask.is_none() || wanted.only_masked.is_none());
        if self.resize_mode == Some(2.0) {
            notes.push("resize_mode 2 was taken as 1: the image is cropped to the size.".to_owned());
        }
        let invert = self.inpainting_mask_invert == Some(true);
        let prepared = tokio::task::spawn_blocking(move || {
            if let Some((width, height)) = stretch
                && let Some(stretched) = stretched(&init_image, width, height)
            {
                init_image = stretched;
            }
            let mask = mask.map(|mask| if invert { inverted(&mask).unwrap_or(mask) } else { mask });
            match mask.as_ref().and_then(|mask| inpaint::prepare(&init_image, mask, wanted)) {
                Some(Prepared { init_image, mask, finish }) => {
                    Files { init_image: Some(init_image), mask: Some(mask), finish }
                }
                None => Files { init_image: Some(init_image), mask, finish: None },
            }
        });
        prepared.await.map_err(Problem::internal)
    }
}

/// The files of a request, and what is to be done with the images that are made of them.
#[derive(Default)]
struct Files {
    init_image: Option<Vec<u8>>,
    mask: Option<Vec<u8>>,
    finish: Option<Finish>,
}

fn is_size(size: &(u32, u32)) -> bool {
    (1..=4096).contains(&size.0) && (1..=4096).contains(&size.1)
}

/// A1111's source of noise.
fn noise(source: &str) -> Rng {
    if source.eq_ignore_ascii_case("CPU") { Rng::Cpu } else { Rng::Cuda }
}

/// Whether the arguments of a script switch it on, as far as one can tell without knowing it.
fn is_used(script: &Value) -> bool {
    let Some(arguments) = script.get("args") else { return true };
    match arguments {
        Value::Array(all) => all.first().is_some_and(|first| *first != Value::Bool(false)),
        Value::Object(all) => !all.is_empty(),
        other => *other != Value::Null,
    }
}

/// An image stretched to a size; `None` where that changes nothing, or where the studio should say what is wrong with it.
fn stretched(file: &[u8], width: u32, height: u32) -> Option<Vec<u8>> {
    if !is_size(&(width, height)) {
        return None;
    }
    let image = images::read(file)?;
    let same = u64::from(image.width()) * u64::from(height) == u64::from(image.height()) * u64::from(width);
    if same {
        return None;
    }
    images::write(&image.resize_exact(width, height, FilterType::Lanczos3))
}

/// A mask with black and white exchanged.
fn inverted(file: &[u8]) -> Option<Vec<u8>> {
    let mut mask = image::DynamicImage::ImageLuma8(images::read(file)?.into_luma8());
    mask.invert();
    images::write(&mask)
}

#[cfg(test)]
mod tests {
    use adire_protocol::{Sampler, Schedule};
    use serde_json::json;

    use super::*;

    async fn translated(body: Value, options: Options) -> Translated {
        let request: Request = serde_json::from_value(body).unwrap();
        request.translate(options).await.unwrap()
    }

    #[tokio::test]
    async fn what_webuiapi_sends_by_default_is_a_plain_request() {
        let body = json!({
            "enable_hr": false, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.7, "prompt": "moons",
            "styles": [], "seed": 5, "subseed": -1, "subseed_strength": 0.0, "batch_size": 2, "n_iter": 2, "steps": 20,
            "cfg_scale": 7.0, "width": 512, "height": 512, "eta": 1.0, "s_tmax": 0, "sampler_name": "DPM++ 2M",
            "sampler_index": "Euler a", "scheduler": "automatic", "script_args": [], "alwayson_scripts": {},
        });
        let Translated { ask, notes, .. } = translated(body, Options::default()).await;
        let request = ask.request;
        assert_eq!((request.seed, request.steps, request.count), (Some(5), Some(20), Some(4)));
        assert_eq!(request.sampling().unwrap(), Sampler::Dpmpp2m.automatic());
        assert_eq!((request.hires, request.denoising_strength, ask.model), (None, None, None));
        assert_eq!(notes, Vec::<String>::new());
    }

    #[tokio::test]
    async fn overrides_go_before_options_and_what_is_ignored_is_noted() {
        let body = json!({
            "prompt": "moons", "sampler_name": "DPM++ 2M", "scheduler": "exponential", "tiling": true, "clip_skip": 0,
            "override_settings": {"sd_model_checkpoint": "sd15+adire@v2", "randn_source": "GPU"},
            "alwayson_scripts": {"ControlNet": {"args": []}, "ADetailer": {"args": [false]}, "Sag": {"args": [true]}},
        });
        let options = Options { model: Some("sd15".to_owned()), clip_skip: Some(2), noise: None };
        let Translated { ask, notes, .. } = translated(body, options).await;
        assert_eq!(ask.model.as_deref(), Some("sd15+adire@v2"));
        assert_eq!((ask.request.clip_skip, ask.request.rng), (Some(2), Some(Rng::Cuda)));
        assert_eq!(ask.request.schedule, Some(Schedule::Normal));
        assert_eq!(notes.len(), 3, "{notes:?}");
    }

    #[tokio::test]
    async fn hires_fix_is_read_as_a1111_reads_it() {
        let body = json!({
            "prompt": "moons", "enable_hr": true, "hr_scale": 1.5, "hr_resize_x": 0, "hr_resize_y": 0,
            "hr_second_pass_steps": 0, "hr_upscaler": "Latent (bicubic)", "denoising_strength": 0.5,
        });
        let hires = translated(body, Options::default()).await.ask.request.hires.unwrap();
        let expected = HiresRequest {
            scale: Some(1.5),
            denoising_strength: Some(0.5),
            upscaler: Some(HiresUpscaler::Latent),
            ..HiresRequest::default()
        };
        assert_eq!(hires, expected);
    }

    #[tokio::test]
    async fn unknown_samplers_and_scripts_are_refused() {
        for (body, status) in [
            (json!({"prompt": "x", "sampler_name": "DPM++ 9S"}), 404),
            (json!({"prompt": "x", "script_name": "X/Y/Z plot"}), 422),
            (json!({"prompt": "x", "init_images": ["???"]}), 422),
        ] {
            let request: Request = serde_json::from_value(body).unwrap();
            assert_eq!(request.translate(Options::default()).await.unwrap_err().status, status);
        }
    }
}
