//! The form as code: the same request by curl, from Python, from JavaScript and on the command line. A plain document.

use adire_protocol::{FieldError, GenerationRequest, Rng, fields::FIELDS, lora_tag};
use leptos::prelude::*;
use serde_json::{Map, Value, json};

use super::adapters::Bar;

/// What the page shows.
#[derive(Clone)]
pub(crate) struct CodeData {
    pub(crate) request: Result<GenerationRequest, Vec<FieldError>>,
    /// The form's values as a query, for the way back.
    pub(crate) query: String,
    /// Scheme and host by which the page was reached.
    pub(crate) origin: String,
}

/// A piece of code.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Snippet {
    id: &'static str,
    title: &'static str,
    code: String,
    /// What of the form it cannot say.
    left_out: Vec<String>,
}

/// The page at `/code`.
#[component]
pub(crate) fn CodeView(data: CodeData) -> impl IntoView {
    let CodeData { request, query, origin } = data;
    let back = if query.is_empty() { "/".to_owned() } else { format!("/?{query}") };
    let body = match request {
        Ok(request) => {
            let snippets = snippets(&request, &origin).into_iter().map(show).collect::<Vec<_>>();
            view! { <div class="code">{snippets}</div> }.into_any()
        }
        Err(errors) => {
            let errors = errors.into_iter().map(|error| view! { <p>{error.message}</p> }).collect::<Vec<_>>();
            view! {
                <div class="notice" role="alert">
                    {errors}
                </div>
            }
            .into_any()
        }
    };
    view! {
        <Bar />
        <main class="paper wide-paper">
            <h1>"Use it from code"</h1>
            <p>
                "The same request as in the form. With an API token, replace " <code>"none"</code>
                " by it; without one, the limits of visitors apply."
            </p>
            <p>
                <a href=back>"Back to the studio"</a>
            </p>
            {body}
        </main>
    }
}

fn show(snippet: Snippet) -> AnyView {
    let Snippet { id, title, code, left_out } = snippet;
    let left_out = (!left_out.is_empty()).then(|| {
        let what = left_out.join(", ");
        view! { <p class="soft">{format!("Not available here: {what}.")}</p> }
    });
    view! {
        <section aria-labelledby=id>
            <h2 id=id>{title}</h2>
            {left_out}
            <pre tabindex="0" aria-label=format!("Code: {title}") data-code=id>{code}</pre>
        </section>
    }
    .into_any()
}

fn snippets(request: &GenerationRequest, origin: &str) -> Vec<Snippet> {
    let body = openai_body(request);
    let shown = serde_json::to_string_pretty(&Value::Object(body.clone())).unwrap_or_default();
    let many = request.count.unwrap_or(1) > 1;
    let curl = format!(
        "curl -s {origin}/v1/images/generations \\\n  -H 'Authorization: Bearer none' -H 'Content-Type: application/json' \\\n  -d {} \\\n  | grep -o '\"b64_json\":\"[^\"]*' | head -n 1 | cut -d'\"' -f4 | base64 -d > image.png",
        shell(&shown),
    );
    let requests = format!(
        "import base64\nimport requests\n\nanswer = requests.post(\n    \"{origin}/v1/images/generations\",\n    headers={{\"Authorization\": \"Bearer none\"}},\n    json={},\n)\nanswer.raise_for_status()\nfor number, image in enumerate(answer.json()[\"data\"]):\n    with open(f\"image-{{number}}.png\", \"wb\") as file:\n        file.write(base64.b64decode(image[\"b64_json\"]))",
        python(&Value::Object(body.clone()), 4),
    );
    let javascript = format!(
        "const answer = await fetch(\"{origin}/v1/images/generations\", {{\n  method: \"POST\",\n  headers: {{ authorization: \"Bearer none\", \"content-type\": \"application/json\" }},\n  body: JSON.stringify({shown}),\n}});\nif (!answer.ok) throw new Error(await answer.text());\nconst {{ data }} = await answer.json();\n// In a browser: image.src = `data:image/png;base64,${{data[0].b64_json}}`\nconst {{ writeFile }} = await import(\"node:fs/promises\");\nawait writeFile(\"image.png\", Buffer.from(data[0].b64_json, \"base64\"));",
    );
    let after_first = "images after the first".to_owned();
    vec![
        Snippet {
            id: "curl",
            title: "curl",
            code: curl,
            left_out: if many { vec![after_first] } else { vec![] },
        },
        Snippet { id: "requests", title: "Python, requests", code: requests, left_out: vec![] },
        Snippet { id: "openai", title: "Python, openai", code: openai(body, origin), left_out: vec![] },
        gradio(request, origin),
        webuiapi(request, origin),
        Snippet { id: "javascript", title: "JavaScript", code: javascript, left_out: vec![] },
        command_line(request),
    ]
}

