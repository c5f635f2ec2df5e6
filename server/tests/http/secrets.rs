//! Nothing private comes out of a public address: a database full of marked texts, and every address that a stranger may
//! call.

use std::{net::SocketAddr, time::Duration};

use adire_server::{Who, addresses};
use adire_studio::{NewAdapter, fake::ADAPTER_MAGIC};
use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Request, StatusCode, header},
};
use futures::StreamExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{
    browser::Browser,
    support::{PATIENCE, Server},
};

/// In every private text.
const MARK: &str = "zqx-";
/// What the maker shares with its recipe.
const SHARED_PROMPT: &str = "a chair for everyone";

/// What a stranger must not see, and the names that links may have.
struct Secrets {
    /// Of the maker: image and generation that are not shared, a generation whose image is shared without its recipe.
    own: Vec<String>,
    /// Pages of shared images: with the recipe, and without.
    shares: [String; 2],
    /// Hash of an image of the dataset.
    of_dataset: String,
    /// Of blind votes on images of the suite, which has a visitor's prompt.
    vote: String,
    /// Of another program.
    token: String,
    maker: String,
}

async fn ok(server: &Server, method: &str, path: &str, body: Value) -> Value {
    let answer = server.request(method, path, &body.to_string()).await;
    assert!(answer.status.is_success(), "{method} {path}: {} {}", answer.status, answer.text());
    if answer.body.is_empty() { Value::Null } else { answer.json() }
}

