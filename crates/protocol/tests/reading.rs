//! Parameters as other programs write them: all that can be read is read, the rest is named, and nothing foreign becomes
//! a prompt.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use adire_protocol::{
    AdapterUse, GenerationRequest, Rng, Sampler, infotext,
    reading::{ReadError, TextEntry, read},
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn entries(pairs: &[(&str, &str)]) -> Vec<TextEntry> {
    pairs.iter().map(|(key, text)| TextEntry { key: (*key).to_owned(), text: (*text).to_owned() }).collect()
}

fn of(pairs: &[(&str, &str)]) -> GenerationRequest {
    read(&entries(pairs)).unwrap_or_else(|error| panic!("{error}: {pairs:?}"))
}

fn json_of(key: &str, value: &Value) -> GenerationRequest {
    of(&[(key, &value.to_string())])
}

/// What every image of these tests has in common.
fn same(request: &GenerationRequest) {
    assert_eq!(request.prompt, "a blue cloth with stars", "{request:?}");
    assert_eq!(request.negative_prompt, "blurry", "{request:?}");
    assert_eq!((request.seed, request.steps, request.guidance), (Some(12_345), Some(23), Some(6.5)));
    assert_eq!((request.width, request.height), (Some(512), Some(768)));
}

const LINE: &str = "Steps: 23, Sampler: Euler a, CFG scale: 6.5, Seed: 12345, Size: 512x768";

#[test]
fn no_odd_piece_hides_the_rest() {
    for odd in [
        ", Tiling",
        "\nTemplate: a {blue|red} cloth\nNegative Template: blurry, ugly",
        ", Wildcard prompt: \"a __colour__ cloth,\nwith stars\", Version: v1.5.1",
        ", Prompt: \"never closed, ENSD: 31337",
        ", Hashes: {\"model\": \"abc\", \"vae\": \"d}f\"}",
        ", Broken: {\"a\": [",
        ", : nothing, , ,",
        ",\n\n",
        ", Created Date: 2024-03-16T0858:00.0000000Z",
        "\r\nlast words without any colon",
    ] {
        let request =
            infotext::parse(&format!("a blue cloth with stars\nNegative prompt: blurry\n{LINE}{odd}"));
        let request = request.unwrap();
        same(&request);
        assert_eq!(request.sampling(), Some(Sampler::EulerA.bare()), "{odd}");
    }
    // In another order, on one line, after another image's parameters.
    for text in [
        "a blue cloth with stars\nNegative prompt: blurry\nSampler: Euler a, Seed: 12345, Size: 512x768, Steps: 23, \
         CFG scale: 6.5"
            .to_owned(),
        format!("a blue cloth with stars Negative prompt: blurry {LINE}"),
        format!("a blue cloth with stars\nNegative prompt: blurry {LINE}"),
        format!("a blue cloth with stars\r\nNegative prompt: blurry\r\n{LINE}\r\n"),
    ] {
        same(&infotext::parse(&text).unwrap());
    }
    let twice =
        infotext::parse(&format!("Steps: 9, Sampler: Heun, Seed: 1, Size: 64x64\na cloth\n{LINE}")).unwrap();
    assert_eq!((twice.steps, twice.prompt.lines().last()), (Some(23), Some("a cloth")));
    // Words are not parameters.
    for prompt in
        ["ratio: 2, nice", "Steps: of a stair, stone: grey", "seed: of doubt", "a\nb: c, d: e, f: g"]
    {
        assert_eq!(infotext::parse(prompt).unwrap().prompt, prompt);
    }
}

