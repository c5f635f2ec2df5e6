//! The program's exits: one sentence and the right code, whatever is wrong around it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails best where it stands")]

use std::{
    net::TcpListener,
    path::Path,
    process::{Command, Output},
};

fn adire(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adire"));
    for name in ["ADIRE_ADDR", "ADIRE_DATA", "ADIRE_MODEL", "ADIRE_SITE", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.env("RUST_LOG", "off").args(arguments).output().unwrap()
}

/// Checks the exit code and returns what was said, which must be one line without a backtrace.
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
    let told = sentence(&output, 1);
    assert!(told.contains(&addr) && told.contains("in use") && told.contains("--addr"), "{told}");
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
    let told = sentence(&output, 1);
    assert!(told.contains("no-model"), "{told}");
}

#[test]
fn a_data_folder_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let data = file.join("data");
    let output = adire(&["serve", "--addr", "127.0.0.1:0", "--model", "nowhere", "--data", text(&data)]);
    let told = sentence(&output, 1);
    assert!(told.contains(text(&data)), "{told}");
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
    let told = sentence(&adire(&["health", "--addr", &free]), 1);
    assert!(told.contains(&free), "{told}");
}
