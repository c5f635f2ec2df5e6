//! What Gradio's clients read before they call: `/config` and `/gradio_api/info`. Both are made from one table.

use adire_protocol::Defaults;
use serde_json::{Map, Value, json};

/// A parameter of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    pub(crate) kind: Kind,
}

/// What a parameter or a result is, and by which component Gradio shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    Image,
    Json,
}

/// An endpoint; its place in [`ENDPOINTS`] is its id.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) name: &'static str,
    pub(crate) parameters: &'static [Parameter],
    returns: &'static [Parameter],
}

const fn text(name: &'static str, label: &'static str) -> Parameter {
    Parameter { name, label, kind: Kind::Text }
}

const fn number(name: &'static str, label: &'static str) -> Parameter {
    Parameter { name, label, kind: Kind::Number }
}

const fn image(name: &'static str, label: &'static str) -> Parameter {
    Parameter { name, label, kind: Kind::Image }
}

const PROMPT: Parameter = text("prompt", "Prompt");
const NEGATIVE: Parameter = text("negative_prompt", "Negative prompt");
const SEED: Parameter = number("seed", "Seed");
const STEPS: Parameter = number("steps", "Steps");
const GUIDANCE: Parameter = number("guidance", "Guidance scale");
const WIDTH: Parameter = number("width", "Width");
const HEIGHT: Parameter = number("height", "Height");
const SAMPLER: Parameter = text("sampler", "Sampler");
const ADAPTER: Parameter = text("adapter", "Adapter");
const STRENGTH: Parameter = number("adapter_strength", "Adapter strength");
const SUBSEED: Parameter = number("subseed", "Variation seed");
const SUBSEED_STRENGTH: Parameter = number("subseed_strength", "Variation strength");

/// An image and the seed that it was made with.
const IMAGE_AND_SEED: &[Parameter] = &[image("image", "Image"), SEED];

/// Every endpoint.
pub(crate) const ENDPOINTS: [Endpoint; 3] = [
    Endpoint {
        name: "generate",
        parameters: &[
            PROMPT,
            NEGATIVE,
            SEED,
            STEPS,
            GUIDANCE,
            WIDTH,
            HEIGHT,
            SAMPLER,
            ADAPTER,
            STRENGTH,
            SUBSEED,
            SUBSEED_STRENGTH,
        ],
        returns: IMAGE_AND_SEED,
    },
    Endpoint {
        name: "img2img",
        parameters: &[
            image("image", "Init image"),
            PROMPT,
            image("mask", "Mask"),
            number("denoising_strength", "Denoising strength"),
            NEGATIVE,
            SEED,
            STEPS,
            GUIDANCE,
            WIDTH,
            HEIGHT,
            SAMPLER,
            ADAPTER,
            STRENGTH,
            SUBSEED,
            SUBSEED_STRENGTH,
        ],
        returns: IMAGE_AND_SEED,
    },
    Endpoint {
        name: "adapters",
        parameters: &[],
        returns: &[Parameter { name: "adapters", label: "Adapters", kind: Kind::Json }],
    },
];

impl Parameter {
    /// What counts where a call leaves it out; `None`: it must be there.
    fn default(self, defaults: &Defaults) -> Option<Value> {
        Some(match self.name {
            "prompt" | "image" => return None,
            "mask" | "width" | "height" => Value::Null,
            "seed" | "subseed" => json!(-1),
            "subseed_strength" => json!(0.0),
            "steps" => json!(defaults.steps),
            "guidance" => json!(defaults.guidance),
            "sampler" => json!(defaults.sampling.to_string()),
            "denoising_strength" => json!(adire_protocol::INIT_STRENGTH),
            "adapter_strength" => json!(1.0),
            _ => json!(""),
        })
    }

    fn example(self) -> Value {
        match self.kind {
            Kind::Text => json!("moons over a lake"),
            Kind::Number => json!(3),
            Kind::Image => json!({"path": "", "meta": {"_type": "gradio.FileData"}}),
            Kind::Json => json!([]),
        }
    }
}

impl Kind {
    /// Gradio's component.
    fn component(self) -> &'static str {
        match self {
            Self::Text => "Textbox",
            Self::Number => "Number",
            Self::Image => "Image",
            Self::Json => "JSON",
        }
    }

    /// Its JSON schema.
    fn schema(self) -> Value {
        match self {
            Self::Text => json!({"type": "string"}),
            Self::Number => json!({"type": "number"}),
            Self::Json => json!({}),
            Self::Image => json!({
                "title": "ImageData",
                "type": "object",
                "properties": {
                    "path": {"type": "string"},
                    "url": {"type": "string"},
                    "size": {"type": "integer"},
                    "orig_name": {"type": "string"},
                    "mime_type": {"type": "string"},
                    "is_stream": {"type": "boolean"},
                    "meta": {
                        "type": "object",
                        "properties": {"_type": {"const": "gradio.FileData", "default": "gradio.FileData"}},
                    },
                },
                "required": ["path"],
            }),
        }
    }

    fn python(self) -> Value {
        let name = match self {
            Self::Text => "str",
            Self::Number => "float",
            Self::Image => "filepath",
            Self::Json => "list[dict]",
        };
        json!({"type": name, "description": ""})
    }
}

