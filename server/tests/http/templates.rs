//! Templates of prompts, wildcard lists and variations, through every API.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::Server;

const LISTS: &str = "# Dyes\n[colour]\nindigo\nochre\nteal\nmadder\n\n[cloth]\n__colour__ {silk|wool}\n";

impl Server {
    async fn made(&self, request: Value) -> Value {
        let id = self.submit(&request.to_string()).await;
        self.finished(&id).await
    }
}

fn prompts(generation: &Value) -> Vec<String> {
    let images = generation["images"].as_array().unwrap();
    images.iter().map(|image| image["recipe"]["spec"]["prompt"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn each_image_has_its_own_seeds_choice_and_both_are_in_its_recipe() {
    let server = Server::start().await;
    server.studio.set_wildcards(LISTS).await.unwrap();
    let template = "{a|b|c} __cloth__, \\{x|y\\}, __no__";
    let request = |seed: u64, count: u64| json!({"prompt": template, "negative_prompt": "{d|e}", "seed": seed, "count": count, "steps": 2});
    let made = server.made(request(40, 8)).await;
    let all = prompts(&made);
    assert!(all.iter().any(|prompt| *prompt != all[0]), "{all:?}");
    for prompt in &all {
        let is_chosen = ["a ", "b ", "c "].iter().any(|start| prompt.starts_with(start));
        assert!(is_chosen && prompt.ends_with(", \\{x|y\\}, __no__"), "{prompt}");
        assert!(!prompt.contains("colour") && !prompt.contains("cloth"), "{prompt}");
    }
    let third = server.made(request(43, 1)).await;
    assert_eq!(prompts(&third)[0], all[3], "image k is that of seed + k");

    let image = &made["images"][3];
    let kept = &image["recipe"]["spec"]["template"];
    assert_eq!((&kept["prompt"], &kept["negative_prompt"]), (&json!(template), &json!("{d|e}")));
    assert_eq!((&kept["per_line"], &kept["images"]), (&json!(false), &json!([])));
    let infotext = image["infotext"].as_str().unwrap();
    assert!(
        infotext.starts_with(&all[3]) && infotext.contains("Template: \"{a|b|c} __cloth__"),
        "{infotext}"
    );
    assert_eq!(made["spec"]["template"]["images"].as_array().unwrap().len(), 8);

    // The file brings back the prompt that it was made of, which stays what it is.
    let file = server.get(image["url"].as_str().unwrap()).await.body;
    let read =
        server.send(axum::http::Request::post("/api/v1/recipe").body(file.into()).unwrap()).await.json();
    assert_eq!(read["prompt"], all[3].as_str());
    let again = server.made(read).await;
    assert_eq!(prompts(&again)[0], all[3]);
    assert_eq!(again["images"][0]["recipe"]["spec"].get("template"), None);
    // And the history finds it by a word that only the result has.
    let word = all[3].split(' ').nth(1).unwrap();
    let found = server.get(&format!("/api/v1/history?q={word}")).await;
    assert_eq!(found.status, StatusCode::OK);
}

#[tokio::test]
async fn lines_are_prompts_of_their_own_where_that_is_wanted() {
    let server = Server::start().await;
    let request = |per_line: bool, count: u32| json!({"prompt": "red\n\n blue ", "per_line": per_line, "count": count, "seed": 1, "steps": 2});
    assert_eq!(prompts(&server.made(request(false, 1)).await), ["red\n\n blue"]);
    let made = server.made(request(true, 2)).await;
    assert_eq!(prompts(&made), ["red", "red", "blue", "blue"]);
    let seeds =
        made["images"].as_array().unwrap().iter().map(|image| image["recipe"]["spec"]["seed"].clone());
    assert_eq!(seeds.collect::<Vec<_>>(), [1, 2, 3, 4]);
    let refused = server.post("/api/v1/generations", &request(true, 5).to_string()).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let message = "2 lines × 5 of each are 10 images; the limit is 8.";
    assert_eq!(refused.problem()["errors"][0], json!({"field": "prompt", "message": message}));
}

#[tokio::test]
async fn an_option_may_name_an_adapter_of_its_own() {
    let server = Server::start().await;
    server.adapter("ink", 1).await;
    server.adapter("wax", 1).await;
    let request = json!({"prompt": "{<lora:ink>|<lora:wax:0.5>} moons", "seed": 3, "count": 8, "steps": 2});
    let made = server.made(request).await;
    let mut seen = Vec::new();
    for image in made["images"].as_array().unwrap() {
        let recipe = &image["recipe"];
        let used = recipe["spec"]["adapters"].as_array().unwrap();
        assert_eq!((used.len(), recipe["adapter_hashes"].as_array().unwrap().len()), (1, 1));
        let name = used[0]["name"].as_str().unwrap();
        assert!(recipe["spec"]["prompt"].as_str().unwrap().contains(name), "{recipe}");
        seen.push((name.to_owned(), recipe["adapter_hashes"][0].clone()));
    }
    seen.sort_by_key(|(name, _)| name.clone());
    seen.dedup();
    assert_eq!(seen.len(), 2, "{seen:?}");
    let missing = r#"{"prompt": "{<lora:none>|<lora:none>}", "steps": 2}"#;
    assert_eq!(server.post("/api/v1/generations", missing).await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn templates_without_an_end_are_refused() {
    let server = Server::start().await;
    server.studio.set_wildcards("[loop]\n__loop__ x").await.unwrap();
    let refused = server.post("/api/v1/generations", r#"{"prompt": "__loop__"}"#).await;
    assert_eq!(refused.problem()["errors"][0]["message"], "The wildcard list loop contains itself.");
    let long = format!(r#"{{"prompt": "{{{}|{}}}"}}"#, "x".repeat(4001), "y".repeat(4001));
    let refused = server.post("/api/v1/generations", &long).await;
    assert_eq!(
        refused.problem()["errors"][0]["message"],
        "The template becomes longer than 4000 characters."
    );
}

#[tokio::test]
async fn variations_keep_the_seed_and_count_the_variation_seed() {
    let server = Server::start().await;
    let varied = json!({
        "prompt": "{a|b|c|d} moons", "seed": 7, "subseed": 20, "subseed_strength": 0.25, "count": 3, "steps": 2,
    });
    let made = server.made(varied).await;
    for (k, image) in made["images"].as_array().unwrap().iter().enumerate() {
        let spec = &image["recipe"]["spec"];
        assert_eq!((spec["seed"].clone(), spec["subseed"].clone()), (json!(7), json!(20 + k)));
        let pairs = format!("Variation seed: {}, Variation seed strength: 0.25", 20 + k);
        assert!(image["infotext"].as_str().unwrap().contains(&pairs), "{image}");
        assert_eq!(spec["prompt"], made["images"][0]["recipe"]["spec"]["prompt"], "one prompt");
    }
    let random = server.made(json!({"prompt": "moons", "subseed_strength": 0.5, "steps": 2})).await;
    assert!(random["spec"]["subseed"].is_u64(), "{random}");
    let refused = server.post("/api/v1/generations", r#"{"prompt": "x", "subseed_strength": 2}"#).await;
    assert_eq!(refused.problem()["errors"][0]["message"], "Variation strength must be 0 to 1; got 2.");

    let body = json!({"prompt": "moons", "seed": 7, "subseed": 20, "subseed_strength": 0.25, "batch_size": 2, "steps": 2});
    let answer = server.post("/sdapi/v1/txt2img", &body.to_string()).await.json();
    let info: Value = serde_json::from_str(answer["info"].as_str().unwrap()).unwrap();
    assert_eq!((&info["all_seeds"], &info["all_subseeds"]), (&json!([7, 7]), &json!([20, 21])));
    assert_eq!((&info["subseed_strength"], &info["adire"]["notes"]), (&json!(0.25), &json!([])));
    let read = json!({ "image": answer["images"][1] });
    let read = server.post("/sdapi/v1/png-info", &read.to_string()).await.json();
    assert_eq!(read["parameters"]["Variation seed"], "21");
}

#[tokio::test]
async fn the_admins_lists_are_checked_kept_and_listed() {
    let server = Server::start().await;
    let save = async |text: &str| {
        let encoded = text.replace('\n', "%0A").replace('[', "%5B").replace(']', "%5D").replace('|', "%7C");
        let request = axum::http::Request::post("/admin/wildcards")
            .header("content-type", "application/x-www-form-urlencoded");
        server.send(request.body(format!("wildcards={encoded}").into()).unwrap()).await
    };
    let refused = save("[colour]\nindigo|ochre").await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text().contains("Line 2: braces must match") && refused.text().contains("indigo|ochre"));
    assert_eq!(server.get("/api/v1/wildcards").await.json(), json!({}));
    let saved = save("[colour]\nindigo\n2::ochre").await;
    assert_eq!(
        (saved.status, saved.header("location")),
        (StatusCode::SEE_OTHER, "/admin/wildcards?done=save")
    );
    let page = server.get("/admin/wildcards?done=save").await.text();
    assert!(page.contains("Lists saved.") && page.contains("2::ochre"), "{page}");
    assert_eq!(server.get("/api/v1/wildcards").await.json(), json!({"colour": ["indigo", "2::ochre"]}));
    assert!(server.get("/").await.text().contains("Wildcards: __colour__"));
}

#[tokio::test]
async fn the_form_without_a_script_leads_to_code() {
    let server = Server::start().await;
    server.adapter("ink", 1).await;
    let studio = server.get("/").await.text();
    assert!(
        studio.contains("formaction=\"/code\"") && studio.contains("name=\"subseed_strength\""),
        "no button"
    );
    let query = "prompt=%7Bred%7Cblue%7D+moons&seed=7&subseed=3&subseed_strength=0.25&adapters%5B0%5D%5Bname%5D=ink%40v1\
                 &adapters%5B0%5D%5Bstrength%5D=0.5&init_image_file=&size=64x64";
    let page = server.get(&format!("/code?{query}")).await;
    assert_eq!(page.status, StatusCode::OK);
    let text = page.text();
    for wanted in ["{red|blue} moons", "subseed_strength=0.25", "&lt;lora:ink@v1:0.5&gt;", "adapter=ink%40v1"]
    {
        assert!(text.contains(wanted), "{wanted} is not in {text}");
    }
}