/// Fields of a request that a snippet does not contain yet, by name. What remains at the end is named beside the snippet, so
/// that a new field is never dropped in silence.
struct Rest(Map<String, Value>);

impl Rest {
    fn new(request: &GenerationRequest) -> Self {
        let mut rest = fields(request);
        let without_effect = [
            ("clip_skip", json!(1)),
            ("count", json!(1)),
            ("per_line", json!(false)),
            ("rng", json!(Rng::Cpu)),
            ("strict", json!(false)),
        ];
        rest.retain(|name, value| {
            // Notes on the file that a recipe was read from; requests ignore them.
            !matches!(name.as_str(), "unknown" | "warnings")
                && !without_effect.iter().any(|(field, default)| field == name && default == value)
        });
        Self(rest)
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// The sampler with its schedule, by `name`; a schedule alone remains.
    fn take_sampling(&mut self) {
        if self.take("sampler").is_some() {
            self.take("schedule");
        }
    }

    fn left_out(self) -> Vec<String> {
        let label = |name: &str| match name {
            "adapters" => "adapters after the first".to_owned(),
            "count" => "images after the first".to_owned(),
            "hires" => "hires fix".to_owned(),
            "init_image" => "the init image".to_owned(),
            "mask" => "the mask".to_owned(),
            "per_line" => "a prompt on each line".to_owned(),
            "strict" => "refusing adapters that apply in part".to_owned(),
            name => FIELDS
                .iter()
                .find(|field| field.name == name)
                .map_or_else(|| name.replace('_', " "), |field| field.label.to_lowercase()),
        };
        self.0.keys().map(|name| label(name)).collect()
    }
}

/// The request's fields that are there.
fn fields(request: &GenerationRequest) -> Map<String, Value> {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(request) else { return Map::new() };
    fields.retain(|_, value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(all) => !all.is_empty(),
        _ => true,
    });
    for value in fields.values_mut() {
        if let Value::Object(inner) = value {
            inner.retain(|_, value| !value.is_null());
        }
    }
    fields
}

/// It in OpenAI's words, with ours beside them.
fn openai_body(request: &GenerationRequest) -> Map<String, Value> {
    let mut fields = fields(request);
    let mut body = Map::new();
    body.insert("model".to_owned(), "sd15".into());
    body.insert("prompt".to_owned(), request.prompt.clone().into());
    fields.remove("prompt");
    if let Some(count) = fields.remove("count").filter(|count| *count != 1) {
        body.insert("n".to_owned(), count);
    }
    // One of the two alone is ours, beside OpenAI's words.
    if let (Some(width), Some(height)) = (fields.get("width"), fields.get("height")) {
        body.insert("size".to_owned(), format!("{width}x{height}").into());
        fields.remove("width");
        fields.remove("height");
    }
    body.extend(fields);
    body
}