fn id_of(value: &Value) -> String {
    value["id"].as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

/// `cloth@v1`, trained on private captions; hash of one of its images.
async fn train(server: &Server) -> String {
    let dataset = crate::datasets::dataset(server, "zqx-dataset").await;
    let address = format!("/admin/api/datasets/{dataset}");
    let images = server.get(&address).await.json()["images"].as_array().unwrap().clone();
    for image in &images {
        let change = json!({ "action": "caption", "picture": image["hash"], "caption": "zqx-caption" });
        ok(server, "PATCH", &address, change).await;
    }
    let config = json!({ "steps": 2, "sample_every": 1, "sample_prompts": ["zqx-sample"] });
    let request =
        json!({ "name": "cloth", "dataset": dataset, "config": config, "note": "from twelve photographs" });
    let run = id_of(&ok(server, "POST", "/admin/api/training", request).await);
    let waiting = async {
        while server.get(&format!("/admin/api/training/{run}")).await.json()["job"]["state"] != "done" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it ends");
    images[0]["hash"].as_str().unwrap().to_owned()
}

/// A version whose every text is private once it is hidden.
async fn add(server: &Server) {
    let path = server.folder.path().join("hidden.safetensors");
    std::fs::write(&path, [ADAPTER_MAGIC, b"zqx-weights"].concat()).unwrap();
    let new = NewAdapter {
        name: "zqx-hidden".to_owned(),
        version: Some(1),
        path,
        description: "zqx-description".to_owned(),
        trigger: "zqx-trigger".to_owned(),
        strict: false,
    };
    server.studio.add_adapter(new).await.unwrap();
}

/// What only the admin reads: reasons, rules, sheets, suites, pushes.
async fn administrate(server: &Server) -> String {
    let promotion = json!({ "reason": "zqx-reason", "force": true });
    ok(server, "POST", "/admin/api/adapters/cloth@v1/promote", promotion).await;
    let rules = "webhook = \"https://example.org/zqx-hook\"\nntfy = \"https://ntfy.example/zqx-topic\"\n\
                 [[rule]]\nname = \"zqx-rule\"\nmeasure = \"failed_share\"\nabove = 0.5\nmin_count = 1\n";
    ok(server, "PUT", "/admin/api/alerts", json!({ "toml": rules })).await;
    ok(server, "POST", "/admin/api/alerts/test", Value::Null).await;
    let axis = json!({ "setting": "steps", "values": ["1", "2"] });
    let base = json!({ "prompt": "zqx-sheet", "steps": 2 });
    ok(server, "POST", "/admin/api/sheets", json!({ "title": "zqx-title", "base": base, "axes": [axis] }))
        .await;
    let suite = "name = 'zqx-suite'\nseeds = [1]\nprompts = ['zqx-test, {trigger}', 'zqx-blue, {trigger}']";
    let evaluation = json!({ "version": "cloth@v1", "suite": suite });
    let evaluation = id_of(&ok(server, "POST", "/admin/api/evaluations", evaluation).await);
    server.get(&format!("/admin/api/evaluations/{evaluation}/events")).await;
    let push = json!({ "repository": "zqx-owner/cloth", "license": "zqx-licence" });
    ok(server, "POST", "/admin/api/adapters/cloth@v1/push", push).await;
    server.token("zqx-program", "generate", "").await
}

/// A maker's images: one that is not shared, one shared without its recipe, one shared with it, and a failed one.
async fn make(server: &Server) -> (String, Vec<String>, [String; 2]) {
    let maker = Browser::new(server).await;
    let mut own = Vec::new();
    let mut pages = Vec::new();
    for (prompt, share) in [
        ("zqx-prompt, a diary", None),
        ("zqx-quiet, a door", Some(json!({}))),
        (SHARED_PROMPT, Some(json!({ "recipe": true }))),
        ("zqx-failed fail!", None),
    ] {
        let wanted = json!({
            "prompt": prompt, "seed": 7, "adapters": [{ "name": "cloth@v1" }, { "name": "zqx-hidden@v1" }],
        });
        let made = maker.json("POST", "/api/v1/generations", &wanted).await;
        assert_eq!(made.status, StatusCode::ACCEPTED, "{}", made.text());
        let id = id_of(&made.json());
        let record = server.finished(&id).await;
        if let Some(request) = share {
            let address = format!("/api/v1/generations/{id}/images/0/share");
            let share = maker.json("PUT", &address, &request).await.json();
            pages.push(share["hash"].as_str().unwrap().to_owned());
        }
        own.push(id);
        own.extend(record["images"][0]["hash"].as_str().map(str::to_owned));
    }
    let flags = format!("/api/v1/generations/{}/images/0/flags", own[0]);
    let flagged = maker.json("POST", &flags, &json!({ "reason": "zqx-flag ada@zqx-mail.example" })).await;
    assert!(flagged.status.is_success(), "{}", flagged.text());
    (maker.cookie().to_owned(), own, pages.try_into().unwrap())
}

/// The secret of a link for votes on an evaluation by the model's own suite, which has the prompt of a report. A
/// voter has seen every pair.
async fn vote(server: &Server) -> String {
    let flags = server.get("/admin/api/flags").await.json();
    assert!(server.get("/admin/flags").await.text().contains("zqx-flag"), "the admin sees it");
    let flag = id_of(&flags[0]);
    ok(server, "POST", &format!("/admin/api/flags/{flag}/suite"), Value::Null).await;
    let suite = server.get("/admin/api/suite").await.text();
    assert!(suite.contains("zqx-prompt"), "{suite}");
    let evaluation =
        id_of(&ok(server, "POST", "/admin/api/evaluations", json!({ "version": "cloth@v1" })).await);
    server.get(&format!("/admin/api/evaluations/{evaluation}/events")).await;
    let images = server.get(&format!("/admin/api/evaluations/{evaluation}")).await.text();
    assert!(images.contains("zqx-prompt"), "it is rendered");
    let comparison = ok(server, "POST", "/admin/api/comparisons", json!({ "evaluation": evaluation })).await;
    let page = comparison["page"].as_str().unwrap().to_owned();
    let voter = Browser::new(server).await;
    let mut voted = 0;
    loop {
        let text = voter.open(&page).await.text();
        assert!(!text.contains(MARK), "{text}");
        let Some((_, rest)) = text.split_once("name=\"pair\" value=\"") else { break };
        voter.form(&page, &[("pair", rest.split('"').next().unwrap()), ("choice", "same")]).await;
        voted += 1;
    }
    assert!(voted > 20, "{voted}");
    page.trim_start_matches("/vote/").to_owned()
}

/// What a placeholder may be, by its name.
fn values(placeholder: &str, who: Who, secrets: &Secrets) -> Vec<String> {
    let fixed = |all: &[&str]| all.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
    match placeholder {
        // Reading by link is what an id is for; acting on it is its owner's.
        "id" if who == Who::Owner => vec![secrets.own[0].clone()],
        "id" => fixed(&["0199c0de-0000-7000-8000-000000000000", "sd15+cloth@v1", "zqx-hidden@v1"]),
        "hash" => {
            [&secrets.shares[..], &secrets.own[1..2], std::slice::from_ref(&secrets.of_dataset)].concat()
        }
        "name" => fixed(&["cloth", "cloth@v1", "cloth@production", "zqx-hidden", "zqx-hidden@v1"]),
        "revision" => fixed(&["main", "v1"]),
        "*file" => fixed(&["README.md", "cloth-v1.safetensors", "zqx-hidden-v1.safetensors"]),
        "file" => {
            let images = secrets.shares.iter().chain([&secrets.of_dataset]).map(|hash| format!("{hash}.png"));
            images.chain(fixed(&["adire.db", "operator"])).collect()
        }
        "index" | "pair" => fixed(&["0"]),
        "side" => fixed(&["left"]),
        "token" => vec!["nothing".to_owned(), secrets.vote.clone()],
        "session" => fixed(&["nothing"]),
        other => panic!("what may {other} be?"),
    }
}

/// Every address with every value of its placeholders.
fn filled(path: &str, who: Who, secrets: &Secrets) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else { return vec![path.to_owned()] };
    let (placeholder, after) = rest.split_once('}').unwrap();
    let values = values(placeholder, who, secrets);
    values.iter().flat_map(|value| filled(&format!("{before}{value}{after}"), who, secrets)).collect()
}

/// A stranger somewhere else, with or without a cookie of their own.
struct Stranger<'s> {
    server: &'s Server,
    cookie: Option<String>,
    accept: &'static str,
}