#[test]
fn what_is_not_used_is_named() {
    let text = format!(
        "red\n{LINE}, Clip skip: 2, ENSD: 31337, Variation seed: 99, Variation seed strength: 0.2, Eta: 0.67, VAE: x.pt, Tiling, Model: m, Version: v1.9.4"
    );
    let request = infotext::parse(&text).unwrap();
    assert_eq!(request.unknown, ["Tiling", "ENSD: 31337", "Eta: 0.67", "VAE: x.pt"]);
    assert_eq!((request.subseed, request.subseed_strength), (Some(99), Some(0.2)));
    let of = |pairs: &str| infotext::parse(&format!("red\nSteps: 3, Seed: 1, {pairs}")).unwrap();
    let unknown = of("Sampler: DPM++ 3M SDE, Schedule type: Exponential");
    assert_eq!(unknown.unknown, ["Sampler: DPM++ 3M SDE", "Schedule type: Exponential"]);
    assert_eq!(unknown.sampling(), None);
    let karras = of("Sampler: Euler, Schedule type: Karras");
    assert_eq!(
        (karras.sampling(), karras.unknown),
        (Some(Sampler::Euler.bare()), vec!["Schedule type: Karras".to_owned()])
    );
    assert_eq!(of("Sampler: DPM++ 2M, Schedule type: Karras").unknown, [""; 0]);
    assert_eq!(of("CFG scale: much, Size: big, Clip skip: 0").unknown.len(), 3);
    let civitai = of(
        "Civitai resources: [{\"type\":\"checkpoint\"},{\"type\":\"lora\",\"weight\":0.7,\"modelVersionId\":5}]",
    );
    assert_eq!(civitai.unknown, ["Civitai lora: (model version 5) at strength 0.7"]);
}

#[test]
fn seeds_stay_or_are_said_to_be_out_of_range() {
    let of = |seed: &str| infotext::parse(&format!("red\nSteps: 3, Sampler: Euler, Seed: {seed}")).unwrap();
    assert_eq!(of("9007199254740991").seed, Some((1 << 53) - 1));
    for far in ["9007199254740992", "6687881544318117707", "18446744073709551616"] {
        let request = of(far);
        assert_eq!((request.seed, request.warnings.len()), (None, 1));
        assert!(request.warnings[0].contains(far), "{:?}", request.warnings);
    }
    assert!(of("6687881544318117707").warnings[0].contains("2767775563 gives the same"));
    let random = of("-1");
    assert_eq!((random.seed, random.unknown.len(), random.warnings.len()), (None, 0, 0));
    let comfy = json_of(
        "prompt",
        &json!({"1": {"class_type": "KSampler", "inputs": {"seed": 18_446_744_073_709_551_615_u64,
        "steps": 3, "positive": ["2", 0], "latent_image": ["9", 0]}}, "2": {"class_type": "CLIPTextEncode", "inputs":
        {"text": "red"}}}),
    );
    assert_eq!((comfy.seed, comfy.prompt.as_str()), (None, "red"));
    assert!(comfy.warnings[0].contains("18446744073709551615"), "{:?}", comfy.warnings);
}

#[test]
fn block_weights_leave_the_strength() {
    for tag in ["<lora:adire:0.5:1,0,0,0,1>", "<lora:adire:0.5:0.5:lbw=IN02>", "<lora:adire:0.5:MIDD>"] {
        let request = infotext::parse(&format!("a {tag} b\n{LINE}")).unwrap();
        assert_eq!(request.adapters, [AdapterUse::new("adire", 0.5)], "{tag}");
        assert!(request.warnings[0].starts_with("Block weights are not used: adire has strength 0.5"));
        assert_eq!(request.prompt, "a b");
    }
}

#[test]
fn a_hires_size_of_nothing_is_none() {
    let of =
        |pairs: &str| infotext::parse(&format!("red\n{LINE}, Denoising strength: 0.5, {pairs}")).unwrap();
    let scaled =
        of("Hires resize: 0x0, Hires upscale: 1.5, Hires steps: 0, Hires upscaler: Latent").hires.unwrap();
    assert_eq!((scaled.scale, scaled.width, scaled.steps), (Some(1.5), None, None));
    let one_side = of("Hires resize: 1024x0, Hires upscale: 2").hires.unwrap();
    assert_eq!((one_side.scale, one_side.width, one_side.height), (None, Some(1024), Some(1536)));
    assert_eq!(of("Hires resize: 0x0, Hires upscaler: None").hires, None);
    assert_eq!(of("Hires resize: 0x0").denoising_strength, Some(0.5));
    let strange = of("Hires upscale: 2, Hires upscaler: 4x-UltraSharp, Hires sampler: Heun");
    assert_eq!(strange.unknown, ["Hires sampler: Heun"]);
    assert!(strange.warnings[0].contains("4x-UltraSharp"));
}

