//! The queue of all jobs, as the admin sees and changes it, on the fake backend.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use serde_json::{Value, json};

use crate::{
    datasets::{DATASETS, dataset},
    support::{Answer, Server},
};

const JOBS: &str = "/admin/api/jobs";
const INTAKE: &str = "/admin/api/intake";

async fn generation(server: &Server, prompt: &str) -> String {
    let body = json!({"prompt": prompt, "steps": 20}).to_string();
    let accepted = server.post("/api/v1/generations", &body).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{}", accepted.text());
    accepted.json()["id"].as_str().unwrap().to_owned()
}

async fn jobs(server: &Server) -> Value {
    let answer = server.get(JOBS).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()
}

fn ids(queue: &Value) -> Vec<&str> {
    queue["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect()
}

async fn change(server: &Server, id: &str, body: Value) -> Answer {
    server.request("PATCH", &format!("{JOBS}/{id}"), &body.to_string()).await
}

/// A server whose images take a while, with one that runs and three that wait.
async fn busy() -> (Server, Vec<String>) {
    let server = Server::with(Duration::from_millis(50), 8).await;
    server.adapter("adire", 1).await;
    // Long enough for all that a test does meanwhile.
    let mut made = vec![server.submit(r#"{"prompt": "the first", "steps": 100}"#).await];
    while !jobs(&server).await["jobs"][0]["running"].as_bool().unwrap() {
        tokio::task::yield_now().await;
    }
    for prompt in ["the second", "the third", "the fourth"] {
        made.push(generation(&server, prompt).await);
    }
    (server, made)
}

#[tokio::test]
async fn jobs_of_every_kind_are_listed_with_what_they_wait_for() {
    let (server, made) = busy().await;
    let dataset = dataset(&server, "cloth").await;
    let post = async |address: &str, body: Value| {
        let accepted = server.post(address, &body.to_string()).await;
        assert_eq!(accepted.status, StatusCode::ACCEPTED, "{address}: {}", accepted.text());
        accepted.json()["id"].as_str().unwrap().to_owned()
    };
    let push = post("/admin/api/adapters/adire@v1/push", json!({"repository": "ada/cloth"})).await;
    let train = json!({"name": "cloth", "dataset": dataset, "config": {"steps": 4}});
    let runs = [post("/admin/api/training", train.clone()).await, post("/admin/api/training", train).await];
    let wanted = json!({"version": "adire@v1"});
    let evaluations =
        [post("/admin/api/evaluations", wanted.clone()).await, post("/admin/api/evaluations", wanted).await];
    let queue = jobs(&server).await;
    assert_eq!(queue["paused"], false);
    let listed = ids(&queue);
    // Each kind in its place, not by its name.
    let others = [&evaluations[0], &evaluations[1], &runs[0], &runs[1], &push];
    assert_eq!(listed[listed.len() - 5..], others, "{queue}");
    assert!(made.iter().all(|id| listed.contains(&id.as_str())), "{queue}");
    let job = |id: &str| queue["jobs"].as_array().unwrap().iter().find(|job| job["id"] == id).unwrap();
    assert_eq!(job(&made[0])["running"], true);
    assert_eq!(job(&made[0])["title"], "the first");
    assert_eq!(job(&made[3])["why"], "behind 3 others; its adapters are loaded");
    assert!(job(&made[1])["cost_ms"].as_u64().unwrap() > 0);
    for (id, kind, why) in [
        (&evaluations[1], "evaluation", "behind 1 other; runs while no generation waits"),
        (&runs[1], "training", "behind 1 other; runs while no generation waits"),
        (&push, "push", "next"),
    ] {
        assert_eq!((&job(id)["kind"], &job(id)["why"]), (&json!(kind), &json!(why)));
    }
}

#[tokio::test]
async fn a_queued_job_is_moved_and_any_is_cancelled() {
    let (server, made) = busy().await;
    let moved = change(&server, &made[3], json!({"to": "front"})).await;
    assert_eq!(moved.status, StatusCode::OK, "{}", moved.text());
    assert_eq!(ids(&moved.json())[1..], [&made[3], &made[1], &made[2]]);
    let moved = change(&server, &made[1], json!({"to": "later"})).await.json();
    assert_eq!(ids(&moved)[1..], [&made[3], &made[2], &made[1]]);
    // Beyond the end it stays where it is.
    let moved = change(&server, &made[1], json!({"to": "later"})).await.json();
    assert_eq!(ids(&moved)[1..], [&made[3], &made[2], &made[1]]);

    let left = server.request("DELETE", &format!("{JOBS}/{}", made[2]), "").await;
    assert_eq!(left.status, StatusCode::OK, "{}", left.text());
    assert!(!ids(&left.json()).contains(&made[2].as_str()));
    let record = server.get(&format!("/api/v1/generations/{}", made[2])).await.json();
    assert_eq!(record["state"], "cancelled");
    // The one that runs stops within a step.
    server.request("DELETE", &format!("{JOBS}/{}", made[0]), "").await;
    let events = server.get(&format!("/api/v1/generations/{}/events", made[0])).await.events();
    assert_eq!(events.last().unwrap().name, "cancelled");
}

#[tokio::test]
async fn changes_that_do_not_fit_say_why() {
    let (server, made) = busy().await;
    let running = change(&server, &made[0], json!({"to": "front"})).await;
    assert_eq!(running.status, StatusCode::CONFLICT);
    assert_eq!(running.json()["detail"], "This job does not wait any more.");
    for (id, body, status) in [
        (made[1].as_str(), json!({"to": "sideways"}), StatusCode::UNPROCESSABLE_ENTITY),
        (&made[1], json!({"to": "front", "by": 2}), StatusCode::UNPROCESSABLE_ENTITY),
        (&made[1], json!({}), StatusCode::UNPROCESSABLE_ENTITY),
        ("019ad000-0000-7000-8000-000000000000", json!({"to": "front"}), StatusCode::NOT_FOUND),
        ("no-id", json!({"to": "front"}), StatusCode::NOT_FOUND),
    ] {
        let answer = change(&server, id, body.clone()).await;
        assert_eq!(answer.status, status, "{id} {body}: {}", answer.text());
    }
    let gone = server.request("DELETE", &format!("{JOBS}/019ad000-0000-7000-8000-000000000000"), "").await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    assert_eq!(ids(&jobs(&server).await), made, "nothing was changed");
}

#[tokio::test]
async fn paused_intake_refuses_every_kind_and_lets_go_on_what_is_there() {
    let (server, made) = busy().await;
    let dataset = dataset(&server, "cloth").await;
    let paused = server.request("PUT", INTAKE, &json!({"paused": true}).to_string()).await;
    assert_eq!((paused.status, paused.json()), (StatusCode::OK, json!({"paused": true})));
    assert_eq!(jobs(&server).await["paused"], true);
    for (address, body) in [
        ("/api/v1/generations", json!({"prompt": "one more"})),
        ("/admin/api/training", json!({"name": "cloth", "dataset": dataset, "config": {"steps": 4}})),
        ("/admin/api/evaluations", json!({"version": "adire@v1"})),
        ("/admin/api/adapters/adire@v1/push", json!({"repository": "ada/cloth"})),
    ] {
        let refused = server.post(address, &body.to_string()).await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{address}");
        let problem = refused.json();
        assert_eq!(problem["type"], "urn:adire:problem:intake-paused");
        assert_eq!(problem["title"], "New requests are paused");
        assert_eq!(refused.header("retry-after"), "60");
    }
    for id in &made {
        let events = server.get(&format!("/api/v1/generations/{id}/events")).await.events();
        assert_eq!(events.last().unwrap().name, "done");
    }
    server.request("PUT", INTAKE, &json!({"paused": false}).to_string()).await;
    generation(&server, "again").await;
    // Datasets are not jobs: they can be filled meanwhile.
    assert_eq!(server.get(DATASETS).await.status, StatusCode::OK);
}

/// Posts the form of the page; where it leads to, or why it was refused.
async fn act(server: &Server, fields: &[(&str, &str)]) -> Result<String, Answer> {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = Request::post("/admin/queue")
        .header(header::ACCEPT, "text/html")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let answer = server.send(request.body(Body::from(body)).unwrap()).await;
    if answer.status == StatusCode::SEE_OTHER {
        Ok(answer.header("location").to_owned())
    } else {
        Err(answer)
    }
}

#[tokio::test]
async fn the_page_moves_pauses_and_cancels_by_plain_forms() {
    let (server, made) = busy().await;
    let push = server.post("/admin/api/adapters/adire@v1/push", r#"{"repository": "ada/cloth"}"#).await;
    let push = push.json()["id"].as_str().unwrap().to_owned();
    let order = async || ids(&jobs(&server).await)[1..4].iter().map(|id| id.to_string()).collect::<Vec<_>>();
    let [_, second, third, fourth] = &made[..] else { panic!("{made:?}") };
    let page = server.get("/admin/queue").await.text();
    for shown in ["the first", "the fourth", "adire@v1 to ada/cloth", "value=\"front\"", "Pause new jobs"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    for (action, moved, after) in [
        ("front", fourth, [fourth, second, third]),
        ("later", fourth, [second, fourth, third]),
        ("earlier", third, [second, third, fourth]),
    ] {
        let led = act(&server, &[("action", action), ("id", moved)]).await;
        assert_eq!(led.unwrap_or_else(|answer| panic!("{action}: {}", answer.text())), "/admin/queue");
        assert_eq!(order().await.iter().collect::<Vec<_>>(), after, "{action}");
    }
    let refused = act(&server, &[("action", "front"), ("id", &made[0])]).await.unwrap_err();
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.text().contains("This job does not wait any more."), "{}", refused.text());
    let unknown = act(&server, &[("action", "sideways"), ("id", second)]).await.unwrap_err();
    assert_eq!(unknown.status, StatusCode::UNPROCESSABLE_ENTITY);

    assert_eq!(act(&server, &[("action", "pause")]).await.ok().as_deref(), Some("/admin/queue"));
    let page = server.get("/admin/queue").await.text();
    let notice = "New generations, training runs, evaluations and pushes are refused.";
    assert!(page.contains(notice) && page.contains("Accept new jobs"), "{page}");
    let refused = server.post("/api/v1/generations", r#"{"prompt": "one more"}"#).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(act(&server, &[("action", "resume")]).await.ok().as_deref(), Some("/admin/queue"));
    assert!(!server.get("/admin/queue").await.text().contains(notice));
    generation(&server, "one more").await;

    for id in [&push, second] {
        let led = act(&server, &[("action", "cancel"), ("id", id)]).await;
        assert_eq!(led.ok().as_deref(), Some("/admin/queue?done=1"));
    }
    assert!(server.get("/admin/queue?done=1").await.text().contains("Cancelled 1 job."));
    let queue = jobs(&server).await;
    assert!(!ids(&queue).contains(&push.as_str()) && !ids(&queue).contains(&second.as_str()), "{queue}");
}
