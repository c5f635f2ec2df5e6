//! What pages say of the servers that this one sends to.

use adire_protocol::{PushRequest, Tracking};
use axum::http::StatusCode;

use crate::support::Server;

#[tokio::test]
async fn the_monitoring_page_says_why_mlflow_gets_nothing() {
    let server = Server::start().await;
    let address = "http://mlflow:5000";
    let sentence = format!("MLflow at {address} has a problem (500).");
    for (problem, is_shown) in [(Some(sentence.clone()), true), (None, false)] {
        server.studio.set_tracking(Tracking { server: address.to_owned(), problem });
        let page = server.get("/admin/monitoring").await.text();
        assert_eq!(page.contains(&sentence), is_shown, "{page}");
    }
}

#[tokio::test]
async fn a_versions_page_says_how_a_push_stands_and_why_it_failed() {
    let server = Server::start().await;
    server.adapter("cloth", 1).await;
    let request =
        PushRequest { repository: "ada/cloth".to_owned(), private: true, license: None, base_model: None };
    server.studio.push("cloth@v1", request).await.unwrap();
    let task = server.studio.next_push().await.unwrap();
    let shows = async |state: &str, sentence: &str| {
        let page = server.get("/admin/versions/cloth@v1").await.text();
        assert!(page.contains("ada/cloth") && page.contains(state) && page.contains(sentence), "{page}");
    };
    let sentence = "The Hub has an internal error (500). Next try in 2 s.";
    server.studio.push_progress(&task, sentence).await.unwrap();
    shows(">Running<", sentence).await;
    let sentence = "The Hub does not accept HF_TOKEN. Use a token with write access.";
    server.studio.end_push(&task, Err(sentence)).await;
    shows(">Failed<", sentence).await;
}

#[tokio::test]
async fn a_push_is_followed_by_numbers_to_its_end() {
    let server = Server::start().await;
    server.adapter("cloth", 1).await;
    let body = r#"{"repository": "ada/cloth"}"#;
    let id = server.post("/admin/api/adapters/cloth@v1/push", body).await.json()["id"].clone();
    let id = id.as_str().unwrap();
    let task = server.studio.next_push().await.unwrap();
    server.studio.push_progress(&task, "Committing.").await.unwrap();
    let (studio, task) = (server.studio.clone(), task.clone());
    let address = format!("/admin/api/pushes/{id}/events");
    let (events_sent, ()) = futures::join!(server.get(&address), async {
        // Not before somebody follows it: the first record is that of a push under way.
        tokio::task::yield_now().await;
        studio.end_push(&task, Ok(("https://hub/ada/cloth", Some("c0ffee")))).await
    });
    let events_sent = events_sent.events();
    assert!(events_sent.iter().all(|event| event.name == "push"), "{events_sent:?}");
    assert!(events_sent.windows(2).all(|two| two[0].id < two[1].id), "{events_sent:?}");
    let last = events_sent.last().unwrap();
    assert_eq!((&last.data["state"], &last.data["commit"]), (&"done".into(), &"c0ffee".into()));
    // The path of all kinds gives the same; a client that has seen the end gets 204, which ends its requests.
    let same = server.get(&format!("/admin/api/jobs/{id}/events?after={}", last.id - 1)).await.events();
    assert_eq!((same.len(), &same[0].data, same[0].id), (1, &last.data, last.id));
    let seen = server.get(&format!("{address}?after={}", last.id)).await;
    assert_eq!(seen.status, StatusCode::NO_CONTENT, "{}", seen.text());
    for address in ["/admin/api/pushes/nothing/events", "/admin/api/jobs/nothing/events"] {
        assert_eq!(server.get(address).await.problem()["status"], 404, "{address}");
    }
    // Each kind has its own address.
    let other = server.get(&format!("/admin/api/evaluations/{id}/events")).await;
    assert_eq!(other.problem()["status"], 404);
    let bad = server.get(&format!("{address}?after=x")).await;
    assert_eq!(bad.problem()["status"], 400);
}

#[tokio::test]
async fn a_push_that_waits_is_followed_to_its_cancellation() {
    let server = Server::start().await;
    server.adapter("cloth", 1).await;
    let body = r#"{"repository": "ada/cloth"}"#;
    let id = server.post("/admin/api/adapters/cloth@v1/push", body).await.json()["id"].clone();
    let address = format!("/admin/api/pushes/{}", id.as_str().unwrap());
    let events = format!("{address}/events");
    let (events_sent, _) = futures::join!(server.get(&events), async {
        tokio::task::yield_now().await;
        server.request("DELETE", &address, "").await
    });
    assert_eq!(events_sent.events().last().unwrap().data["state"], "cancelled");
}