fn openai(mut body: Map<String, Value>, origin: &str) -> String {
    let own = ["model", "prompt", "n", "size"];
    let mut call = String::new();
    for name in own {
        if let Some(value) = body.remove(name) {
            call.push_str(&format!("    {name}={},\n", python(&value, 4)));
        }
    }
    if !body.is_empty() {
        call.push_str(&format!("    extra_body={},\n", python(&Value::Object(body), 4)));
    }
    format!(
        "import base64\nimport openai\n\nclient = openai.OpenAI(base_url=\"{origin}/v1\", api_key=\"none\")\nanswer = client.images.generate(\n{call})\nfor number, image in enumerate(answer.data):\n    with open(f\"image-{{number}}.png\", \"wb\") as file:\n        file.write(base64.b64decode(image.b64_json))",
    )
}

fn gradio(request: &GenerationRequest, origin: &str) -> Snippet {
    let mut rest = Rest::new(request);
    let first = request.adapters.first();
    let sampler = request.sampling().map(|sampling| json!(sampling.to_string()));
    rest.take_sampling();
    if request.adapters.len() < 2 {
        rest.take("adapters");
    }
    let mut arguments = vec![("prompt", rest.take("prompt"))];
    for name in
        ["negative_prompt", "seed", "steps", "guidance", "width", "height", "subseed", "subseed_strength"]
    {
        arguments.push((name, rest.take(name)));
    }
    arguments.extend([
        ("sampler", sampler),
        ("adapter", first.map(|adapter| json!(adapter.name))),
        ("adapter_strength", first.map(|adapter| json!(adapter.strength))),
    ]);
    let mut left_out = rest.left_out();
    if first.is_some_and(|adapter| adapter.te_strength.is_some()) {
        left_out.push("strength in the text encoder".to_owned());
    }
    let call: String = arguments
        .into_iter()
        .filter_map(|(name, value)| Some(format!("    {name}={},\n", python(&value?, 4))))
        .collect();
    let code = format!(
        "import shutil\nfrom gradio_client import Client\n\n# With a token: Client(…, auth=(\"any\", TOKEN))\nclient = Client(\"{origin}\")\npath, seed = client.predict(\n{call}    api_name=\"/generate\",\n)\nshutil.copy(path, \"image.png\")",
    );
    Snippet { id: "gradio", title: "Python, gradio_client", code, left_out }
}

/// The prompt with the adapters as tags.
fn tagged(request: &GenerationRequest) -> String {
    let tags: String =
        request.adapters.iter().map(|adapter| format!(" {}", lora_tag::write(adapter))).collect();
    format!("{}{tags}", request.prompt)
}

