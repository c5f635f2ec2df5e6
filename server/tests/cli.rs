//! The program's exits: one sentence and the right code, whatever is wrong around it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails best where it stands")]

use std::{
    io::Write,
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
};

fn adire(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adire"));
    for name in ["ADIRE_ADDR", "ADIRE_DATA", "ADIRE_DATABASE", "ADIRE_MODEL", "ADIRE_SITE", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.env("RUST_LOG", "off").args(arguments).output().unwrap()
}

/// Checks the exit code and returns the message, which must be one line without a backtrace.
fn sentence(output: &Output, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert_eq!(output.stdout, b"", "nothing is ready");
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    assert!(!text.contains("panicked"), "{text}");
    text
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_port_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let model = folder.path().join("model");
    let data = folder.path().join("data");
    let output = adire(&["serve", "--addr", &addr, "--model", text(&model), "--data", text(&data)]);
    let message = sentence(&output, 1);
    assert!(message.contains(&addr) && message.contains("in use") && message.contains("--addr"), "{message}");
    assert!(!data.exists(), "nothing was touched");
}

#[test]
fn no_address_at_all() {
    let output = adire(&["serve", "--addr", "here", "--model", "nowhere"]);
    assert!(sentence(&output, 1).contains("host:port"));
}

#[test]
fn a_model_folder_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let (model, data) = (folder.path().join("no-model"), folder.path().join("data"));
    let output = adire(&["serve", "--addr", "127.0.0.1:0", "--model", text(&model), "--data", text(&data)]);
    let message = sentence(&output, 1);
    assert!(message.contains("no-model"), "{message}");
}

#[test]
fn a_data_folder_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let data = file.join("data");
    let output = adire(&["serve", "--addr", "127.0.0.1:0", "--model", "nowhere", "--data", text(&data)]);
    let message = sentence(&output, 1);
    assert!(message.contains(text(&data)), "{message}");
}

#[test]
fn a_site_folder_that_is_not_there() {
    let output = adire(&["serve", "--addr", "127.0.0.1:0", "--model", "nowhere", "--site", "no-such-site"]);
    assert!(sentence(&output, 1).contains("no-such-site"));
}

