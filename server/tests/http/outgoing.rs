//! What pages say of the servers that this one sends to.

use adire_protocol::{PushRequest, Tracking};

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
    server.studio.end_push(&task, Err(sentence)).await.unwrap();
    shows(">Failed<", sentence).await;
}