fn webuiapi(request: &GenerationRequest, origin: &str) -> Snippet {
    let (scheme, host) = origin.split_once("://").unwrap_or(("http", origin));
    let https = scheme == "https";
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, port),
        _ => (host, if https { "443" } else { "80" }),
    };
    let mut rest = Rest::new(request);
    let sampling = request.sampling();
    rest.take_sampling();
    for said_otherwise in ["prompt", "adapters", "hires", "rng", "clip_skip"] {
        rest.take(said_otherwise);
    }
    let mut arguments = vec![
        ("prompt", Some(json!(tagged(request)))),
        ("negative_prompt", rest.take("negative_prompt")),
        ("seed", rest.take("seed")),
        ("subseed", rest.take("subseed")),
        ("subseed_strength", rest.take("subseed_strength")),
        ("steps", rest.take("steps")),
        ("cfg_scale", rest.take("guidance")),
        ("width", rest.take("width")),
        ("height", rest.take("height")),
        ("sampler_name", sampling.map(|sampling| json!(sampling.sampler.label()))),
        ("scheduler", sampling.map(|sampling| json!(sampling.schedule.name()))),
        ("batch_size", rest.take("count")),
    ];
    if let Some(hires) = &request.hires {
        let size = hires.width.zip(hires.height);
        arguments.extend([
            ("enable_hr", Some(json!(true))),
            ("hr_scale", hires.scale.map(|scale| json!(scale))),
            ("hr_resize_x", size.map(|size| json!(size.0))),
            ("hr_resize_y", size.map(|size| json!(size.1))),
            ("denoising_strength", hires.denoising_strength.map(|strength| json!(strength))),
            ("hr_second_pass_steps", hires.steps.map(|steps| json!(steps))),
            ("hr_upscaler", hires.upscaler.map(|upscaler| json!(upscaler.label()))),
        ]);
    }
    let mut settings = Map::new();
    if let Some(rng) = request.rng {
        settings.insert("randn_source".to_owned(), if rng == Rng::Cpu { "CPU" } else { "GPU" }.into());
    }
    if let Some(skip) = request.clip_skip {
        settings.insert("CLIP_stop_at_last_layers".to_owned(), skip.into());
    }
    arguments.push(("override_settings", Some(Value::Object(settings)).filter(|all| *all != json!({}))));
    let call: String = arguments
        .into_iter()
        .filter_map(|(name, value)| Some(format!("    {name}={},\n", python(&value?, 4))))
        .collect();
    let https = if https { ", use_https=True" } else { "" };
    let code = format!(
        "import base64\nimport webuiapi\n\napi = webuiapi.WebUIApi(host=\"{name}\", port={port}{https})\n# With a token: api.set_auth(\"any\", TOKEN)\nresult = api.txt2img(\n{call})\nfor number, image in enumerate(result.json[\"images\"]):\n    with open(f\"image-{{number}}.png\", \"wb\") as file:\n        file.write(base64.b64decode(image))",
    );
    Snippet { id: "webuiapi", title: "Python, webuiapi (AUTOMATIC1111)", code, left_out: rest.left_out() }
}

/// On the server itself, where the model is. Its options are those of the table of fields, as the command's own.
fn command_line(request: &GenerationRequest) -> Snippet {
    let mut words = vec!["adire generate".to_owned(), format!("--prompt {}", shell(&tagged(request)))];
    let mut add = |name: &str, value: &str| words.push(format!("--{name} {}", shell(value)));
    let mut rest = Rest::new(request);
    rest.take("prompt");
    rest.take("adapters");
    if let Some(Value::String(text)) = rest.take("negative_prompt") {
        add("negative", &text);
    }
    let mut values = request.clone();
    for field in FIELDS.iter().filter(|field| !field.name.starts_with("hires.")) {
        // They belong to files, which it cannot name, or to several images.
        if matches!(field.name, "denoising_strength" | "keep_unmasked" | "count" | "per_line") {
            continue;
        }
        let value = field.slot(&mut values).map(|slot| slot.to_string()).filter(|value| !value.is_empty());
        if let Some(value) = value {
            add(&field.name.replace('_', "-"), &value);
            rest.take(field.name);
        }
    }
    if let Some(hires) = &request.hires {
        let upscaler = hires.upscaler.unwrap_or_default().name();
        let parts = [
            hires.scale.map(|scale| scale.to_string()),
            Some(upscaler.to_owned()),
            hires.denoising_strength.map(|strength| strength.to_string()),
            hires.steps.map(|steps| steps.to_string()),
        ];
        let parts: Vec<String> = parts.into_iter().map_while(|part| part).collect();
        if !parts.is_empty() {
            add("hires", &parts.join(":"));
            rest.take("hires");
        }
    }
    words.push("--out image.png".to_owned());
    Snippet {
        id: "command-line",
        title: "Command line",
        code: words.join(" \\\n  "),
        left_out: rest.left_out(),
    }
}