#[test]
fn swarm_ui_is_read() {
    let request = json_of(
        "parameters",
        &json!({"sui_image_params": {
        "prompt": "a blue cloth with stars", "negativeprompt": "blurry", "model": "m", "images": 1, "seed": 12345,
        "steps": 23, "cfgscale": 6.5, "aspectratio": "custom", "width": 512, "height": 768, "sampler": "dpmpp_2m",
        "scheduler": "karras", "loras": ["styles/adire-v2", "b"], "loraweights": ["0.8", "0.25"],
        "clipstopatlayer": -2, "variationseed": 3, "automaticvae": true, "swarm_version": "0.9.3.1"},
        "sui_extra_data": {"date": "2024-01-01"}}),
    );
    same(&request);
    assert_eq!(request.sampling(), Some(Sampler::Dpmpp2m.automatic()));
    assert_eq!(request.adapters, [AdapterUse::new("adire-v2", 0.8), AdapterUse::new("b", 0.25)]);
    assert_eq!((request.clip_skip, request.rng), (Some(2), Some(Rng::Cpu)));
    assert_eq!(request.unknown, ["variationseed: 3"]);
}

#[test]
fn a_strength_that_is_no_number_is_named() {
    let with = |loras: serde_json::Value, weights: serde_json::Value| {
        json_of(
            "parameters",
            &json!({"sui_image_params": {"prompt": "a blue cloth", "seed": 1, "steps": 23, "loras": loras,
                "loraweights": weights}}),
        )
    };
    for strange in ["much", "inf", "NaN", "1e400", ""] {
        let request = with(json!(["a", "b"]), json!([strange, " -0.5"]));
        assert_eq!(request.adapters, [AdapterUse::new("a", 1.0), AdapterUse::new("b", -0.5)]);
        assert_eq!(
            request.warnings,
            [format!("The strength of a, “{strange}”, is not a number, so it was skipped.")]
        );
    }
    let few = with(json!(["a", "b"]), json!("0.8"));
    assert_eq!(few.adapters, [AdapterUse::new("a", 0.8), AdapterUse::new("b", 1.0)]);
    assert!(few.warnings.is_empty());
    let gap = with(json!(["a", "b"]), json!([null, 0.5]));
    assert_eq!(gap.adapters, [AdapterUse::new("a", 1.0), AdapterUse::new("b", 0.5)]);
    let nested = with(json!([["a.safetensors", [1]], {"model": "b", "weight": "much"}]), json!(null));
    assert_eq!(nested.adapters, [AdapterUse::new("a", 1.0), AdapterUse::new("b", 1.0)]);
    assert_eq!(nested.warnings.len(), 2);
    let graph = json_of(
        "prompt",
        &json!({
            "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a blue cloth"}},
            "2": {"class_type": "LoraLoader", "inputs": {"lora_name": "a.safetensors", "strength_model": ["9", 0],
                "strength_clip": 0.5, "model": ["4", 0]}},
            "3": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 23, "cfg": 7.0, "positive": ["1", 0],
                "negative": ["1", 0], "model": ["2", 0], "latent_image": ["5", 0]}},
        }),
    );
    let te_strength = Some(0.5);
    assert_eq!(graph.adapters, [AdapterUse { te_strength, ..AdapterUse::new("a", 1.0) }]);
    assert_eq!(
        graph.warnings.last().unwrap(),
        "The strength of a, “[\"9\",0]”, is not a number, so it was skipped."
    );
}

