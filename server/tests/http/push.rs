//! Pushes to the Hub from a version's page: the form, what becomes of a push, and what an outage says there and on the
//! monitoring page.

use adire_protocol::{PushState, Tracking};
use axum::http::StatusCode;

use crate::{
    browser::{Browser, location},
    support::Server,
};

const PAGE: &str = "/admin/versions/adire@v1";

#[tokio::test]
async fn the_form_queues_a_push_and_its_row_says_how_it_stands() {
    let server = Server::start().await;
    server.adapter("adire", 1).await;
    let admin = Browser::new(&server).await;
    let text = admin.open(PAGE).await.text();
    assert!(text.contains("Push to Hub") && text.contains("Private unless checked."), "{text}");
    let refused = admin.form(PAGE, &[("action", "push"), ("repository", "cloth")]).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        refused.text().contains("The repository must be like owner/name; got “cloth”."),
        "{}",
        refused.text()
    );

    let fields =
        [("action", "push"), ("repository", " ada/cloth "), ("license", "cc-by-4.0"), ("base_model", "")];
    assert_eq!(location(&admin.form(PAGE, &fields).await), PAGE);
    let text = admin.open(PAGE).await.text();
    assert!(text.contains("ada/cloth") && text.contains("badge queued"), "{text}");
    let task = server.studio.next_push().await.unwrap();
    let request = &task.record.request;
    assert!(
        request.private && request.repository == "ada/cloth" && request.base_model.is_none(),
        "{request:?}"
    );
    assert_eq!(request.license.as_deref(), Some("cc-by-4.0"));

    // The Hub is down.
    let waits = "The Hub does not answer. Next try in 10 s.";
    server.studio.push_progress(&task, waits).await.unwrap();
    let text = admin.open(PAGE).await.text();
    assert!(text.contains("badge running") && text.contains(waits), "{text}");
    assert!(text.contains("Cancel push to ada/cloth"), "{text}");
    let error = "The Hub answers 413: adire-v1.safetensors is too large.";
    server.studio.end_push(&task, Err(error)).await;
    let text = admin.open(PAGE).await.text();
    assert!(text.contains("badge failed") && text.contains(error), "{text}");
    assert!(!text.contains("Cancel push to"), "{text}");

    // Again, and it is there.
    admin.form(PAGE, &[&fields[..], &[("public", "on")]].concat()).await;
    let task = server.studio.next_push().await.unwrap();
    assert!(!task.record.request.private);
    let commit = "0".repeat(40);
    server.studio.end_push(&task, Ok(("https://hub.example/ada/cloth", Some(&commit)))).await;
    let text = admin.open(PAGE).await.text();
    assert!(text.contains("href=\"https://hub.example/ada/cloth\"") && text.contains("badge done"), "{text}");

    // One that waits is cancelled by its button.
    admin.form(PAGE, &fields).await;
    let id = server.get("/admin/api/pushes").await.json()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(location(&admin.form(PAGE, &[("action", "cancel-push"), ("push", &id)]).await), PAGE);
    assert_eq!(server.studio.push_record(&id).await.unwrap().state, PushState::Cancelled);
    assert!(admin.open(PAGE).await.text().contains("badge cancelled"));
}

#[tokio::test]
async fn the_monitoring_page_says_when_mlflow_is_down() {
    let server = Server::start().await;
    let note = "Not everything has been sent to MLflow: ";
    let text = async || server.get("/admin/monitoring").await.text();
    assert!(!text().await.contains(note), "no tracking server is configured");
    let address = "http://127.0.0.1:5000".to_owned();
    let problem = "http://127.0.0.1:5000 cannot be reached: connection refused.";
    server.studio.set_tracking(Tracking { server: address.clone(), problem: Some(problem.to_owned()) });
    let shown = text().await.replace("<!>", "");
    assert!(shown.contains(&format!("{note}{problem} Nothing is lost; it is sent later.")), "{shown}");
    let api = server.get("/admin/api/monitoring").await.json();
    assert_eq!(api["tracking"]["problem"], problem);
    server.studio.set_tracking(Tracking { server: address, problem: None });
    assert!(!text().await.contains(note), "everything has been sent");
}
