//! PyPI's MLflow server as a process.

use std::{
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::PATIENCE;
use crate::testing::free_port;

pub(super) fn python() -> String {
    std::env::var("ADIRE_MLFLOW_PYTHON").expect("ADIRE_MLFLOW_PYTHON names a Python with mlflow")
}

/// An MLflow server of its own process group.
pub(super) struct Mlflow {
    child: Child,
    folder: tempfile::TempDir,
    pub(super) port: u16,
}

impl Drop for Mlflow {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["--", &format!("-{}", self.child.id())]).status();
        let _ = self.child.wait();
    }
}

impl Mlflow {
    pub(super) fn start(arguments: &[&str]) -> Self {
        let own = Self::launch(tempfile::tempdir().unwrap(), free_port(), arguments);
        own.wait();
        own
    }

    pub(super) fn launch(folder: tempfile::TempDir, port: u16, arguments: &[&str]) -> Self {
        use std::os::unix::process::CommandExt;
        let at = |name: &str| folder.path().join(name).display().to_string();
        let child = Command::new(python())
            .args(["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--workers", "1", "--backend-store-uri", &format!("sqlite:///{}", at("db"))])
            .args(["--artifacts-destination", &at("artifacts")])
            .args(arguments)
            .env("MLFLOW_DISABLE_TELEMETRY", "true")
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
            .process_group(0)
            .spawn()
            .unwrap();
        Self { child, folder, port }
    }

    pub(super) fn wait(&self) {
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() || !self.is_healthy() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
            assert!(start.elapsed() < PATIENCE, "MLflow does not start: {log}");
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn is_healthy(&self) -> bool {
        let url = format!("http://127.0.0.1:{}/health", self.port);
        ureq::get(url).call().is_ok_and(|answer| answer.status().is_success())
    }

    /// What MLflow's own client finds there.
    pub(super) fn found(&self) -> Value {
        let script = "../tools/clients/mlflow_check.py";
        let uri = format!("http://127.0.0.1:{}", self.port);
        let output = Command::new(python()).arg(script).args([&uri, "adire"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Fills it as a training script does.
    pub(super) fn seed(&self, adapter: &Path, part: &str) {
        let script = "../tools/clients/mlflow_seed.py";
        let uri = format!("http://127.0.0.1:{}", self.port);
        let output = Command::new(python()).arg(script).arg(uri).arg(adapter).arg(part).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