/// `/config`: components, and which of them each endpoint takes and gives. `root`: by which address the client came.
pub(crate) fn config(root: &str, name: &str) -> Value {
    let mut components = Vec::new();
    let mut dependencies = Vec::new();
    for (id, endpoint) in ENDPOINTS.iter().enumerate() {
        let mut ids = |parameters: &[Parameter]| -> Vec<usize> {
            let added = parameters.iter().map(|parameter| {
                let id = components.len() + 1;
                components.push(json!({
                    "id": id,
                    "type": parameter.kind.component().to_lowercase(),
                    "props": {"label": parameter.label, "name": parameter.name, "visible": true, "interactive": true},
                    "skip_api": false,
                    "component_class_id": "",
                    "key": null,
                    "api_info": parameter.kind.schema(),
                }));
                id
            });
            added.collect()
        };
        let (inputs, outputs) = (ids(endpoint.parameters), ids(endpoint.returns));
        dependencies.push(json!({
            "id": id,
            "targets": [],
            "inputs": inputs,
            "outputs": outputs,
            "backend_fn": true,
            "js": null,
            "queue": true,
            "api_name": endpoint.name,
            "api_visibility": "public",
            "scroll_to_output": false,
            "show_progress": "full",
            "batch": false,
            "max_batch_size": 1,
            "cancels": [],
            "types": {"generator": false, "cancel": false},
            "collects_event_data": false,
            "trigger_after": null,
            "trigger_only_on_success": false,
            "trigger_mode": "once",
            "show_api": true,
            "rendered_in": null,
            "render_id": null,
            "connection": "sse",
            "time_limit": null,
            "stream_every": 0.5,
        }));
    }
    json!({
        // The protocol's version, not this program's: clients choose by it how to call.
        "version": "5.49.1",
        "api_prefix": "/gradio_api",
        "mode": "blocks",
        "app_id": 1,
        "dev_mode": false,
        "analytics_enabled": false,
        "components": components,
        "css": null,
        "connect_heartbeat": false,
        "js": null,
        "head": null,
        "title": name,
        "space_id": null,
        "enable_queue": true,
        "show_error": true,
        "show_api": true,
        "is_colab": false,
        "max_file_size": adire_studio::MAX_UPLOAD_BYTES,
        "stylesheets": [],
        "theme": "default",
        "protocol": "sse_v3",
        "body_css": {},
        "fill_height": false,
        "fill_width": false,
        "theme_hash": "",
        "pwa": false,
        "pages": [["", ""]],
        "page": {"": {"components": [], "dependencies": [], "layout": {"id": 0, "children": []}}},
        "layout": {"id": 0, "children": []},
        "dependencies": dependencies,
        "root": root,
        "username": null,
        "i18n_translations": null,
        "run_history": false,
    })
}

/// `/gradio_api/info`: the endpoints with their parameters.
pub(crate) fn info(defaults: &Defaults) -> Value {
    let named = ENDPOINTS.iter().map(|endpoint| {
        let described = |parameter: &Parameter| {
            let mut described = json!({
                "label": parameter.label,
                "type": parameter.kind.schema(),
                "python_type": parameter.kind.python(),
                "component": parameter.kind.component(),
            });
            if let Value::Object(described) = &mut described {
                described.insert("example_input".to_owned(), parameter.example());
            }
            described
        };
        let parameters = endpoint.parameters.iter().map(|parameter| {
            let mut described = described(parameter);
            let default = parameter.default(defaults);
            if let Value::Object(described) = &mut described {
                described.insert("parameter_name".to_owned(), parameter.name.into());
                described.insert("parameter_has_default".to_owned(), default.is_some().into());
                described.insert("parameter_default".to_owned(), default.unwrap_or_default());
            }
            described
        });
        let endpoint_info = json!({
            "parameters": parameters.collect::<Vec<_>>(),
            "returns": endpoint.returns.iter().map(described).collect::<Vec<_>>(),
            "api_visibility": "public",
            "show_api": true,
        });
        (format!("/{}", endpoint.name), endpoint_info)
    });
    json!({"named_endpoints": named.collect::<Map<_, _>>(), "unnamed_endpoints": {}})
}