#[test]
fn fooocus_is_read_in_both_of_its_forms() {
    let new = json_of(
        "parameters",
        &json!({"adm_guidance": "(1.5, 0.8, 0.3)", "base_model": "m.safetensors",
        "guidance_scale": 6.5, "negative_prompt": "blurry", "prompt": "a blue cloth with stars",
        "resolution": "(512, 768)", "sampler": "euler_ancestral", "scheduler": "karras", "seed": "12345", "steps": 23,
        "sharpness": 2.0, "loras": [["adire.safetensors", 0.5]], "lora_combined_2": "b.safetensors : -0.1",
        "version": "Fooocus v2.5.5"}),
    );
    same(&new);
    let mut adapters = new.adapters.clone();
    adapters.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(adapters, [AdapterUse::new("adire", 0.5), AdapterUse::new("b", -0.1)]);
    assert_eq!((new.sampling(), new.rng), (Some(Sampler::EulerA.bare()), Some(Rng::Cpu)));
    assert_eq!(new.unknown, ["scheduler: karras", "adm_guidance: (1.5, 0.8, 0.3)", "sharpness: 2.0"]);
    let old = json_of(
        "UserComment",
        &json!({"Prompt": "a blue cloth with stars", "Negative Prompt": "blurry",
        "Resolution": "(512, 768)", "Guidance Scale": 6.5, "Seed": "12345", "Steps": 23, "Sampler": "dpmpp_2m_sde_gpu",
        "Scheduler": "karras", "ADM Guidance": "(1.5, 0.8, 0.3)", "LoRA 1": "adire.safetensors : 0.5"}),
    );
    same(&old);
    assert_eq!((old.sampling(), old.adapters.len()), (Some(Sampler::Dpmpp2mSde.automatic()), 1));
    let a1111 = format!(
        "a blue cloth with stars\nNegative prompt: blurry\n{LINE}, ADM Guidance: \"(1.5, 0.8, 0.3)\", Version: Fooocus v2.5"
    );
    same(&of(&[("parameters", &a1111), ("fooocus_scheme", "a1111")]));
}

#[test]
fn invoke_ai_is_read() {
    let request = json_of(
        "invokeai_metadata",
        &json!({"app_version": "4.2.0", "generation_mode": "txt2img",
        "positive_prompt": "a blue cloth with stars", "negative_prompt": "blurry", "width": 512, "height": 768,
        "seed": 12345, "rand_device": "cpu", "cfg_scale": 6.5, "cfg_rescale_multiplier": 0.0, "steps": 23,
        "scheduler": "dpmpp_2m_k", "clip_skip": 0, "model": {"name": "m", "base": "sd-1"},
        "loras": [{"model": {"name": "adire"}, "weight": 0.6}], "controlnets": [{"x": 1}]}),
    );
    same(&request);
    assert_eq!((request.sampling(), request.clip_skip), (Some(Sampler::Dpmpp2m.automatic()), Some(1)));
    assert_eq!(request.adapters, [AdapterUse::new("adire", 0.6)]);
    assert_eq!(request.unknown, ["controlnets: [{\"x\":1}]"]);
}

#[test]
fn novel_ai_easy_diffusion_and_draw_things_are_read() {
    let comment = json!({"steps": 23, "sampler": "k_euler_ancestral", "seed": 12345, "scale": 6.5, "uc": "blurry",
        "width": 512, "height": 768, "sm": false, "cfg_rescale": 0.2, "noise_schedule": "native"});
    let novel = of(&[
        ("Title", "AI generated image"),
        ("Description", "a blue cloth with stars"),
        ("Software", "NovelAI"),
        ("Comment", &comment.to_string()),
    ]);
    same(&novel);
    assert_eq!(
        (novel.sampling(), novel.unknown),
        (Some(Sampler::EulerA.bare()), vec!["cfg_rescale: 0.2".to_owned()])
    );
    let easy = of(&[
        ("prompt", "a blue cloth with stars"),
        ("negative_prompt", "blurry"),
        ("seed", "12345"),
        ("num_inference_steps", "23"),
        ("guidance_scale", "6.5"),
        ("width", "512"),
        ("height", "768"),
        ("sampler_name", "ddim"),
        ("use_face_correction", "GFPGANv1.4"),
    ]);
    same(&easy);
    assert_eq!((easy.sampling(), easy.unknown.len()), (Some(Sampler::Ddim.bare()), 1));
    let draw = json_of(
        "UserComment",
        &json!({"c": "a blue cloth with stars", "uc": "blurry", "seed": 12345, "steps": 23,
        "scale": 6.5, "sampler": "DPM++ 2M Karras", "size": "512x768", "strength": 1,
        "lora": [{"model": "adire.ckpt", "weight": 0.6}], "model": "m"}),
    );
    same(&draw);
    assert_eq!(
        (draw.sampling(), draw.adapters),
        (Some(Sampler::Dpmpp2m.automatic()), vec![AdapterUse::new("adire", 0.6)])
    );
}

