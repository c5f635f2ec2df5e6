//! Evaluations and the gate from outside, on the fake backend.

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use serde_json::{Value, json};

use crate::{
    datasets::{DATASETS, bring, png},
    support::{Answer, PATIENCE, Server},
};

const EVALUATIONS: &str = "/admin/api/evaluations";
/// Small, and with two colours that the fake judge knows.
const SUITE: &str =
    "name = 'small'\nseeds = [1]\nprompts = ['a red cloth, {trigger}', 'a blue cloth, {trigger}']";

async fn start(server: &Server, body: Value) -> Value {
    let taken = server.post(EVALUATIONS, &body.to_string()).await;
    assert_eq!(taken.status, StatusCode::ACCEPTED, "{}", taken.text());
    let record = taken.json();
    assert_eq!(taken.header("location"), format!("{EVALUATIONS}/{}", record["id"].as_str().unwrap()));
    record
}

async fn until(server: &Server, address: &str, state: &str, at: &str) -> Value {
    let waiting = async {
        loop {
            let detail = server.get(address).await.json();
            if detail.pointer(at).is_some_and(|found| found == state) {
                return detail;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{address} comes to {state}"))
}

async fn ended(server: &Server, id: &str) -> Value {
    until(server, &format!("{EVALUATIONS}/{id}"), "done", "/evaluation/state").await
}

/// `cloth@v1`, trained on eight images of which some are held out.
async fn trained(server: &Server) {
    let body = json!({"name": "cloth", "trigger": "tok", "caption": "cloth"}).to_string();
    let dataset = server.post(DATASETS, &body).await.json()["id"].as_str().unwrap().to_owned();
    let names: Vec<String> = (0..8).map(|at| format!("{at}.png")).collect();
    let files: Vec<_> = names.iter().zip(0..).map(|(name, shade)| (name.as_str(), png(20 * shade))).collect();
    assert_eq!(bring(server, &dataset, &files).await.status, StatusCode::OK);
    let config = json!({"steps": 2, "sample_every": 0, "sample_prompts": [], "held_out": 0.5});
    let request = json!({"name": "cloth", "dataset": dataset, "config": config}).to_string();
    let run = server.post("/admin/api/training", &request).await;
    assert_eq!(run.status, StatusCode::ACCEPTED, "{}", run.text());
    let id = run.json()["id"].as_str().unwrap().to_owned();
    until(server, &format!("/admin/api/training/{id}"), "done", "/job/state").await;
}

fn error_of(answer: &Answer, field: &str) -> String {
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.text());
    let problem = answer.problem();
    assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    problem["errors"][0]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_evaluation_is_followed_to_its_verdict() {
    let server = Server::start().await;
    trained(&server).await;
    let record = start(&server, json!({"version": "cloth"})).await;
    assert_eq!((&record["version"], &record["champion"]), (&json!("cloth@v1"), &Value::Null));
    let id = record["id"].as_str().unwrap();
    let stream = server.get(&format!("{EVALUATIONS}/{id}/events")).await;
    assert_eq!(stream.header("content-type"), "text/event-stream");
    let events_sent = stream.events();
    assert!(events_sent.iter().all(|event| event.name == "evaluation"), "{events_sent:?}");
    assert!(
        events_sent.windows(2).all(|two| two[0].data != two[1].data && two[0].id <= two[1].id),
        "{events_sent:?}"
    );
    let last = events_sent.last().unwrap();
    assert_eq!(last.data["state"], "done");
    // A client that has seen the end gets 204, which ends its requests; another one gets the end.
    let after = async |number: u64| {
        let request = Request::get(format!("{EVALUATIONS}/{id}/events")).header("last-event-id", number);
        server.send(request.body(Body::empty()).unwrap()).await
    };
    assert_eq!(after(last.id).await.status, StatusCode::NO_CONTENT);
    let rest = after(last.id - 1).await.events();
    assert_eq!((rest.len(), &rest[0].data), (1, &last.data), "one record says everything");

    let detail = ended(&server, id).await;
    let verdict = &detail["evaluation"]["verdict"];
    let kinds: Vec<_> = verdict["criteria"].as_array().unwrap().iter().map(|c| c["kind"].clone()).collect();
    assert_eq!(kinds, ["floors", "adherence", "style", "copying"]);
    assert!(["pass", "fail", "inconclusive"].contains(&verdict["outcome"].as_str().unwrap()), "{verdict}");
    let image = &detail["images"][0];
    assert_eq!(server.get(image["url"].as_str().unwrap()).await.header("content-type"), "image/png");
    for suspect in verdict["suspects"].as_array().unwrap() {
        let nearest = server.get(suspect["training_image"].as_str().unwrap()).await;
        assert_eq!(nearest.status, StatusCode::OK, "{suspect}");
    }
    let all = server.get(&format!("{EVALUATIONS}?adapter=cloth")).await.json();
    assert_eq!((all.as_array().unwrap().len(), &all[0]["id"]), (1, &json!(id)));
    assert_eq!(server.get(&format!("{EVALUATIONS}?adapter=other")).await.json(), json!([]));
    assert_eq!(server.get(&format!("{EVALUATIONS}?name=x")).await.problem()["status"], 400);
}

#[tokio::test]
async fn a_suite_that_is_too_small_is_inconclusive_and_a_bad_one_is_refused() {
    let server = Server::start().await;
    server.adapter("adire", 1).await;
    let one = "{\"name\": \"one\", \"seeds\": [1], \"prompts\": [\"a red cloth, {trigger}\"]}";
    let record = start(&server, json!({"version": "adire@v1", "suite": one})).await;
    let detail = ended(&server, record["id"].as_str().unwrap()).await;
    assert_eq!(detail["evaluation"]["verdict"]["outcome"], "inconclusive");
    let warnings = detail["evaluation"]["warnings"].to_string();
    assert!(warnings.contains("1 of the 6 prompts that a verdict needs"), "{warnings}");

    for (suite, message) in [
        ("name = 'x'\nseeds = [1]\nprompts = ['a', 'A, {trigger}']", "prompt 2 repeats an earlier one"),
        ("name = 'x'\nseeds = [1]\nprompts = ['a']\nsteps = 5", "unknown field `steps`"),
        ("name = 'x'", "missing field `seeds`"),
    ] {
        let answer = server.post(EVALUATIONS, &json!({"version": "adire", "suite": suite}).to_string()).await;
        let found = error_of(&answer, "suite");
        assert!(found.starts_with("The suite is not valid: ") && found.contains(message), "{found}");
    }
    let answer = server.post(EVALUATIONS, r#"{"version": "adire", "steps": 3}"#).await;
    assert!(error_of(&answer, "steps").contains("unknown field"), "{}", answer.text());
}

#[tokio::test]
async fn versions_that_cannot_be_evaluated_or_compared_are_named() {
    let server = Server::start().await;
    server.adapter("adire", 1).await;
    server.adapter("other", 1).await;
    let post = async |body: Value| server.post(EVALUATIONS, &body.to_string()).await;
    let unknown = error_of(&post(json!({"version": "adire@v9"})).await, "version");
    assert!(unknown.contains("adire@v9"), "{unknown}");
    let answer = post(json!({"version": "adire@v1", "against": "other@v1"})).await;
    let message = error_of(&answer, "against");
    assert_eq!(message, "other@v1 is another adapter; compare versions of one adapter.");
    for path in ["", "/events"] {
        let answer = server.get(&format!("{EVALUATIONS}/nothing{path}")).await;
        assert_eq!(answer.problem()["status"], 404, "{path}");
    }
    assert_eq!(
        server.request("DELETE", &format!("{EVALUATIONS}/nothing"), "").await.problem()["status"],
        404
    );
}

#[tokio::test]
async fn one_that_waits_is_cancelled() {
    // An image that takes a while holds it up.
    let server = Server::with(std::time::Duration::from_millis(20), 32).await;
    server.adapter("adire", 1).await;
    let long = server.submit(r#"{"prompt": "long", "steps": 100}"#).await;
    let record = start(&server, json!({"version": "adire"})).await;
    let address = format!("{EVALUATIONS}/{}", record["id"].as_str().unwrap());
    let cancelled = server.request("DELETE", &address, "").await;
    assert_eq!(cancelled.status, StatusCode::OK, "{}", cancelled.text());
    assert_eq!(cancelled.json()["state"], "cancelled");
    let again = server.request("DELETE", &address, "").await;
    assert_eq!((again.status, &again.json()["state"]), (StatusCode::OK, &json!("cancelled")));
    server.request("DELETE", &format!("/api/v1/generations/{long}"), "").await;
}

#[tokio::test]
async fn one_that_is_done_stays_and_a_step_runs_again_in_a_new_one() {
    let server = Server::start().await;
    server.adapter("adire", 1).await;
    let first = start(&server, json!({"version": "adire", "suite": SUITE})).await;
    let id = first["id"].as_str().unwrap();
    ended(&server, id).await;
    let refused = server.request("DELETE", &format!("{EVALUATIONS}/{id}"), "").await.problem();
    assert_eq!(refused["detail"], "This evaluation is done and cannot be cancelled.");
    let rerun = async |step: &str| server.post(&format!("{EVALUATIONS}/{id}/steps/{step}/rerun"), "").await;
    let answer = rerun("score").await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    let second = answer.json();
    assert_ne!(second["id"], first["id"]);
    assert_eq!((&second["suite"], &second["version"]), (&json!("small"), &json!("adire@v1")));
    let detail = ended(&server, second["id"].as_str().unwrap()).await;
    let steps = detail["evaluation"]["steps"].as_array().unwrap();
    let step = |name: &str| steps.iter().find(|step| step["name"] == name).unwrap();
    assert_eq!(step("score")["why"], "It was requested to run again.");
    assert_eq!(step("render")["state"], "reused", "{}", step("render"));
    assert!(error_of(&rerun("paint").await, "step").contains("got “paint”"));
    assert!(error_of(&rerun("promote").await, "step").contains("was not to promote"));
}

#[tokio::test]
async fn the_gate_keeps_its_settings_and_refuses_bad_ones() {
    let server = Server::start().await;
    let address = "/admin/api/gate";
    let toml = |answer: Answer| answer.json()["toml"].as_str().unwrap().to_owned();
    let defaults = toml(server.get(address).await);
    assert!(defaults.contains("confidence = 0.95") && defaults.contains("[copying]"), "{defaults}");
    let put = async |text: &str| server.request("PUT", address, &json!({"toml": text}).to_string()).await;
    let changed = put("[adherence]\nmargin = 0.1").await;
    assert!(toml(changed).contains("margin = 0.1"));
    for (text, message) in [
        ("confidence = 95", "confidence must be 0.5 to 0.999; got 95."),
        ("[style]\nmargin = 1", "unknown field `margin`"),
        ("confidence =", "The gate's settings are not valid"),
    ] {
        let found = error_of(&put(text).await, "toml");
        assert!(found.contains(message), "{found}");
    }
    assert!(toml(server.get(address).await).contains("margin = 0.1"), "bad ones change nothing");
    assert_eq!(toml(put("").await), defaults);
}

async fn form(server: &Server, path: &str, body: &str) -> Answer {
    let request = Request::post(path)
        .header(header::ACCEPT, "text/html")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    server.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

#[tokio::test]
async fn pages_start_show_cancel_and_compare_by_plain_forms() {
    let server = Server::start().await;
    let page = async |path: &str| {
        let answer = server.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        answer.text()
    };
    assert!(page("/admin/evaluations").await.contains("No adapter versions to evaluate yet."));
    assert!(page("/admin/evaluations/compare").await.contains("No images to compare yet."));
    server.adapter("adire", 1).await;
    assert!(page("/admin/evaluations").await.contains("No evaluations yet."));
    assert!(page("/admin/versions").await.contains("Promote on pass"));

    let refused = form(&server, "/admin/evaluations", "version=adire%40v1&suite=name+%3D+1&promote=on").await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let html = refused.text();
    assert!(html.contains("The suite is not valid") && html.contains("name = 1"), "{html}");

    let started = form(&server, "/admin/evaluations", "version=adire%40v1").await;
    assert_eq!(started.status, StatusCode::SEE_OTHER, "{}", started.text());
    let address = started.header("location").to_owned();
    let id = address.trim_start_matches("/admin/evaluations/");
    ended(&server, id).await;
    let html = page(&address).await;
    for words in ["data-state=\"done\"", "Criteria", "Images behind floors", "Rerun step", "Base model"] {
        assert!(html.contains(words), "{words}: {html}");
    }
    let live = page(&format!("{address}/live")).await;
    assert!(live.contains("data-state=\"done\"") && !live.contains("<html"), "{live}");
    assert!(page("/admin/evaluations").await.contains(&address));
    let compare = page("/admin/evaluations/compare?left=&right=adire%40v1").await;
    assert!(compare.contains("data-pair") && compare.contains("Base model and adire@v1"), "{compare}");

    let cancelled = form(&server, &address, "action=cancel").await;
    assert_eq!(cancelled.status, StatusCode::CONFLICT);
    assert!(cancelled.text().contains("cannot be cancelled"), "{}", cancelled.text());
    let rerun = form(&server, &address, "action=rerun&step=verdict").await;
    assert_eq!(rerun.status, StatusCode::SEE_OTHER);
    assert_ne!(rerun.header("location"), address);
    assert_eq!(server.get("/admin/evaluations/nothing").await.status, StatusCode::NOT_FOUND);
}

/// Only the button of an uploaded version offers datasets: the studio knows that of a version it trained.
#[tokio::test]
async fn the_button_of_an_uploaded_version_offers_a_dataset() {
    let server = Server::start().await;
    server.adapter("adire", 1).await;
    let select = "<select id=\"dataset-adire@v1\" name=\"dataset\"";
    assert!(!server.get("/admin/versions").await.text().contains(select), "nothing to choose yet");
    trained(&server).await;
    for page in ["/admin/versions", "/admin/versions/adire@v1"] {
        let html = server.get(page).await.text();
        assert!(html.contains(select) && html.contains("for=\"dataset-adire@v1\""), "{page}: {html}");
        assert!(!html.contains("dataset-cloth@v1"), "{page}: {html}");
    }
    let own = server.get("/admin/versions/cloth@v1").await.text();
    assert!(own.contains("Evaluate: cloth@v1") && !own.contains("name=\"dataset\""), "{own}");

    let dataset = server.get(DATASETS).await.json()[0]["id"].as_str().unwrap().to_owned();
    for (chosen, warning) in
        [(&*dataset, "If it was trained on the held-out images"), ("", "no dataset was named")]
    {
        let started =
            form(&server, "/admin/evaluations", &format!("version=adire%40v1&dataset={chosen}")).await;
        assert_eq!(started.status, StatusCode::SEE_OTHER, "{}", started.text());
        let id = started.header("location").trim_start_matches("/admin/evaluations/").to_owned();
        let warnings = ended(&server, &id).await["evaluation"]["warnings"].to_string();
        assert!(warnings.contains(warning), "{warnings}");
    }
    // One that was deleted since the page was opened.
    let gone = form(&server, "/admin/evaluations", "version=adire%40v1&dataset=nothing").await;
    assert_eq!(gone.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(gone.text().contains("id=\"field-dataset-error\""), "{}", gone.text());
}

#[tokio::test]
async fn the_gate_page_saves_settings_and_shows_what_is_wrong() {
    let server = Server::start().await;
    let saved = form(&server, "/admin/gate", "action=save&toml=confidence+%3D+0.9").await;
    assert_eq!((saved.status, saved.header("location")), (StatusCode::SEE_OTHER, "/admin/gate?done=1"));
    let html = server.get("/admin/gate?done=1").await.text();
    assert!(html.contains("confidence = 0.9\n") && html.contains("Settings saved."), "{html}");
    let bad = form(&server, "/admin/gate", "action=save&toml=confidence+%3D+95").await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    let html = bad.text();
    assert!(
        html.contains("confidence must be 0.5 to 0.999; got 95.") && html.contains("confidence = 95"),
        "{html}"
    );
    assert_eq!(form(&server, "/admin/gate", "action=defaults&toml=x").await.status, StatusCode::SEE_OTHER);
    assert!(!server.get("/admin/gate").await.text().contains("confidence = 0.9\n"));
}

#[tokio::test]
async fn every_number_leads_to_its_images_and_metrics_say_what_they_mean() {
    let server = Server::start().await;
    trained(&server).await;
    let metrics = server.get("/admin/api/evaluation-metrics").await.json();
    let metric = |name: &str| metrics.as_array().unwrap().iter().find(|one| one["name"] == name).unwrap();
    assert_eq!(
        (&metric("clip_score")["high"], &metric("clip_score")["direction"]),
        (&json!(2.5), &json!("higher"))
    );
    let record = start(&server, json!({"version": "cloth"})).await;
    let id = record["id"].as_str().unwrap();
    let detail = ended(&server, id).await;
    let verdict = &detail["evaluation"]["verdict"];
    let style = verdict["criteria"].as_array().unwrap().iter().find(|one| one["kind"] == "style").unwrap();
    let pair = &style["prompts"][0];
    assert!(pair["challenger"].is_number() && pair["reference"].is_number(), "{style}");
    let held_out = verdict["held_out"][0].as_str().unwrap();
    assert_eq!(server.get(held_out).await.status, StatusCode::OK);
    let step = &detail["evaluation"]["steps"][1];
    assert!(!step["seeds"].as_array().unwrap().is_empty(), "{step}");
    assert_eq!(step["device"], "cpu f32");

    let html = server.get(&format!("/admin/evaluations/{id}")).await.text();
    for words in [
        "id=\"prompt-0\"",
        "href=\"#prompt-0\"",
        "id=\"held-out\"",
        "href=\"#held-out\"",
        "How many images were measured.",
        "Images behind Prompts",
        "Device: cpu f32",
    ] {
        assert!(html.contains(words), "{words}: {html}");
    }
    assert!(!html.contains("Unusable images"), "{html}");
}

#[tokio::test]
async fn a_version_that_passes_is_pushed_where_that_was_requested() {
    let server = Server::start().await;
    server.adapter("adire", 1).await;
    let floors = "[adherence]\nmuted = true\n[style]\nmuted = true\n[copying]\nmuted = true";
    server.request("PUT", "/admin/api/gate", &json!({"toml": floors}).to_string()).await;
    let wrong = server.post(EVALUATIONS, &json!({"version": "adire", "publish": "adire"}).to_string()).await;
    assert!(error_of(&wrong, "publish").contains("must be like owner/name"));
    let body = json!({"version": "adire", "suite": SUITE, "promote": true, "publish": "ada/adire"});
    let record = start(&server, body).await;
    assert_eq!(record["publish"], "ada/adire");
    let id = record["id"].as_str().unwrap();
    let detail = ended(&server, id).await;
    let steps = detail["evaluation"]["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["name"] == "publish").unwrap();
    assert_eq!(step["state"], "done", "{step}");
    let pushes = server.get("/admin/api/pushes").await.json();
    assert_eq!((&pushes[0]["id"], &pushes[0]["version"]), (&step["push"], &json!("adire@v1")));
    assert_eq!(pushes[0]["request"]["private"], true);
    let html = server.get(&format!("/admin/evaluations/{id}")).await.text();
    assert!(html.contains("View push") && html.contains("pushed to ada/adire on pass"), "{html}");
    let rerun = server.post(&format!("{EVALUATIONS}/{id}/steps/publish/rerun"), "").await;
    assert_eq!(rerun.status, StatusCode::ACCEPTED, "{}", rerun.text());
}
