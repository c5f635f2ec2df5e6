//! The admin page from an empty dataset to a public link.

use std::ops::Range;

use axum::http::StatusCode;
use serde_json::json;

use crate::{
    datasets::{DATASETS, bring, png},
    support::{PATIENCE, Server},
};

async fn fill(server: &Server, dataset: &str, shades: Range<u8>) {
    let files: Vec<_> = shades.map(|shade| (format!("{shade}.png"), png(20 * shade))).collect();
    let files: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    assert_eq!(bring(server, dataset, &files).await.status, StatusCode::OK);
}

/// “Live tonight” leads from nothing to a link, one step at a time.
#[tokio::test]
async fn the_live_page_names_the_next_step_until_there_is_a_link() {
    let server = Server::start().await;
    let page = async || server.get("/admin/live").await.text();
    let next = |text: &str| {
        let lead = text.split("Next: ").nth(1).map(|rest| rest.split('.').next().unwrap().to_owned());
        // Exactly one step is marked, and it is the one that the lead names.
        let marked: Vec<&str> = text.split("aria-current=\"step\"").skip(1).collect();
        assert_eq!(marked.len(), usize::from(lead.is_some()), "{text}");
        if let Some(lead) = &lead {
            let title = marked[0].split("<b>").nth(1).unwrap().split('<').next().unwrap();
            assert_eq!(title.to_lowercase(), *lead);
        }
        lead
    };
    assert_eq!(next(&page().await).as_deref(), Some("images"));
    let body = json!({"name": "cloth", "trigger": "tok", "caption": ""}).to_string();
    let dataset = server.post(DATASETS, &body).await.json()["id"].as_str().unwrap().to_owned();
    fill(&server, &dataset, 0..4).await;
    let text = page().await;
    assert_eq!(next(&text).as_deref(), Some("images"));
    assert!(
        text.contains("cloth has 4 images") && text.contains(&format!("/admin/datasets/{dataset}")),
        "{text}"
    );
    fill(&server, &dataset, 4..12).await;
    let text = page().await;
    assert_eq!(next(&text).as_deref(), Some("captions"));
    assert!(text.contains("0 of 12 images have a caption of their own."), "{text}");
    let address = format!("{DATASETS}/{dataset}");
    for image in server.get(&address).await.json()["images"].as_array().unwrap() {
        let change = json!({"action": "caption", "picture": image["hash"], "caption": "cloth"}).to_string();
        assert_eq!(server.request("PATCH", &address, &change).await.status, StatusCode::OK);
    }
    assert_eq!(next(&page().await).as_deref(), Some("training"));

    let config = json!({"steps": 2, "sample_every": 0, "sample_prompts": [], "held_out": 0.25});
    let request = json!({"name": "cloth", "dataset": dataset, "config": config}).to_string();
    let run = server.post("/admin/api/training", &request).await.json()["id"].as_str().unwrap().to_owned();
    until(&server, &format!("/admin/api/training/{run}"), "/job/state").await;
    assert_eq!(next(&page().await).as_deref(), Some("evaluation"));
    let suite = "name = 'small'\nseeds = [1]\nprompts = ['a red cloth, {trigger}']";
    let request = json!({"version": "cloth@v1", "suite": suite}).to_string();
    let evaluation =
        server.post("/admin/api/evaluations", &request).await.json()["id"].as_str().unwrap().to_owned();
    until(&server, &format!("/admin/api/evaluations/{evaluation}"), "/evaluation/state").await;
    let text = page().await;
    assert_eq!(next(&text).as_deref(), Some("production"));
    assert!(!text.contains("/try/cloth@production"), "no link before there is something to see: {text}");
    let body = json!({"reason": "good", "force": true}).to_string();
    assert_eq!(server.post("/admin/api/adapters/cloth@v1/promote", &body).await.status, StatusCode::OK);
    let text = page().await;
    // From this machine, others cannot reach it yet.
    assert_eq!(next(&text).as_deref(), Some("public address"));
    assert!(
        text.contains("/try/cloth@production") && text.contains("/try/cloth@production/qr.svg"),
        "{text}"
    );
    let opened = server.get("/try/cloth@production").await;
    assert_eq!(opened.status, StatusCode::OK);
}

/// A version from elsewhere has its link as soon as it is promoted.
#[tokio::test]
async fn the_live_page_gives_the_link_to_a_promoted_version_that_was_not_trained_here() {
    let server = Server::start().await;
    server.adapter("uploaded", 1).await;
    let text = server.get("/admin/live").await.text();
    assert!(text.contains("Next: images.") && !text.contains("/try/"), "{text}");
    let body = json!({"reason": "good", "force": true}).to_string();
    assert_eq!(server.post("/admin/api/adapters/uploaded@v1/promote", &body).await.status, StatusCode::OK);
    let text = server.get("/admin/live").await.text();
    assert!(text.contains("Next: public address."), "{text}");
    assert!(text.contains("/try/uploaded@production/qr.svg"), "{text}");
}

async fn until(server: &Server, address: &str, at: &str) {
    let waiting = async {
        while server.get(address).await.json().pointer(at).is_none_or(|state| state != "done") {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{address} ends"));
}