/// ComfyUI's usual graph with two LoRA loaders and a clip skip.
fn graph() -> Value {
    json!({
        "3": {"class_type": "KSampler", "inputs": {"seed": 12345, "steps": ["20", 0], "cfg": 6.5, "sampler_name":
            "dpmpp_2m", "scheduler": "karras", "denoise": 1.0, "model": ["11", 0], "positive": ["6", 0],
            "negative": ["7", 0], "latent_image": ["5", 0]}},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "m.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 4}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["21", 0], "clip": ["12", 0]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["12", 0]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "x"}},
        "10": {"class_type": "LoraLoader", "inputs": {"lora_name": "a\\first.safetensors", "strength_model": 0.5,
            "strength_clip": 0.25, "model": ["4", 0], "clip": ["4", 1]}},
        "11": {"class_type": "LoraLoader", "inputs": {"lora_name": "second.safetensors", "strength_model": 1,
            "strength_clip": 1, "model": ["10", 0], "clip": ["10", 1]}},
        "12": {"class_type": "CLIPSetLastLayer", "inputs": {"stop_at_clip_layer": -2, "clip": ["11", 1]}},
        "20": {"class_type": "PrimitiveInt", "inputs": {"value": 23}},
        "21": {"class_type": "StringConcatenate", "inputs": {"string_a": "a blue cloth", "string_b": ["22", 0],
            "delimiter": " "}},
        "22": {"class_type": "PrimitiveString", "inputs": {"value": "with stars"}},
    })
}

#[test]
fn comfy_uis_graph_is_followed() {
    let request = json_of("prompt", &graph());
    same(&request);
    assert_eq!((request.sampling(), request.clip_skip), (Some(Sampler::Dpmpp2m.automatic()), Some(2)));
    assert_eq!(request.rng, Some(Rng::Cpu));
    let first = AdapterUse { te_strength: Some(0.25), ..AdapterUse::new("first", 0.5) };
    assert_eq!(request.adapters, [first, AdapterUse::new("second", 1.0)]);
    let texts = ["PrimitiveInt", "PrimitiveString", "StringConcatenate"]
        .map(|class| format!("ComfyUI node: {class}"));
    assert_eq!(request.unknown, texts);
    assert_eq!(request.warnings, [""; 0]);

    // A second pass, a node in between, and a chunk of A1111's text beside it, which goes first.
    let mut larger = graph();
    larger["30"] = json!({"class_type": "LatentUpscale", "inputs": {"samples": ["3", 0], "width": 1024, "height": 1536}});
    larger["1"] = json!({"class_type": "KSampler", "inputs": {"seed": 1, "steps": 9, "cfg": 1, "sampler_name": "euler",
        "scheduler": "normal", "denoise": 0.5, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0],
        "latent_image": ["30", 0]}});
    larger["31"] = json!({"class_type": "ControlNetApplyAdvanced", "inputs": {"positive": ["6", 0], "negative": ["7", 0]}});
    larger["3"]["inputs"]["positive"] = json!(["31", 0]);
    larger["3"]["inputs"]["negative"] = json!(["31", 1]);
    let request = json_of("prompt", &larger);
    same(&request);
    assert!(request.warnings[0].contains("2 times"), "{:?}", request.warnings);
    assert!(request.unknown.contains(&"ComfyUI node: ControlNetApplyAdvanced".to_owned()));
    let text = format!("something else\n{LINE}");
    assert_eq!(of(&[("prompt", &graph().to_string()), ("parameters", &text)]).prompt, "something else");
}

