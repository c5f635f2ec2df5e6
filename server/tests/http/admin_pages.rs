//! The operators' pages and their plain forms, as a browser without a script uses them.

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};

use crate::{
    datasets::{dataset, png},
    support::{Answer, PATIENCE, Server},
};

async fn open(server: &Server, path: &str) -> Answer {
    let request = Request::get(path).header(header::ACCEPT, "text/html");
    server.send(request.body(Body::empty()).unwrap()).await
}

/// The page's own text, without the style sheet and the marks that leptos leaves.
async fn text(server: &Server, path: &str) -> String {
    let answer = open(server, path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    answer.text()
}

async fn send(server: &Server, path: &str, fields: &[(&str, &str)]) -> Answer {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = Request::post(path)
        .header(header::ACCEPT, "text/html")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    server.send(request.body(Body::from(body)).unwrap()).await
}

/// Sends a form that is taken; returns the address that it leads to.
async fn taken(server: &Server, path: &str, fields: &[(&str, &str)]) -> String {
    let answer = send(server, path, fields).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}: {}", answer.text());
    answer.header("location").to_owned()
}

async fn bring(server: &Server, id: &str, files: &[(&str, Vec<u8>)]) -> Answer {
    let mut body = Vec::new();
    for (name, bytes) in files {
        let head =
            format!("--edge\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{name}\"\r\n\r\n");
        body.extend([head.as_bytes(), bytes, b"\r\n"].concat());
    }
    body.extend(b"--edge--\r\n");
    let request = Request::post(format!("/admin/datasets/{id}/files"))
        .header(header::ACCEPT, "text/html")
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=edge");
    server.send(request.body(Body::from(body)).unwrap()).await
}

/// What the form for a training sends when only little is changed.
fn small(dataset: &str) -> Vec<(&str, &str)> {
    vec![
        ("preset", "style"),
        ("name", "cloth"),
        ("dataset", dataset),
        ("steps", "12"),
        ("checkpoint_every", "4"),
        ("sample_every", "4"),
        ("sample_prompts", "a <tok> cloth\r\nmoons"),
        ("resolution", "64"),
    ]
}

