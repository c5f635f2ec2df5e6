//! The form as code: the same request by curl, from Python, from JavaScript and on the command line. A plain document.

use adire_protocol::{FieldError, GenerationRequest, Rng, lora_tag};
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
    left_out: Vec<&'static str>,
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
    let no_start = starts(request);
    vec![
        Snippet {
            id: "curl",
            title: "curl",
            code: curl,
            left_out: if many { vec!["images after the first"] } else { vec![] },
        },
        Snippet { id: "requests", title: "Python, requests", code: requests, left_out: vec![] },
        Snippet { id: "openai", title: "Python, openai", code: openai(body, origin), left_out: vec![] },
        gradio(request, origin),
        Snippet {
            id: "webuiapi",
            title: "Python, webuiapi (AUTOMATIC1111)",
            code: webuiapi(request, origin),
            left_out: no_start.clone(),
        },
        Snippet { id: "javascript", title: "JavaScript", code: javascript, left_out: vec![] },
        Snippet {
            id: "command-line",
            title: "Command line",
            code: command_line(request),
            left_out: no_start,
        },
    ]
}

/// What the ways cannot say that take files and not names of uploads.
fn starts(request: &GenerationRequest) -> Vec<&'static str> {
    let all = [(request.init_image.is_some(), "the init image"), (request.mask.is_some(), "the mask")];
    all.into_iter().filter(|(is_there, _)| *is_there).map(|(_, name)| name).collect()
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
    if let (Some(width), Some(height)) = (fields.remove("width"), fields.remove("height")) {
        body.insert("size".to_owned(), format!("{width}x{height}").into());
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
    let mut left_out = starts(request);
    let first = request.adapters.first();
    for (is_there, name) in [
        (request.count.unwrap_or(1) > 1, "images after the first"),
        (request.adapters.len() > 1, "adapters after the first"),
        (first.is_some_and(|adapter| adapter.te_strength.is_some()), "strength in the text encoder"),
        (request.hires.is_some(), "hires fix"),
        (request.per_line == Some(true), "a prompt on each line"),
        (request.schedule.is_some() && request.sampler.is_none(), "schedule"),
        (request.rng.is_some_and(|rng| rng != Rng::Cpu), "noise source"),
        (request.clip_skip.is_some_and(|skip| skip != 1), "clip skip"),
    ] {
        if is_there {
            left_out.push(name);
        }
    }
    let sampler = request.sampling().map(|sampling| sampling.to_string());
    let arguments = [
        ("prompt", Some(json!(request.prompt))),
        (
            "negative_prompt",
            Some(&request.negative_prompt).filter(|text| !text.is_empty()).map(|text| json!(text)),
        ),
        ("seed", request.seed.map(|seed| json!(seed))),
        ("steps", request.steps.map(|steps| json!(steps))),
        ("guidance", request.guidance.map(|guidance| json!(guidance))),
        ("width", request.width.map(|width| json!(width))),
        ("height", request.height.map(|height| json!(height))),
        ("sampler", sampler.map(|sampler| json!(sampler))),
        ("adapter", first.map(|adapter| json!(adapter.name))),
        ("adapter_strength", first.map(|adapter| json!(adapter.strength))),
        ("subseed", request.subseed.map(|seed| json!(seed))),
        ("subseed_strength", request.subseed_strength.map(|strength| json!(strength))),
    ];
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

fn webuiapi(request: &GenerationRequest, origin: &str) -> String {
    let (scheme, host) = origin.split_once("://").unwrap_or(("http", origin));
    let https = scheme == "https";
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, port),
        _ => (host, if https { "443" } else { "80" }),
    };
    let sampling = request.sampling();
    let mut arguments = vec![
        ("prompt", Some(json!(tagged(request)))),
        ("negative_prompt", Some(json!(request.negative_prompt)).filter(|text| *text != "")),
        ("seed", request.seed.map(|seed| json!(seed))),
        ("subseed", request.subseed.map(|seed| json!(seed))),
        ("subseed_strength", request.subseed_strength.map(|strength| json!(strength))),
        ("steps", request.steps.map(|steps| json!(steps))),
        ("cfg_scale", request.guidance.map(|guidance| json!(guidance))),
        ("width", request.width.map(|width| json!(width))),
        ("height", request.height.map(|height| json!(height))),
        ("sampler_name", sampling.map(|sampling| json!(sampling.sampler.label()))),
        ("scheduler", sampling.map(|sampling| json!(sampling.schedule.name()))),
        ("batch_size", request.count.filter(|count| *count > 1).map(|count| json!(count))),
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
    format!(
        "import base64\nimport webuiapi\n\napi = webuiapi.WebUIApi(host=\"{name}\", port={port}{https})\n# With a token: api.set_auth(\"any\", TOKEN)\nresult = api.txt2img(\n{call})\nfor number, image in enumerate(result.json[\"images\"]):\n    with open(f\"image-{{number}}.png\", \"wb\") as file:\n        file.write(base64.b64decode(image))",
    )
}

/// On the server itself, where the model is.
fn command_line(request: &GenerationRequest) -> String {
    let mut words = vec!["adire generate".to_owned(), format!("--prompt {}", shell(&tagged(request)))];
    let mut add = |name: &str, value: Option<String>| {
        words.extend(value.map(|value| format!("--{name} {}", shell(&value))));
    };
    add("negative", Some(request.negative_prompt.clone()).filter(|text| !text.is_empty()));
    add("seed", request.seed.map(|seed| seed.to_string()));
    add("subseed", request.subseed.map(|seed| seed.to_string()));
    add("subseed-strength", request.subseed_strength.map(|strength| strength.to_string()));
    add("steps", request.steps.map(|steps| steps.to_string()));
    add("guidance", request.guidance.map(|guidance| guidance.to_string()));
    add("width", request.width.map(|width| width.to_string()));
    add("height", request.height.map(|height| height.to_string()));
    add("sampler", request.sampler.map(|sampler| sampler.to_string()));
    add("schedule", request.schedule.map(|schedule| schedule.to_string()));
    add("rng", request.rng.map(|rng| rng.to_string()));
    add("clip-skip", request.clip_skip.map(|skip| skip.to_string()));
    if let Some(hires) = &request.hires {
        let upscaler = hires.upscaler.unwrap_or_default().name();
        let parts = [
            hires.scale.map(|scale| scale.to_string()),
            Some(upscaler.to_owned()),
            hires.denoising_strength.map(|strength| strength.to_string()),
            hires.steps.map(|steps| steps.to_string()),
        ];
        let parts: Vec<String> = parts.into_iter().map_while(|part| part).collect();
        add("hires", Some(parts.join(":")).filter(|parts| !parts.is_empty()));
    }
    words.push("--out image.png".to_owned());
    words.join(" \\\n  ")
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
    use adire_protocol::{AdapterUse, HiresRequest, Sampler, Schedule};

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
        assert!(gradio.left_out.contains(&"hires fix"), "{:?}", gradio.left_out);
        assert!(gradio.code.contains("sampler=\"dpmpp_2m_karras\""), "{}", gradio.code);
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