#[test]
fn comfy_uis_other_samplers_and_its_editors_form_are_read() {
    let custom = json!({
        "1": {"class_type": "SamplerCustomAdvanced", "inputs": {"noise": ["2", 0], "guider": ["3", 0], "sampler": ["4", 0],
            "sigmas": ["5", 0], "latent_image": ["6", 0]}},
        "2": {"class_type": "RandomNoise", "inputs": {"noise_seed": 12345}},
        "3": {"class_type": "CFGGuider", "inputs": {"cfg": 6.5, "model": ["9", 0], "positive": ["7", 0], "negative": ["8", 0]}},
        "4": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
        "5": {"class_type": "BasicScheduler", "inputs": {"scheduler": "normal", "steps": 23, "denoise": 1, "model": ["9", 0]}},
        "6": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "a blue cloth with stars", "clip": ["9", 1]}},
        "8": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["9", 1]}},
        "9": {"class_type": "LoraLoaderModelOnly", "inputs": {"lora_name": "adire.safetensors", "strength_model": 0.5}},
    });
    let request = json_of("prompt", &custom);
    same(&request);
    assert_eq!((request.sampling(), request.unknown.len()), (Some(Sampler::Euler.bare()), 0));
    assert_eq!(request.adapters, [AdapterUse::new("adire", 0.5)]);

    let workflow = json!({"last_node_id": 9, "nodes": [
        {"id": 3, "type": "KSampler", "mode": 0, "inputs": [{"name": "model", "link": 1}, {"name": "positive", "link": 4},
            {"name": "negative", "link": 6}, {"name": "latent_image", "link": 2}],
            "widgets_values": [12345, "randomize", 23, 6.5, "euler_ancestral", "normal", 1]},
        {"id": 5, "type": "EmptyLatentImage", "widgets_values": [512, 768, 1]},
        {"id": 6, "type": "CLIPTextEncode", "inputs": [{"name": "clip", "link": 3}],
            "widgets_values": ["a blue cloth with stars"]},
        {"id": 7, "type": "CLIPTextEncode", "inputs": [{"name": "clip", "link": 3}], "widgets_values": ["blurry"]},
        {"id": 8, "type": "LoraLoader", "mode": 4, "inputs": [{"name": "model", "link": 8}],
            "widgets_values": ["off.safetensors", 1, 1]},
        {"id": 9, "type": "LoraLoader", "inputs": [], "widgets_values": ["adire.safetensors", 0.5, 0.5]},
    ], "links": [[1, 8, 0, 3, 0, "MODEL"], [2, 5, 0, 3, 3, "LATENT"], [3, 9, 1, 6, 0, "CLIP"],
        [4, 6, 0, 3, 1, "CONDITIONING"], [6, 7, 0, 3, 2, "CONDITIONING"], [8, 9, 0, 8, 0, "MODEL"]], "version": 0.4});
    let request = json_of("workflow", &workflow);
    same(&request);
    assert_eq!(
        (request.sampling(), request.adapters),
        (Some(Sampler::EulerA.bare()), vec![AdapterUse::new("adire", 0.5)])
    );
}

#[test]
fn circles_and_missing_nodes_are_borne() {
    let names: Vec<String> = graph().as_object().unwrap().keys().cloned().collect();
    for missing in &names {
        let mut broken = graph();
        broken.as_object_mut().unwrap().remove(missing);
        let _ = read(&entries(&[("prompt", &broken.to_string())]));
    }
    // Every link leads back to the sampler, to itself, nowhere.
    for target in ["3", "6", "10", "21", "99"] {
        let text = graph().to_string();
        let linked = regex_like(&text, target);
        let _ = read(&entries(&[("prompt", &linked)]));
    }
    let mut circle = json!({});
    for at in 0..2000 {
        circle[at.to_string()] = json!({"class_type": "KSampler", "inputs": {"seed": [((at + 1) % 2000).to_string(), 0],
            "text": [((at + 1) % 2000).to_string(), 0], "positive": [((at + 1) % 2000).to_string(), 0],
            "model": [((at + 1) % 2000).to_string(), 0], "latent_image": [((at + 1) % 2000).to_string(), 0]}});
    }
    assert!(read(&entries(&[("prompt", &circle.to_string())])).is_err());
}

