//! Sheets from outside: the API, the page with its form, and the PNG file.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::{
    browser::{Browser, location},
    support::{PATIENCE, Server},
};

const SHEETS: &str = "/admin/api/sheets";

async fn ended(server: &Server, id: &str) -> Value {
    let waiting = async {
        loop {
            let detail = server.get(&format!("{SHEETS}/{id}")).await.json();
            if detail["sheet"]["state"] != "running" {
                return detail;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it ends")
}

fn is_drawn(bytes: &[u8], columns: u32, rows: u32) -> image::RgbImage {
    let image = image::load_from_memory_with_format(bytes, image::ImageFormat::Png).unwrap().to_rgb8();
    assert!(image.width() > columns * 64 && image.height() > rows * 64, "{:?}", image.dimensions());
    // Letters and images, and not only paper.
    let dark = image.pixels().filter(|pixel| pixel.0 == [23, 26, 46]).count();
    assert!(dark > 100, "{dark} pixels of letters");
    image
}

#[tokio::test]
async fn a_sheet_is_created_fills_in_and_is_one_file() {
    let server = Server::start().await;
    server.adapter("adire", 1).await;
    server.adapter("adire", 2).await;
    let body = json!({
        "title": "Versions",
        "base": { "prompt": "blue moons", "steps": 4 },
        "axes": [
            { "setting": "version", "values": ["none", "adire@v1", "adire@v2"] },
            { "setting": "strength", "values": ["0.5", "1"] },
        ],
    });
    let made = server.post(SHEETS, &body.to_string()).await;
    assert_eq!(made.status, StatusCode::ACCEPTED, "{}", made.text());
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), format!("{SHEETS}/{id}"));
    // It is a file from the start, with empty places.
    let page = format!("/admin/sheets/{id}");
    is_drawn(&server.get(&format!("{page}/sheet.png")).await.body, 3, 2);
    let detail = ended(&server, &id).await;
    assert_eq!((&detail["sheet"]["done"], &detail["sheet"]["state"]), (&json!(6), &json!("done")));
    let file = server.get(&format!("{page}/sheet.png")).await;
    assert_eq!(file.header("content-type"), "image/png");
    is_drawn(&file.body, 3, 2);

    let text = server.get(&page).await.text();
    assert!(text.contains("6 images, all done."), "{text}");
    for value in ["adire@v1", "adire@v2", "none", "0.5"] {
        assert!(text.contains(&format!(">{value}</th>")), "{value}: {text}");
    }
    for cell in detail["cells"].as_array().unwrap() {
        let hash = cell["image"].as_str().unwrap();
        assert!(text.contains(&format!("/admin/images/{hash}")), "a cell opens its image: {text}");
    }
    assert_eq!(text.matches("Use settings: ").count(), 6);
    assert!(text.contains("adapter=adire%40v2") && text.contains("prompt=blue%20moons"), "{text}");
    let live = server.get(&format!("{page}/live")).await.text();
    assert!(live.contains("data-state=\"done\"") && !live.contains("<nav"), "{live}");

    assert_eq!(server.post(&format!("{SHEETS}/{id}/cancel"), "").await.json()["state"], "done");
    assert_eq!(server.request("DELETE", &format!("{SHEETS}/{id}"), "").await.status, StatusCode::NO_CONTENT);
    for gone in [format!("{SHEETS}/{id}"), format!("{page}/sheet.png"), page.clone(), format!("{page}/live")]
    {
        assert_eq!(server.get(&gone).await.status, StatusCode::NOT_FOUND, "{gone}");
    }
}

#[tokio::test]
async fn the_form_creates_a_sheet_or_says_what_is_wrong() {
    let server = Server::start().await;
    server.adapter("adire", 1).await;
    let admin = Browser::new(&server).await;
    let text = admin.open("/admin/sheets").await.text();
    assert!(text.contains("No sheets yet.") && text.contains("New sheet"), "{text}");
    let refused = admin
        .form(
            "/admin/sheets",
            &[("prompt", "moons"), ("axis1", "steps"), ("values1", "4, many"), ("seed", "7")],
        )
        .await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let text = refused.text();
    assert!(text.contains("“many” is not a number") && text.contains("4, many"), "{text}");
    let made = admin
        .form(
            "/admin/sheets",
            &[
                ("prompt", "moons"),
                ("axis1", "steps"),
                ("values1", "4, 8"),
                ("axis2", "prompt"),
                ("values2", "red, round\nblue"),
                ("seed", "7"),
            ],
        )
        .await;
    let address = location(&made).to_owned();
    let id = address.rsplit('/').next().unwrap();
    let detail = ended(&server, id).await;
    let prompts: Vec<&str> = detail["cells"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cell| cell["spec"]["prompt"].as_str().unwrap())
        .collect();
    assert_eq!(prompts, ["red, round", "red, round", "blue", "blue"]);
    assert!(detail["cells"].as_array().unwrap().iter().all(|cell| cell["spec"]["seed"] == 7), "{detail}");
    let again = admin.open(&address).await.text();
    assert!(again.contains("/admin/sheets?prompt=moons&amp;seed=7&amp;axis1=steps"), "{again}");
    let prefilled = admin.open("/admin/sheets?prompt=moons&seed=7&axis1=steps&values1=4%0A8").await.text();
    assert!(prefilled.contains("value=\"7\"") && prefilled.contains("4\n8"), "{prefilled}");
    let deleted = admin.form(&address, &[("action", "delete")]).await;
    assert_eq!(location(&deleted), "/admin/sheets");
    assert_eq!(admin.form(&address, &[("action", "nothing")]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn checkpoints_of_a_run_fill_a_sheet_and_become_versions() {
    let server = Server::start().await;
    let dataset = crate::datasets::dataset(&server, "cloth").await;
    let config =
        json!({ "steps": 6, "checkpoint_every": 2, "sample_every": 0, "sample_prompts": ["a tok cloth"] });
    let request = json!({ "name": "cloth", "dataset": dataset, "config": config }).to_string();
    let run = server.post("/admin/api/training", &request).await.json()["id"].as_str().unwrap().to_owned();
    let admin = Browser::new(&server).await;
    let page = format!("/admin/training/{run}");
    let text = admin.open(&page).await.text();
    assert!(text.contains("Compare in a sheet"), "before the first checkpoint, too: {text}");
    let made = admin.form(&page, &[("action", "sheet")]).await;
    let address = location(&made).to_owned();
    let id = address.strip_prefix("/admin/sheets/").unwrap_or_else(|| panic!("{address}")).to_owned();
    let detail = ended(&server, &id).await;
    assert_eq!((&detail["sheet"]["done"], &detail["sheet"]["cells"]), (&json!(9), &json!(9)), "{detail}");
    assert_eq!(detail["sheet"]["request"]["axes"][0]["values"], json!(["2", "4", "6"]));
    assert_eq!(detail["cells"][0]["spec"]["prompt"], "a tok cloth");
    let text = admin.open(&address).await.text();
    assert!(
        text.contains("Checkpoint (step) × Adapter strength") && text.contains("9 images, all done."),
        "{text}"
    );
    assert!(text.contains("Make step 2 a version") && !text.contains("Use settings"), "{text}");
    is_drawn(&server.get(&format!("{address}/sheet.png")).await.body, 3, 3);
    let again = admin.open(&format!("/admin/sheets?run={run}&axis1=checkpoint&prompt=moons")).await.text();
    assert!(again.contains(&format!("value=\"{run}\" selected")), "{again}");

    let waiting = async {
        while server.get(&format!("/admin/api/training/{run}")).await.json()["job"]["state"] != "done" {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    let versions = server.get("/api/v1/adapters").await.json();
    assert_eq!(versions.as_array().map(Vec::len), Some(1), "only what the run made: {versions}");
    let kept = admin.form(&page, &[("action", "keep"), ("step", "2")]).await;
    assert_eq!(location(&kept), "/admin/versions/cloth@v2");
    assert_eq!(admin.form(&page, &[("action", "keep"), ("step", "3")]).await.status, StatusCode::NOT_FOUND);
    // The same for programs.
    let keep = |step: &str| format!("/admin/api/training/{run}/steps/{step}/keep");
    let kept = server.post(&keep("4"), "").await;
    assert_eq!(kept.status, StatusCode::OK, "{}", kept.text());
    assert_eq!((&kept.json()["name"], &kept.json()["version"]), (&json!("cloth"), &json!(3)));
    assert_eq!(server.post(&keep("4"), "").await.json()["version"], 3, "once");
    assert_eq!(server.post(&keep("3"), "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.post(&keep("x"), "").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let other = "/admin/api/training/0199c0de-0000-7000-8000-000000000000/steps/2/keep";
    assert_eq!(server.post(other, "").await.status, StatusCode::NOT_FOUND);
}
