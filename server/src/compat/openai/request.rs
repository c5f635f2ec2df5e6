//! OpenAI's requests, with fields of ours beside its own: `seed`, `steps`, `negative_prompt` and so on.

use adire_protocol::{AdapterUse, GenerationRequest, HiresRequest, Rng, SamplerName, Schedule};
use image::{DynamicImage, GenericImageView, GrayImage, Luma};
use serde::Deserialize;

use crate::{
    compat::{
        images::{self, Format},
        lenient,
        run::Ask,
    },
    error::Problem,
};

/// Names of OpenAI's own models; some clients offer no others.
const THEIR_MODELS: [&str; 3] = ["dall-e-", "gpt-image-", "chatgpt-image-"];

/// The body of every request for images; JSON, or the texts of a form.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Request {
    model: String,
    prompt: String,
    #[serde(deserialize_with = "lenient::whole")]
    n: Option<u32>,
    size: String,
    response_format: String,
    output_format: String,
    #[serde(deserialize_with = "lenient::whole")]
    output_compression: Option<u32>,
    #[serde(deserialize_with = "lenient::flag")]
    stream: Option<bool>,
    #[serde(deserialize_with = "lenient::whole")]
    partial_images: Option<u32>,
    // Ours.
    negative_prompt: String,
    #[serde(deserialize_with = "lenient::seed")]
    seed: Option<u64>,
    #[serde(deserialize_with = "lenient::seed")]
    subseed: Option<u64>,
    #[serde(deserialize_with = "lenient::number")]
    subseed_strength: Option<f64>,
    #[serde(deserialize_with = "lenient::flag")]
    per_line: Option<bool>,
    #[serde(deserialize_with = "lenient::whole")]
    steps: Option<u32>,
    #[serde(deserialize_with = "lenient::number", alias = "guidance_scale", alias = "cfg_scale")]
    guidance: Option<f64>,
    sampler: Option<SamplerName>,
    schedule: Option<Schedule>,
    rng: Option<Rng>,
    #[serde(deserialize_with = "lenient::whole")]
    clip_skip: Option<u32>,
    #[serde(deserialize_with = "lenient::number", alias = "strength")]
    denoising_strength: Option<f64>,
    adapters: Vec<AdapterUse>,
    hires: Option<HiresRequest>,
    /// Hashes of uploads, instead of files.
    init_image: Option<String>,
    mask: Option<String>,
    #[serde(deserialize_with = "lenient::flag")]
    keep_unmasked: Option<bool>,
}

/// Files of a form.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) images: Vec<Vec<u8>>,
    pub(crate) mask: Option<Vec<u8>>,
}

impl Files {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.images.is_empty() && self.mask.is_none()
    }
}

/// How the images are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// Of the files; PNG where there are addresses, which have no other.
    pub(crate) format: Format,
    /// As base64.
    pub(crate) has_base64: bool,
    /// As addresses.
    pub(crate) has_urls: bool,
    /// As events, with so many previews.
    pub(crate) stream: Option<u32>,
}

/// What the request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Generation,
    Edit,
    Variation,
}

impl Request {
    /// What it means here.
    pub(crate) fn translate(self, purpose: Purpose, mut files: Files) -> Result<(Ask, Delivery), Problem> {
        let delivery = self.delivery()?;
        let (width, height) = size(&self.size)?.unzip();
        if purpose != Purpose::Variation && self.prompt.trim().is_empty() {
            return Err(Problem::field("prompt", "prompt is missing; say what the image should show."));
        }
        if files.images.len() > 1 {
            return Err(Problem::field("init_image", "Only one image is supported; send one."));
        }
        let init_image = files.images.pop();
        if purpose != Purpose::Generation && init_image.is_none() {
            return Err(Problem::field("init_image", "image is missing; send a PNG, JPEG or WebP file."));
        }
        let mask = match (&files.mask, &init_image) {
            (Some(mask), _) => Some(erased(mask).unwrap_or_else(|| mask.clone())),
            // What was erased in the image itself.
            (None, Some(image)) if purpose == Purpose::Edit => erased(image),
            _ => None,
        };
        // An edit replaces what the mask names.
        let whole = mask.as_ref().map(|_| 1.0);
        let starts = init_image.is_some() || self.init_image.is_some();
        let request = GenerationRequest {
            prompt: self.prompt,
            negative_prompt: self.negative_prompt,
            seed: self.seed,
            subseed: self.subseed,
            subseed_strength: self.subseed_strength,
            per_line: self.per_line,
            steps: self.steps,
            guidance: self.guidance,
            sampler: self.sampler,
            schedule: self.schedule,
            rng: self.rng,
            width,
            height,
            count: self.n.or(Some(1)),
            clip_skip: self.clip_skip,
            adapters: self.adapters,
            denoising_strength: self.denoising_strength.or(whole).filter(|_| starts),
            keep_unmasked: self.keep_unmasked,
            hires: self.hires,
            init_image: self.init_image,
            mask: self.mask,
            ..GenerationRequest::default()
        };
        let theirs = THEIR_MODELS.iter().any(|theirs| self.model.starts_with(theirs));
        let model = Some(self.model).filter(|_| !theirs);
        Ok((Ask { request, model, init_image, mask }, delivery))
    }