async fn until(server: &Server, address: &str, state: &str) {
    let waiting = async {
        while !text(server, &format!("{address}/live")).await.contains(&format!("data-state=\"{state}\"")) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{address} comes to {state}"));
}

#[tokio::test]
async fn pages_of_an_empty_studio_say_what_to_do_first() {
    let server = Server::start().await;
    for (path, words) in [
        ("/admin", "Create dataset"),
        ("/admin/datasets", "No datasets yet"),
        ("/admin/training", "No dataset to train on yet"),
        ("/admin/training/new", "Start training"),
        ("/admin/training/compare", "Select two or more"),
    ] {
        let html = text(&server, path).await;
        assert!(html.contains(words), "{path}: {html}");
        assert!(html.contains("<main id=\"main\">") && html.contains("href=\"/admin.css\""), "{path}");
    }
    for path in ["/admin/datasets/nobody", "/admin/training/nobody", "/admin/training/nobody/live"] {
        assert_eq!(open(&server, path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_dataset_is_made_filled_and_edited_by_plain_forms() {
    let server = Server::start().await;
    let nameless = send(&server, "/admin/datasets", &[("name", " "), ("trigger", "a \"tok\"")]).await;
    assert_eq!(nameless.status, StatusCode::UNPROCESSABLE_ENTITY);
    let html = nameless.text();
    assert!(html.contains("Enter a name.") && html.contains("aria-invalid=\"true\""), "{html}");
    assert!(html.contains("a &quot;tok&quot;"), "what was typed stays: {html}");

    let address = taken(&server, "/admin/datasets", &[("name", "Cloth <1>"), ("trigger", "tok")]).await;
    let id = address.trim_start_matches("/admin/datasets/").to_owned();
    let files = [
        ("a.png", png(1)),
        ("b.png", png(2)),
        ("b.txt", b"two moons".to_vec()),
        ("c.png", b"not an image".to_vec()),
    ];
    let uploaded = bring(&server, &id, &files).await;
    assert_eq!(
        (uploaded.status, uploaded.header("location")),
        (StatusCode::SEE_OTHER, &*format!("{address}?done=files"))
    );
    let html = text(&server, uploaded.header("location")).await;
    assert!(html.contains("Cloth &lt;1&gt;") && !html.contains("Cloth <1>"), "{html}");
    for words in ["Files added.", "2 images", "two moons", "c.png", "96 × 64", "Below 256", "3 : 2"] {
        assert!(html.contains(words), "{words}: {html}");
    }

    let hashes: Vec<_> =
        server.studio.dataset(&id).await.unwrap().images.into_iter().map(|p| p.hash).collect();
    let (first, second) = (format!("caption.{}", hashes[0]), format!("caption.{}", hashes[1]));
    let done =
        taken(&server, &address, &[("action", "captions"), (&first, "one\r\n moon"), (&second, "two moons")])
            .await;
    assert_eq!(done, format!("{address}?done=captions"));
    taken(&server, &address, &[("action", "prefix"), ("prefix", "old cloth, ")]).await;
    taken(&server, &address, &[("action", "replace"), ("find", "moon"), ("with", "star")]).await;
    let captions = |dataset: adire_protocol::DatasetRecord| {
        dataset.images.into_iter().map(|image| image.caption).collect::<Vec<_>>()
    };
    let now = captions(server.studio.dataset(&id).await.unwrap());
    assert_eq!(now, ["old cloth, one star", "old cloth, two stars"]);
    let wrong = send(&server, &address, &[("action", "replace"), ("find", ""), ("with", "x")]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text().contains("Enter the text to replace."), "{}", wrong.text());

    taken(
        &server,
        &address,
        &[("action", "describe"), ("name", "Other"), ("trigger", ""), ("caption", "a cloth")],
    )
    .await;
    taken(&server, &address, &[("action", "clear_remarks")]).await;
    taken(&server, &address, &[("remove", &hashes[0]), (&second, "kept")]).await;
    let dataset = server.studio.dataset(&id).await.unwrap();
    assert_eq!(
        (dataset.name.clone().as_str(), dataset.warnings.len(), captions(dataset)),
        ("Other", 0, vec!["kept".to_owned()])
    );

    let times = format!("repeats.{}", hashes[1]);
    taken(&server, &address, &[("action", "captions"), (&times, "7")]).await;
    assert_eq!(server.studio.dataset(&id).await.unwrap().images[0].repeats, 7);
    for wrong in ["0", "often", "99999999999"] {
        let refused = send(&server, &address, &[("action", "captions"), (&times, wrong)]).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
        assert!(refused.text().contains("1 to 1000"), "{wrong}: {}", refused.text());
    }
    let nowhere = send(&server, &address, &[("action", "import"), ("folder", "/nowhere")]).await;
    assert_eq!(nowhere.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(nowhere.text().contains("id=\"field-folder-error\""), "{}", nowhere.text());
    let folder = server.folder.path().join("more");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("d.png"), png(9)).unwrap();
    let done = taken(&server, &address, &[("action", "import"), ("folder", folder.to_str().unwrap())]).await;
    assert!(text(&server, &done).await.contains("d.png"), "{done}");

    let nothing = bring(&server, &id, &[]).await;
    assert_eq!(nothing.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(nothing.text().contains("No file was sent"), "{}", nothing.text());

    let odd = send(&server, &address, &[("action", "explode")]).await;
    assert_eq!(odd.status, StatusCode::UNPROCESSABLE_ENTITY);
    let list = taken(&server, &address, &[("action", "delete")]).await;
    assert_eq!(list, "/admin/datasets?done=deleted");
    let html = text(&server, &list).await;
    assert!(html.contains("Dataset deleted.") && html.contains("No datasets yet"), "{html}");
}

#[tokio::test]
async fn a_run_is_started_watched_and_compared() {
    let server = Server::start().await;
    let dataset = dataset(&server, "Cloth one").await;
    let form =
        text(&server, &format!("/admin/training/new?dataset={dataset}&preset=thorough&note=why")).await;
    for words in ["value=\"cloth-one\"", "value=\"2000\"", "value=\"why\"", "2 images, trigger “tok”"] {
        assert!(form.contains(words), "{words}: {form}");
    }
    // What samples are made of can be seen before, and private data is marked as such.
    assert!(form.contains("\ntok, cloth\ncloth</textarea>"), "{form}");
    assert!(
        form.contains("name=\"publish_captions\"") && form.contains("only if you publish them below"),
        "{form}"
    );
    // Every wrong field is named beside it, and what was typed stays.
    let mut wrong = small(&dataset);
    wrong.extend([("rank", "0"), ("name", "No Name"), ("note", "kept <b>")]);
    let refused = send(&server, "/admin/training", &wrong).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let html = refused.text();
    for words in [
        "Fix 2 fields",
        "Rank must be",
        "is not an adapter name",
        "kept &lt;b&gt;",
        "id=\"field-rank-error\"",
    ] {
        assert!(html.contains(words), "{words}: {html}");
    }

    let fold = html.split("<details").find(|tag| tag.contains("id=\"advanced\"")).unwrap();
    assert!(fold.split('>').next().unwrap().contains(" open"), "errors are visible: {fold}");

    let address = taken(&server, "/admin/training", &small(&dataset)).await;
    until(&server, &address, "done").await;
    let html = text(&server, &address).await;
    for words in [
        "cloth v1 is ready.",
        "Held-out loss",
        "Gradient norm",
        "Step 12",
        "Base model",
        "a &lt;tok&gt; cloth",
        "role=\"progressbar\"",
    ] {
        assert!(html.contains(words), "{words}: {html}");
    }
    assert!(!html.contains("<tok>") && !html.contains("NaN"), "{html}");
    let live = text(&server, &format!("{address}/live")).await;
    assert!(live.contains("id=\"live\"") && !live.contains("<html"), "the part that moves, alone: {live}");
    let frozen = text(&server, &format!("/admin/datasets/{dataset}")).await;
    assert!(frozen.contains("Frozen") && !frozen.contains("<textarea"), "{frozen}");
    let copy = taken(&server, &format!("/admin/datasets/{dataset}"), &[("action", "copy")]).await;
    assert!(text(&server, &copy).await.contains("Dataset duplicated."), "{copy}");

    // The same again with another rank, side by side.
    let id = address.trim_start_matches("/admin/training/").to_owned();
    let again = text(&server, &format!("/admin/training/new?from={id}")).await;
    assert!(again.contains("a &lt;tok&gt; cloth\nmoons") && again.contains("value=\"12\""), "{again}");
    let mut other = small(&dataset);
    other.push(("rank", "9"));
    let second = taken(&server, "/admin/training", &other).await;
    until(&server, &second, "done").await;
    let other = second.trim_start_matches("/admin/training/").to_owned();
    let html = text(&server, &format!("/admin/training/compare?run={id}&job={other}&run={id}")).await;
    let rows = html.split("id=\"differences\"").nth(1).unwrap().split("</table>").next().unwrap();
    assert!(rows.contains("Rank") && rows.contains('9') && !rows.contains("Learning rate"), "{rows}");
    assert!(html.contains("line run-1") && html.contains("line run-2") && !html.contains("run-3"), "{html}");

    let list = text(&server, "/admin/training").await;
    assert_eq!(list.matches("type=\"checkbox\"").count(), 2, "{list}");
    for file in ["kohya", "diffusers", "card"] {
        let link = format!("/admin/api/training/{id}/files/{file}");
        assert!(text(&server, &address).await.contains(&link), "{link}");
    }
    // The double makes no more than this one.
    assert_eq!(server.get(&format!("/admin/api/training/{id}/files/kohya")).await.status, StatusCode::OK);
    taken(&server, &format!("/admin/datasets/{dataset}"), &[("action", "delete")]).await;
    assert!(text(&server, &address).await.contains("deleted dataset"), "the page outlives it");
    let overview = text(&server, "/admin").await;
    assert!(overview.contains("Newest versions") && overview.contains("/adapters/cloth@v2"), "{overview}");
}

#[tokio::test]
async fn a_training_is_paused_resumed_and_cancelled_by_buttons() {
    // An image that takes long: the training waits for it, and so cannot end before its buttons are pressed.
    let server = Server::with(std::time::Duration::from_millis(50), 32).await;
    let dataset = dataset(&server, "cloth").await;
    server.submit(r#"{"prompt": "long", "steps": 100}"#).await;
    let mut long = small(&dataset);
    long.extend([("steps", "5000"), ("sample_every", "0"), ("checkpoint_every", "1000")]);
    let address = taken(&server, "/admin/training", &long).await;
    for action in ["pause", "resume", "cancel"] {
        assert_eq!(taken(&server, &address, &[("action", action)]).await, address);
        match action {
            "pause" => until(&server, &address, "paused").await,
            "resume" => assert!(!text(&server, &address).await.contains("data-state=\"paused\"")),
            _ => until(&server, &address, "cancelled").await,
        }
    }
    let late = send(&server, &address, &[("action", "resume")]).await;
    assert_eq!(late.status, StatusCode::CONFLICT);
    assert!(late.text().contains("role=\"status\""), "the page says why: {}", late.text());
    assert_eq!(
        send(&server, &address, &[("action", "explode")]).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );

    let pauses = |html: String| html.contains("Train between generations");
    let before = pauses(text(&server, "/admin/training").await);
    let value = if before { "" } else { "on" };
    taken(&server, "/admin/training/settings", &[("pause_while_people_wait", value)]).await;
    assert_ne!(pauses(text(&server, "/admin/training").await), before);
}