impl Stranger<'_> {
    /// Head and body of the answer; of a stream that stays open, what comes at once.
    async fn ask(&self, method: &str, path: &str) -> (StatusCode, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::ACCEPT, self.accept)
            .header(
                header::CONTENT_TYPE,
                if path.starts_with("/api/v1/recipe") { "image/png" } else { "application/json" },
            )
            .extension(ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 40_000))));
        let request = match &self.cookie {
            Some(cookie) => request.header(header::COOKIE, cookie),
            None => request,
        };
        let body = if method == "GET" { "" } else { r#"{"prompt": "a stool", "steps": 1}"# };
        let answer =
            self.server.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let mut text = format!("{:?}\n", answer.headers());
        let status = answer.status();
        let mut body = answer.into_body().into_data_stream();
        while let Ok(Some(Ok(chunk))) = tokio::time::timeout(Duration::from_millis(500), body.next()).await {
            text.push_str(&String::from_utf8_lossy(&chunk));
        }
        (status, text)
    }

    async fn walk(&self, secrets: &Secrets) -> usize {
        let mut answered = 0;
        for address in addresses().into_iter().filter(|address| address.who != Who::Admin) {
            let paths = filled(&address.path, address.who, secrets);
            for (method, path) in
                address.methods.iter().flat_map(|method| paths.iter().map(move |path| (method, path)))
            {
                let (status, text) = self.ask(method, path).await;
                answered += usize::from(status.is_success());
                assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{method} {path}: {text}");
                self.has_no_secret(&format!("{method} {path}"), &text, secrets);
            }
        }
        answered
    }

    fn has_no_secret(&self, asked: &str, text: &str, secrets: &Secrets) {
        // An error may repeat the names in its request.
        let own_words = asked.split(['/', ' ', '?']).filter(|word| word.contains(MARK));
        let mut rest = text.to_owned();
        for word in own_words {
            let name = word.split(['@', '.']).next().unwrap().trim_end_matches("-v1");
            rest = rest.replace(name, "");
        }
        let at = rest.find(MARK).map(|at| rest[at..].chars().take(60).collect::<String>());
        assert_eq!(at, None, "{asked} as {}", self.accept);
        let folder = self.server.folder.path().to_str().unwrap().to_owned();
        let hidden = secrets.own.iter().chain([&secrets.token, &secrets.maker, &folder]);
        for secret in hidden.filter(|secret| !asked.contains(secret.as_str())) {
            assert!(!text.contains(secret.as_str()), "{asked} as {}: {secret}", self.accept);
        }
    }
}

