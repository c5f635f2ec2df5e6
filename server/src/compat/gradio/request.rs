//! The data of a call, in the order of the endpoint's parameters.

use adire_protocol::{AdapterUse, GenerationRequest, is_hash};
use adire_studio::Studio;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::describe::{Endpoint, Parameter};
use crate::{
    compat::{images, lenient, models, run::Ask},
    error::Problem,
};

/// Before a path in the addresses of files.
const FILE: &str = "/file=";

/// Before the hash of the same file as a mask, in the path of one that is read differently as one.
const AS_MASK: &str = "mask-";

/// The path of an uploaded file, by its hashes as an image and as a mask; clients take the name behind the slash.
pub(super) fn path_of(image: &str, mask: &str) -> String {
    match image == mask {
        true => format!("{image}/image.png"),
        false => format!("{image}/{AS_MASK}{mask}.png"),
    }
}

/// The hash that a path names for a mask.
fn mask_of(path: &str) -> Option<&str> {
    let (_, name) = path.split_once('/')?;
    name.strip_prefix(AS_MASK)?.strip_suffix(".png").filter(|hash| is_hash(hash))
}

/// The values of a call by name.
struct Values(Map<String, Value>);

impl Values {
    fn text(&self, name: &str) -> Result<String, Problem> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(Problem::field(name, format!("{name} must be a text."))),
        }
    }

    fn read<T>(
        &self,
        name: &str,
        read: fn(Value) -> Result<Option<T>, serde_json::Error>,
    ) -> Result<Option<T>, Problem> {
        let value = self.0.get(name).cloned().unwrap_or_default();
        read(value).map_err(|error| Problem::field(name, format!("Invalid {name}: {error}.")))
    }

    fn whole(&self, name: &str) -> Result<Option<u32>, Problem> {
        // Gradio's number fields are 0 where nothing was entered.
        Ok(self.read(name, lenient::whole)?.filter(|number| *number > 0))
    }

    fn number(&self, name: &str) -> Result<Option<f64>, Problem> {
        self.read(name, lenient::number)
    }

    fn parse<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Problem> {
        let text = self.text(name)?;
        if text.is_empty() {
            return Ok(None);
        }
        let read = serde_json::from_value(Value::String(text));
        read.map(Some).map_err(|error| Problem::field(name, format!("Invalid {name}: {error}.")))
    }

    /// The file of an image: an upload's path or address, or base64.
    fn image(&self, name: &str) -> Result<Option<Image>, Problem> {
        let value = match self.0.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(value) => value,
        };
        let path =
            value.get("path").or_else(|| value.get("url")).unwrap_or(value).as_str().unwrap_or_default();
        let path = path.split_once(FILE).map_or(path, |(_, path)| path);
        let hash = path.split('/').next().unwrap_or_default();
        if is_hash(hash) {
            let hash = mask_of(path).filter(|_| name == "mask").unwrap_or(hash);
            return Ok(Some(Image::Upload(hash.to_owned())));
        }
        if path.is_empty() {
            return Ok(None);
        }
        images::decode(name, path).map(|file| Some(Image::File(file))).map_err(|_| {
            Problem::field(
                name,
                format!("{name} must be an uploaded file; images are not fetched from addresses."),
            )
        })
    }
}

/// An image of a call.
enum Image {
    Upload(String),
    File(Vec<u8>),
}

/// What a call of `/generate` or `/img2img` means.
pub(crate) async fn translate(
    studio: &Studio,
    endpoint: &Endpoint,
    data: Vec<Value>,
) -> Result<Ask, Problem> {
    if data.len() > endpoint.parameters.len() {
        let most = endpoint.parameters.len();
        return Err(Problem::field("data", format!("/{} takes at most {most} values.", endpoint.name)));
    }
    let names = endpoint.parameters.iter().map(|Parameter { name, .. }| (*name).to_owned());
    let values = Values(names.zip(data).collect());
    let mut ask = Ask {
        request: GenerationRequest {
            prompt: values.text("prompt")?,
            negative_prompt: values.text("negative_prompt")?,
            seed: values.read("seed", lenient::seed)?,
            subseed: values.read("subseed", lenient::seed)?,
            subseed_strength: values.number("subseed_strength")?,
            steps: values.whole("steps")?,
            guidance: values.number("guidance")?,
            width: values.whole("width")?,
            height: values.whole("height")?,
            sampler: values.parse("sampler")?,
            count: Some(1),
            ..GenerationRequest::default()
        },
        ..Ask::default()
    };
    let adapter = values.text("adapter")?;
    let strength = values.number("adapter_strength")?.unwrap_or(1.0);
    let adapters = models::adapters(studio, &adapter).await?;
    ask.request.adapters = adapters.into_iter().map(|used| AdapterUse { strength, ..used }).collect();
    if endpoint.parameters.iter().any(|parameter| parameter.name == "image") {
        match values.image("image")? {
            Some(Image::Upload(hash)) => ask.request.init_image = Some(hash),
            Some(Image::File(file)) => ask.init_image = Some(file),
            None => return Err(Problem::field("image", "image is missing.")),
        }
        match values.image("mask")? {
            Some(Image::Upload(hash)) => ask.request.mask = Some(hash),
            Some(Image::File(file)) => ask.mask = Some(file),
            None => {}
        }
        ask.request.denoising_strength = values.number("denoising_strength")?;
    }
    Ok(ask)
}