#[test]
fn a_wrong_argument_is_a_usage_error() {
    for arguments in [&["serve", "--queue", "0"][..], &["serve", "--nothing"], &["nothing"]] {
        let output = adire(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn health_of_a_server_that_is_not_there() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let message = sentence(&adire(&["health", "--addr", &free]), 1);
    assert!(message.contains(&free), "{message}");
}

#[test]
fn datasets_are_imported_and_listed_while_no_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (data, images) = (folder.path().join("data"), folder.path().join("set/10_red cloth"));
    let set = folder.path().join("set");
    std::fs::create_dir_all(&images).unwrap();
    let rgb = (0..64 * 64 * 3).map(|at| at as u8).collect();
    let image = adire_studio::Pixels { width: 64, height: 64, rgb };
    std::fs::write(images.join("a.png"), adire_studio::encode_png(&image, "").unwrap()).unwrap();
    std::fs::write(images.join("b.png"), "text").unwrap();
    let import = ["datasets", "import", "cloth", text(&set), "--data", text(&data), "--trigger", "tok"];
    let output = adire(&import);
    let (message, remarks) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(
        output.status.success() && message.starts_with("Imported cloth with 1 images into"),
        "{message}{remarks}"
    );
    assert!(remarks.contains("10_red cloth/b.png: Skipped."), "{remarks}");
    let listed = adire(&["datasets", "list", "--data", text(&data)]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("cloth  1 images  draft"), "{listed}");

    let empty = folder.path().join("empty");
    std::fs::create_dir_all(&empty).unwrap();
    let nothing = adire(&["datasets", "import", "x", text(&empty), "--data", text(&data)]);
    assert!(sentence(&nothing, 1).contains("has no usable image"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let held = runtime.block_on(adire_studio::DataFolder::open(&data)).unwrap();
    assert!(sentence(&adire(&["datasets", "list", "--data", text(&data)]), 1).contains("in use by process"));
    assert_eq!(runtime.block_on(held.datasets()).unwrap().len(), 1, "an import of nothing leaves nothing");
    let png = images.join("a.png");
    let add = ["adapters", "add", text(&png), "--name", "cloth", "--data", text(&data), "--model", "nowhere"];
    let in_use = sentence(&adire(&add), 1);
    assert!(in_use.contains("in use by process") && in_use.contains("POST /admin/api/adapters"), "{in_use}");
}

#[test]
fn a_database_that_cannot_be_used_is_one_sentence_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for (url, part) in [
        ("postgres://adire:s3cret@127.0.0.1:1/studio", "database studio at 127.0.0.1:1 cannot be reached"),
        ("postgres://adire:s3cret/x@127.0.0.1/studio", "The database URL cannot be used"),
        ("mysql://adire:s3cret@127.0.0.1/studio", "does not begin with postgres://"),
    ] {
        let refused = adire(&["datasets", "list", "--data", text(&data), "--database", url]);
        let message = sentence(&refused, 1);
        assert!(message.contains(part) && !message.contains("s3cret"), "{message}");
    }
    let variable = Command::new(env!("CARGO_BIN_EXE_adire"))
        .args(["datasets", "list", "--help"])
        .env("ADIRE_DATABASE", "postgres://adire:s3cret@localhost/studio")
        .output()
        .unwrap();
    let help = String::from_utf8_lossy(&variable.stdout).into_owned();
    assert!(help.contains("ADIRE_DATABASE") && !help.contains("s3cret"), "{help}");
}

/// A data folder with versions 1 to 3 of `adire`.
async fn with_versions(data: &Path) {
    let config = adire_studio::StudioConfig::new(data);
    let studio =
        adire_studio::Studio::open(config, || Ok(adire_studio::fake::FakeBackend::default())).await.unwrap();
    for version in 1..=3 {
        let path = data.join(format!("{version}.safetensors"));
        let content = [adire_studio::fake::ADAPTER_MAGIC, &[version]].concat();
        std::fs::write(&path, content).unwrap();
        let new = adire_studio::NewAdapter {
            name: "adire".to_owned(),
            version: Some(u32::from(version)),
            path,
            description: String::new(),
            trigger: String::new(),
            strict: false,
        };
        studio.add_adapter(new).await.unwrap();
    }
    studio.shutdown().await;
}

fn printed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registry_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    with_versions(&data).await;
    let run = |arguments: &[&str]| adire(&[arguments, &["--data", text(&data)]].concat());
    let refused = sentence(&run(&["promote", "adire@v1", "--reason", "first"]), 1);
    assert!(refused.contains("adire@v1 has no verdict"), "{refused}");
    let promote = |id: &str| printed(&run(&["promote", id, "--reason", "better dots", "--force"]));
    assert_eq!(promote("adire@v1"), "adire@v1 promoted to production (before: nothing): better dots");
    promote("adire@v2");
    promote("adire@v3");
    assert_eq!(
        printed(&run(&["rollback", "adire", "--reason", "smudges"])),
        "adire rolled back from v3 to v2: smudges"
    );
    let json = printed(&run(&["rollback", "adire", "--to", "1", "--reason", "smudges", "--json"]));
    let made: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&made["number"], &made["to_version"]), (&5.into(), &1.into()));
    assert_eq!(printed(&run(&["alias", "set", "adire@v3", "next"])), "adire@next is v3 (before: nothing)");
    assert_eq!(printed(&run(&["alias", "delete", "adire", "next"])), "adire@next deleted (was v3)");
    assert!(sentence(&run(&["alias", "set", "adire@v3", "production"]), 1).contains("protected"));

    let stage = |command: &str| printed(&run(&[command, "adire@v3", "--reason", "too blue"]));
    assert_eq!(stage("reject"), "adire@v3 rejected: too blue");
    assert_eq!(stage("reopen"), "adire@v3 is a candidate again: too blue");
    assert_eq!(stage("archive"), "adire@v3 archived: too blue");
    let again = sentence(&run(&["archive", "adire@v3", "--reason", "x"]), 1);
    assert!(again.contains("archived"), "{again}");

    let list = printed(&run(&["ledger", "list", "adire"]));
    assert_eq!(list.lines().count(), 10, "{list}");
    assert!(list.lines().next().unwrap().contains("command line  adire@v1 promoted"), "{list}");
    let verified = printed(&run(&["ledger", "verify", "adire"]));
    assert!(verified.starts_with("10 rows, all as written; the last one is "), "{verified}");
    let json = printed(&run(&["ledger", "verify", "adire", "--json"]));
    let check: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&check["moves"], check.get("fault")), (&10.into(), None));
    assert!(sentence(&run(&["ledger", "verify", "kente"]), 1).contains("Adapter kente not found"));
    // Scripts may pass the model to every command.
    let verified = printed(&run(&["ledger", "verify", "adire", "--model", "models/starter"]));
    assert!(verified.starts_with("10 rows"), "{verified}");
    printed(&run(&["promote", "adire@v2", "--reason", "again", "--force", "--model", "models/starter"]));
    printed(&run(&["rollback", "adire", "--reason", "again", "--model", "models/starter"]));
    // An edit of the file: SQLite stores texts as they are.
    let file = data.join("adire.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(8).rposition(|window| window == b"too blue").unwrap();
    bytes[at..at + 8].copy_from_slice(b"too grey");
    std::fs::write(&file, bytes).unwrap();
    let tampered = sentence(&run(&["ledger", "verify", "adire"]), 1);
    assert!(tampered.contains("the ledger of adire is not as it was written: Row "), "{tampered}");
    assert!(tampered.contains("was changed after it was written"), "{tampered}");
    let json = run(&["ledger", "verify", "adire", "--json"]);
    let check: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json.status.code(), Some(1));
    assert!(check["fault"]["number"].as_u64().is_some_and(|row| (8..=10).contains(&row)), "{check}");
    let missing = run(&["promote", "adire@v1"]);
    assert_eq!(missing.status.code(), Some(2), "a reason is needed");
}

#[test]
fn a_hash_of_a_password_is_printed_and_opens_the_admin_pages() {
    let ask = |password: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adire"));
        command
            .args(["admin", "hash-password"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let output = ask("four words of mine\n");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let hash = String::from_utf8(output.stdout).unwrap();
    assert!(hash.starts_with("$argon2id$") && hash.ends_with('\n') && hash.lines().count() == 1, "{hash}");
    let data = tempfile::tempdir().unwrap();
    adire_server::AdminAuth::open(data.path(), Some(hash.trim().to_owned())).unwrap();
    assert!(sentence(&ask("short\n"), 1).contains("10 characters"));
}