#[tokio::test]
async fn no_public_address_gives_out_what_is_private() {
    let server = Server::start().await;
    let of_dataset = train(&server).await;
    add(&server).await;
    let (maker, own, shares) = make(&server).await;
    ok(&server, "PATCH", "/admin/api/adapters/zqx-hidden@v1", json!({ "hidden": true })).await;
    let vote = vote(&server).await;
    let token = administrate(&server).await;
    // What would be published with the version, too.
    let published = server.studio.publication("cloth@v1").await.unwrap();
    assert!(!published.samples.is_empty());
    let published = published.samples.iter().map(|(prompt, _)| prompt.as_str());
    assert_eq!(published.filter(|prompt| prompt.contains("zqx-prompt")).collect::<Vec<_>>(), [""; 0]);
    let secrets = Secrets { own, shares, of_dataset, vote, token, maker };

    // They are there to be found: the admin sees them.
    for (path, word) in [
        ("/admin/datasets", "zqx-dataset"),
        ("/admin/versions", "zqx-hidden"),
        ("/admin/versions/cloth@v1", "zqx-reason"),
        ("/admin/versions/cloth@v1", "zqx-owner"),
        ("/admin/monitoring/alerts", "zqx-hook"),
        ("/admin/sheets", "zqx-title"),
        ("/admin/tokens", "zqx-program"),
        ("/admin/monitoring", "zqx-prompt"),
    ] {
        assert!(server.get(path).await.text().contains(word), "{word} on {path}");
    }
    let original = server.get(&format!("/api/v1/images/{}.png", secrets.own[1])).await;
    assert!(original.text().contains("zqx-prompt"), "the maker's own file has its recipe");

    let cookie = Browser::new(&server).await.cookie().to_owned();
    for cookie in [None, Some(cookie)] {
        for accept in ["text/html", "application/json"] {
            let stranger = Stranger { server: &server, cookie: cookie.clone(), accept };
            let answered = stranger.walk(&secrets).await;
            assert!(answered > 60, "only {answered} addresses gave an answer");
            let (_, shared) = stranger.ask("GET", &format!("/p/{}", secrets.shares[1])).await;
            assert!(shared.contains(SHARED_PROMPT), "{shared}");
        }
    }
    // What the strangers sent has changed nothing of the maker's.
    for hash in [&secrets.own[1], &secrets.own[3]] {
        assert_eq!(server.get(&format!("/api/v1/images/{hash}.png")).await.status, StatusCode::OK);
    }
    let image = server.get(&format!("/api/v1/images/{}.png", secrets.of_dataset)).await;
    assert_eq!(image.status, StatusCode::NOT_FOUND, "an image of a dataset");
    let metrics = server.get("/admin/metrics").await.text();
    for prompt in ["zqx-prompt", "zqx-quiet", "zqx-sheet"] {
        assert!(!metrics.contains(prompt), "{metrics}");
    }
}