    fn delivery(&self) -> Result<Delivery, Problem> {
        let quality = self.output_compression.unwrap_or(90).clamp(1, 100) as u8;
        let format = match self.output_format.as_str() {
            "" | "png" => Format::Png,
            "jpeg" | "jpg" => Format::Jpeg(quality),
            "webp" => Format::WebP,
            _ => return Err(Problem::field("output_format", "output_format must be png, jpeg or webp.")),
        };
        let is_png = format == Format::Png;
        let (has_base64, has_urls) = match self.response_format.as_str() {
            // These models sent addresses unless base64 was requested, and their clients read either.
            "" if self.model.is_empty() || self.model.starts_with("dall-e-") => (true, is_png),
            "" | "b64_json" => (true, false),
            "url" => (false, true),
            _ => return Err(Problem::field("response_format", "response_format must be b64_json or url.")),
        };
        let partial = self.partial_images.unwrap_or(0);
        if partial > 3 {
            return Err(Problem::field("partial_images", "partial_images must be 0 to 3."));
        }
        let stream = self.stream.unwrap_or_default().then_some(partial);
        // Events have no addresses.
        let format = if has_urls && stream.is_none() { Format::Png } else { format };
        Ok(Delivery { format, has_base64, has_urls, stream })
    }
}

fn size(text: &str) -> Result<Option<(u32, u32)>, Problem> {
    if text.is_empty() || text == "auto" {
        return Ok(None);
    }
    let read =
        text.split_once('x').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    let read: Option<(u32, u32)> = read;
    read.map(Some)
        .ok_or_else(|| Problem::field("size", "size must be auto or WIDTHxHEIGHT, such as 512x512."))
}

/// A mask of what is transparent in an image: white there, black elsewhere; `None` where nothing is. OpenAI's masks say it
/// in no other way.
fn erased(file: &[u8]) -> Option<Vec<u8>> {
    let image = images::read(file)?;
    if !image.color().has_alpha() {
        return None;
    }
    let rgba = image.to_rgba8();
    if rgba.pixels().all(|pixel| pixel.0[3] >= 128) {
        return None;
    }
    let (width, height) = image.dimensions();
    let mask = GrayImage::from_fn(width, height, |x, y| {
        Luma([if rgba.get_pixel(x, y).0[3] < 128 { 255 } else { 0 }])
    });
    images::write(&DynamicImage::ImageLuma8(mask))
}

#[cfg(test)]
mod tests {
    use image::{Rgba, RgbaImage};
    use serde_json::json;

    use super::*;

    fn read(body: serde_json::Value) -> Request {
        serde_json::from_value(body).unwrap()
    }

    fn refused(body: serde_json::Value) -> String {
        let problem = read(body).translate(Purpose::Generation, Files::default()).unwrap_err();
        problem.errors[0].field.clone()
    }

    #[test]
    fn names_of_their_models_mean_the_base() {
        for (model, expected) in [
            ("dall-e-2", None),
            ("gpt-image-1.5", None),
            ("chatgpt-image-latest", None),
            ("sd15+adire@v2", Some("sd15+adire@v2")),
            ("", Some("")),
        ] {
            let request = read(json!({"prompt": "moons", "model": model, "size": "auto"}));
            let (ask, _) = request.translate(Purpose::Generation, Files::default()).unwrap();
            assert_eq!(ask.model.as_deref(), expected, "{model}");
        }
    }

    #[test]
    fn addresses_come_where_their_models_sent_them() {
        let delivered = |body: serde_json::Value| {
            let delivery = read(body).delivery().unwrap();
            (delivery.has_base64, delivery.has_urls, delivery.format)
        };
        assert_eq!(delivered(json!({"model": "dall-e-3"})), (true, true, Format::Png));
        assert_eq!(delivered(json!({})), (true, true, Format::Png));
        assert_eq!(delivered(json!({"model": "gpt-image-1"})), (true, false, Format::Png));
        assert_eq!(delivered(json!({"model": "sd15"})), (true, false, Format::Png));
        assert_eq!(
            delivered(json!({"model": "dall-e-2", "response_format": "b64_json"})),
            (true, false, Format::Png)
        );
        assert_eq!(delivered(json!({"output_format": "webp"})), (true, false, Format::WebP));
        let address = json!({"output_format": "webp", "response_format": "url"});
        assert_eq!(delivered(address), (false, true, Format::Png), "an address has the stored file");
    }

    #[test]
    fn what_cannot_be_sent_is_refused_by_its_own_name() {
        assert_eq!(refused(json!({"prompt": ""})), "prompt");
        assert_eq!(refused(json!({"prompt": "x", "output_format": "gif"})), "output_format");
        assert_eq!(refused(json!({"prompt": "x", "size": "large"})), "size");
        assert_eq!(refused(json!({"prompt": "x", "partial_images": 4})), "partial_images");
        assert_eq!(refused(json!({"prompt": "x", "response_format": "html"})), "response_format");
    }

    #[test]
    fn what_is_transparent_is_edited() {
        let mut image = RgbaImage::from_pixel(4, 4, Rgba([255, 255, 255, 255]));
        let file = |image: &RgbaImage| images::write(&DynamicImage::ImageRgba8(image.clone())).unwrap();
        assert_eq!(erased(&file(&image)), None);
        image.put_pixel(1, 2, Rgba([0, 0, 0, 0]));
        let mask = images::read(&erased(&file(&image)).unwrap()).unwrap().into_luma8();
        assert_eq!((mask.get_pixel(1, 2).0, mask.get_pixel(0, 0).0), ([255], [0]));
        let files = Files { images: vec![file(&image)], mask: None };
        let (ask, _) = read(json!({"prompt": "x"})).translate(Purpose::Edit, files).unwrap();
        assert!(ask.mask.is_some());
        assert_eq!(ask.request.denoising_strength, Some(1.0));
    }
}