/// A graph's text with all links leading to one node.
fn regex_like(text: &str, target: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("[\"") {
        let (before, link) = rest.split_at(at + 2);
        out.push_str(before);
        let end = link.find('"').unwrap();
        out.push_str(target);
        rest = &link[end..];
    }
    out + rest
}

#[test]
fn json_that_is_not_understood_never_becomes_a_prompt() {
    for json in [
        "{}",
        "[]",
        "[1, 2]",
        r#"{"a": 1}"#,
        r#"{"prompt": "only words"}"#,
        r#"{"sui_image_params": {}}"#,
        r#"{"sui_image_params": 7}"#,
        r#"{"prompt": {"1": {"class_type": "X", "inputs": {}}}}"#,
        r#"{"nodes": [], "links": []}"#,
        r#"{"prompt": "cut off", "steps": 2"#,
        "{\n  \"sui_image_params\": {",
        r#"{"prompt": "{\"a\": 1}", "steps": 2}"#,
        r#"[{"prompt": "x", "steps": 2}]"#,
    ] {
        for key in ["parameters", "prompt", "workflow", "UserComment", "Comment", "invokeai_metadata"] {
            match read(&entries(&[(key, json)])) {
                Err(error) => assert!(
                    matches!(&error, ReadError::NotUnderstood(keys) if keys == &[key.to_owned()]),
                    "{key} {json}: {error}"
                ),
                Ok(request) => assert!(!request.prompt.contains(['{', '[']), "{key} {json}: {request:?}"),
            }
        }
    }
    assert_eq!(read(&[]), Err(ReadError::Nothing));
    assert_eq!(
        read(&entries(&[("Software", "GIMP"), ("Comment", "Created with GIMP")])),
        Err(ReadError::Nothing)
    );
    // Braces are dynamic prompts' syntax, too.
    let text = format!("{{red|blue}} cloth\n{LINE}");
    assert_eq!(of(&[("parameters", &text)]).prompt, "{red|blue} cloth");
}

#[test]
fn an_empty_prompt_is_one() {
    let request = of(&[("parameters", &format!("\nNegative prompt: blurry\n{LINE}"))]);
    assert_eq!((request.prompt.as_str(), request.negative_prompt.as_str()), ("", "blurry"));
    assert_eq!(of(&[("parameters", LINE)]).seed, Some(12_345));
}

/// Notes are for people: few, short, on one line.
fn bounded(request: &GenerationRequest) {
    for note in request.unknown.iter().chain(&request.warnings) {
        assert!(note.chars().count() < 700 && !note.contains('\n'), "{note}");
    }
    assert!(request.unknown.len() <= 64 && request.warnings.len() <= 70);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        for key in ["parameters", "prompt", "Comment"] {
            if let Ok(request) = read(&entries(&[(key, &text)])) {
                bounded(&request);
            }
        }
    }

    #[test]
    fn no_line_makes_it_panic(
        text in "(red|\\{|\\[|\"|:|, |\n|Steps: [0-9]{1,3}|Seed: -?[0-9]{1,25}|Size: [0-9x]{0,9}|Negative prompt:|\
                 Sampler: |Hires resize: [0-9x]{0,9}|Hires upscale: [0-9.]{0,4}|<lora:[a-z:=0-9.]{0,9}>|\\\\|é){0,40}"
    ) {
        if let Some(request) = infotext::parse(&text) {
            bounded(&request);
        }
    }

    #[test]
    fn no_damaged_graph_makes_it_panic(at in 0_usize..3000, with in "[\\[\\]{}\",:0-9a-z]{0,3}", cut in 0_usize..4) {
        let mut text = graph().to_string();
        let at = at % text.len();
        text.replace_range(at..(at + cut).min(text.len()), &with);
        for key in ["prompt", "parameters"] {
            if let Ok(request) = read(&entries(&[(key, &text)])) {
                bounded(&request);
                let is_json = request.prompt.starts_with('{');
                prop_assert!(!is_json, "{}", request.prompt);
            }
        }
    }
}