/// A word for a shell.
fn shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/' | '@');
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A value in Python, indented by so many spaces. Texts are written as in JSON, which Python reads alike.
fn python(value: &Value, indent: usize) -> String {
    let inner = " ".repeat(indent + 4);
    let around = |open: char, items: Vec<String>, close: char| match items.is_empty() {
        true => format!("{open}{close}"),
        false => format!("{open}\n{}{}{close}", items.concat(), " ".repeat(indent)),
    };
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Array(all) => around(
            '[',
            all.iter().map(|item| format!("{inner}{},\n", python(item, indent + 4))).collect(),
            ']',
        ),
        Value::Object(all) => {
            let item = |(name, value): (&String, &Value)| {
                format!("{inner}{}: {},\n", Value::from(name.as_str()), python(value, indent + 4))
            };
            around('{', all.iter().map(item).collect(), '}')
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use adire_protocol::{AdapterUse, HiresRequest, Sampler, Schedule, fields::Slot};

    use super::*;

    fn request() -> GenerationRequest {
        GenerationRequest {
            prompt: "Grandma's \"moons\"\nin rows $HOME".to_owned(),
            seed: Some(5),
            sampler: Some(Sampler::Dpmpp2m.into()),
            schedule: Some(Schedule::Karras),
            width: Some(64),
            height: Some(32),
            count: Some(2),
            adapters: vec![AdapterUse::new("adire@v2", 0.5)],
            hires: Some(HiresRequest { scale: Some(2.0), ..HiresRequest::default() }),
            ..GenerationRequest::default()
        }
    }

    #[test]
    fn texts_are_quoted_in_each_language() {
        let snippets = snippets(&request(), "http://localhost:3000");
        let of = |id: &str| snippets.iter().find(|snippet| snippet.id == id).unwrap().code.clone();
        assert!(of("curl").contains(r#"Grandma'\''s \"moons\"\nin rows $HOME"#), "{}", of("curl"));
        assert!(of("openai").contains(r#"prompt="Grandma's \"moons\"\nin rows $HOME""#), "{}", of("openai"));
        assert!(of("openai").contains("size=\"64x32\"") && of("openai").contains("n=2"), "{}", of("openai"));
        assert!(of("webuiapi").contains("<lora:adire@v2:0.5>"), "{}", of("webuiapi"));
        assert!(of("webuiapi").contains("port=3000"), "{}", of("webuiapi"));
        assert!(of("command-line").contains("--hires 2:latent"), "{}", of("command-line"));
        let gradio = snippets.iter().find(|snippet| snippet.id == "gradio").unwrap();
        assert!(gradio.left_out.contains(&"hires fix".to_owned()), "{:?}", gradio.left_out);
        assert!(gradio.code.contains("sampler=\"dpmpp_2m_karras\""), "{}", gradio.code);
    }

    #[test]
    fn every_field_is_in_the_code_or_named_beside_it() {
        for field in FIELDS.iter().filter(|field| !field.name.starts_with("hires.")) {
            let plain = GenerationRequest { prompt: "moons".to_owned(), ..GenerationRequest::default() };
            let mut request = plain.clone();
            let slot = field.slot(&mut request).unwrap();
            let text = match slot {
                Slot::Sampler(_) => "euler",
                Slot::Schedule(_) => "karras",
                Slot::Rng(_) => "cuda",
                Slot::Flag(_) => "true",
                Slot::Seed(_) | Slot::Whole(_) => "8",
                _ => "0.25",
            };
            slot.set(text).unwrap();
            let without = snippets(&plain, "http://localhost:3000");
            for (snippet, without) in snippets(&request, "http://localhost:3000").iter().zip(without) {
                assert!(
                    snippet.code != without.code || !snippet.left_out.is_empty(),
                    "{} in {}",
                    field.name,
                    snippet.title
                );
            }
        }
    }

    #[test]
    fn values_are_pythons() {
        let value = json!({"a": [1, true, null], "b": {}});
        assert_eq!(
            python(&value, 0),
            "{\n    \"a\": [\n        1,\n        True,\n        None,\n    ],\n    \"b\": {},\n}"
        );
        assert_eq!((shell("a-b"), shell(""), shell("a b")), ("a-b".into(), "''".into(), "'a b'".into()));
    }
}
