//! Requests to an MLflow tracking server.

use std::time::Duration;

use adire_app::percent_encoded;
use serde_json::{Value, json};
use ureq::{Agent, Body, http::Response};
use url::Url;

use crate::trust;

/// How long a request may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How long a file may take to be sent.
const UPLOAD: Duration = Duration::from_secs(1800);
/// Most bytes of an answer that is read into memory.
const MAX_ANSWER: u64 = 64 << 20;
/// Most bytes of an artifact.
const MAX_FILE: u64 = 4 << 30;

/// A tracking server.
pub(crate) struct Client {
    agent: Agent,
    base: Url,
    /// Value of the header Authorization.
    authorization: Option<String>,
    patience: Duration,
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Another time it may succeed; a sentence.
    Away(String),
    /// What the server refuses; its code and a sentence.
    Refused(String, String),
}

impl Failure {
    /// The sentence.
    #[cfg(test)]
    pub(crate) fn sentence(&self) -> &str {
        match self {
            Self::Away(sentence) | Self::Refused(_, sentence) => sentence,
        }
    }

    fn has_code(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused(code, _) if code == wanted)
    }
}

impl Client {
    /// `address` may have a name and a password; `patience`: how long a request may take.
    ///
    /// # Errors
    /// A sentence: it is not an http(s) address.
    pub(crate) fn new(address: &str, patience: Duration) -> Result<Self, String> {
        let parsed = Url::parse(address.trim()).ok();
        let parsed = parsed.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let mut base = parsed.ok_or(
            "The MLflow tracking URI must be the address of a server, such as http://127.0.0.1:5000.",
        )?;
        let authorization = (!base.username().is_empty()).then(|| {
            use base64::Engine as _;
            let pair = format!("{}:{}", base.username(), base.password().unwrap_or_default());
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
        });
        let _ = base.set_username("");
        let _ = base.set_password(None);
        let agent = Agent::config_builder()
            .tls_config(trust::roots())
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_global(Some(patience))
            .user_agent(concat!("adire/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Ok(Self { agent, base, authorization, patience })
    }

    /// The address without name and password.
    pub(crate) fn shown(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/2.0/{path}", self.shown())
    }

    /// Posts JSON to a path below `/api/2.0/mlflow/`.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let mut request =
            self.agent.post(self.url(&format!("mlflow/{path}"))).content_type("application/json");
        if let Some(value) = &self.authorization {
            request = request.header("Authorization", value);
        }
        self.read(request.send(body.to_string()))
    }

    /// Deletes with JSON.
    pub(crate) fn delete(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.agent.delete(self.url(&format!("mlflow/{path}"))).force_send_body();
        let mut request = request.content_type("application/json");
        if let Some(value) = &self.authorization {
            request = request.header("Authorization", value);
        }
        self.read(request.send(body.to_string()))
    }

    /// Gets JSON from a path below `/api/2.0/`.
    pub(crate) fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
        let mut request = self.agent.get(self.url(path));
        for (name, value) in query {
            request = request.query(*name, *value);
        }
        if let Some(value) = &self.authorization {
            request = request.header("Authorization", value);
        }
        self.read(request.call())
    }

    /// Every entry of a list that comes in pages. `name`: of the list; `body` is sent as JSON or, with `is_get`, as a query.
    pub(crate) fn pages(
        &self,
        path: &str,
        name: &str,
        body: &Value,
        is_get: bool,
    ) -> Result<Vec<Value>, Failure> {
        let (mut all, mut body) = (Vec::new(), body.clone());
        loop {
            let page = if is_get {
                let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let query: Vec<(String, String)> = body
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(name, value)| (name.clone(), text(value)))
                    .collect();
                let query: Vec<(&str, &str)> =
                    query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                self.get(&format!("mlflow/{path}"), &query)?
            } else {
                self.post(path, &body)?
            };
            all.extend(page[name].as_array().into_iter().flatten().cloned());
            match page["next_page_token"].as_str().filter(|token| !token.is_empty()) {
                // A server that names the same page for ever ends nothing.
                Some(token) if body["page_token"] != token => body["page_token"] = token.into(),
                _ => return Ok(all),
            }
        }
    }

    /// Reads an artifact of a run from wherever the server keeps it.
    pub(crate) fn download(
        &self,
        run: &str,
        path: &str,
        to: &mut impl std::io::Write,
    ) -> Result<u64, Failure> {
        let request = self.agent.get(format!("{}/get-artifact", self.shown()));
        let request = request.query("path", path).query("run_uuid", run).config().timeout_global(None);
        let mut request =
            request.timeout_recv_response(Some(self.patience)).timeout_recv_body(Some(UPLOAD)).build();
        if let Some(value) = &self.authorization {
            request = request.header("Authorization", value);
        }
        let mut response = self.checked(request.call())?;
        let mut body = response.body_mut().with_config().limit(MAX_FILE).reader();
        std::io::copy(&mut body, to).map_err(|error| Failure::Away(format!("{path} broke off: {error}.")))
    }

    /// Puts a file below the artifacts of a run. `root`: the run's artifact URI.
    pub(crate) fn artifact(&self, root: &str, path: &str, bytes: &[u8]) -> Result<(), Failure> {
        let below = proxied(root).ok_or_else(|| {
            Failure::Refused(
                "ARTIFACTS".to_owned(),
                "MLflow keeps artifacts where only it can write. Start it with --serve-artifacts (the default) and \
                 --artifacts-destination."
                    .to_owned(),
            )
        })?;
        let url = self.url(&format!("mlflow-artifacts/artifacts/{below}/{}", escaped(path)));
        let request = self.agent.put(url).config().timeout_global(None).timeout_send_body(Some(UPLOAD));
        let request = request.timeout_recv_response(Some(self.patience)).build();
        let mut request = request.content_type("application/octet-stream");
        if let Some(value) = &self.authorization {
            request = request.header("Authorization", value);
        }
        self.read(request.send(bytes)).map(drop)
    }

    fn checked(&self, sent: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, Failure> {
        let mut response = sent.map_err(|error| {
            Failure::Away(format!("MLflow at {} cannot be reached: {error}.", self.shown()))
        })?;
        let status = response.status().as_u16();
        if response.status().is_success() {
            return Ok(response);
        }
        let text = response.body_mut().with_config().limit(1 << 20).read_to_string().unwrap_or_default();
        Err(self.failure(status, &text))
    }

    fn failure(&self, status: u16, text: &str) -> Failure {
        let shown = self.shown();
        let json: Value = serde_json::from_str(text).unwrap_or_default();
        let message: String = json["message"].as_str().unwrap_or_default().chars().take(300).collect();
        let code = json["error_code"].as_str().unwrap_or_default().to_owned();
        match status {
            403 if text.contains("Invalid Host header") || text.contains("DNS rebinding") => {
                let host = self.base.host_str().unwrap_or_default();
                let port = self.base.port().map(|port| format!(":{port}")).unwrap_or_default();
                Failure::Away(format!(
                    "MLflow at {shown} refuses the name {host}. Start it with --allowed-hosts {host}{port} (several are \
                     separated by commas)."
                ))
            }
            401 | 403 => Failure::Away(format!(
                "MLflow at {shown} refuses access ({status}). Put name and password into ADIRE_MLFLOW_TRACKING_URI."
            )),
            300..=399 => Failure::Away(format!("MLflow at {shown} redirects; use the address it leads to.")),
            413 => Failure::Refused(
                "TOO_LARGE".to_owned(),
                format!(
                    "What is in front of MLflow at {shown} refuses a file as too large (413). Raise its limit, such as \
                     nginx's client_max_body_size."
                ),
            ),
            408 | 409 | 429 | 500.. if code != "RESOURCE_ALREADY_EXISTS" => {
                Failure::Away(format!("MLflow at {shown} has a problem ({status})."))
            }
            _ if code.is_empty() => {
                Failure::Away(format!("What answers at {shown} ({status}) is not an MLflow server."))
            }
            _ => Failure::Refused(code, format!("MLflow refuses a request: {message}")),
        }
    }

    fn read(&self, sent: Result<Response<Body>, ureq::Error>) -> Result<Value, Failure> {
        let mut response = self.checked(sent)?;
        let text = response.body_mut().with_config().limit(MAX_ANSWER).read_to_string();
        let text = text.map_err(|_| Failure::Away("MLflow's answer broke off.".to_owned()))?;
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text)
            .map_err(|_| Failure::Away(format!("What answers at {} is not an MLflow server.", self.shown())))
    }

    /// The id of an experiment, which is created where it is absent.
    pub(crate) fn experiment(&self, name: &str) -> Result<String, Failure> {
        let id = |value: &Value| value.as_str().map(str::to_owned);
        let found = self.get("mlflow/experiments/get-by-name", &[("experiment_name", name)]);
        match found {
            Ok(found) => id(&found["experiment"]["experiment_id"]).ok_or_else(nonsense),
            Err(error) if error.has_code("RESOURCE_DOES_NOT_EXIST") => {
                let made = self.post("experiments/create", &json!({ "name": name }))?;
                id(&made["experiment_id"]).ok_or_else(nonsense)
            }
            Err(error) => Err(error),
        }
    }

    /// The run with this tag: id and artifact URI.
    pub(crate) fn find_run(
        &self,
        experiment: &str,
        tag: (&str, &str),
    ) -> Result<Option<(String, String)>, Failure> {
        let filter = format!("tags.`{}` = '{}'", tag.0, tag.1);
        let body = json!({ "experiment_ids": [experiment], "filter": filter, "max_results": 1 });
        let found = self.post("runs/search", &body)?;
        found["runs"].get(0).map(run_of).transpose()
    }

    /// Creates a run: id and artifact URI.
    pub(crate) fn create_run(
        &self,
        experiment: &str,
        name: &str,
        start: i64,
        tags: &[(&str, &str)],
    ) -> Result<(String, String), Failure> {
        let tags: Vec<Value> =
            tags.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
        let body =
            json!({ "experiment_id": experiment, "run_name": name, "start_time": start, "tags": tags });
        run_of(&self.post("runs/create", &body)?["run"])
    }

    /// Creates what there may be already.
    pub(crate) fn ensure(&self, path: &str, body: &Value) -> Result<(), Failure> {
        match self.post(path, body) {
            Err(error) if error.has_code("RESOURCE_ALREADY_EXISTS") => Ok(()),
            other => other.map(drop),
        }
    }
}

fn run_of(run: &Value) -> Result<(String, String), Failure> {
    let text = |name: &str| run["info"][name].as_str().map(str::to_owned);
    text("run_id").zip(text("artifact_uri")).ok_or_else(nonsense)
}

/// An answer that is no MLflow's.
pub(crate) fn nonsense() -> Failure {
    Failure::Away("What answers is not an MLflow server.".to_owned())
}

/// The path of an artifact URI that MLflow serves itself: `mlflow-artifacts:/1/abc/artifacts`.
fn proxied(root: &str) -> Option<String> {
    let rest = root.strip_prefix("mlflow-artifacts:")?;
    let path = match rest.strip_prefix("//") {
        // With a host.
        Some(rest) => rest.split_once('/')?.1,
        None => rest.trim_start_matches('/'),
    };
    Some(escaped(path))
}

/// A path of an artifact in an address.
fn escaped(path: &str) -> String {
    percent_encoded(path, b"/+")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifacts_go_where_mlflow_serves_them() {
        for (root, path) in [
            ("mlflow-artifacts:/1/abc/artifacts", Some("1/abc/artifacts")),
            ("mlflow-artifacts://host:5000/1/abc", Some("1/abc")),
            ("file:///srv/mlruns", None),
            ("s3://bucket/1", None),
        ] {
            assert_eq!(proxied(root).as_deref(), path, "{root}");
        }
        assert_eq!(escaped("images/a+step+1 #.png"), "images/a+step+1%20%23.png");
    }

    #[test]
    fn failures_say_what_to_do() {
        let client = Client::new("http://ada:secret@mlflow:5000/", PATIENCE).unwrap();
        assert_eq!(client.shown(), "http://mlflow:5000");
        for (status, text, words) in [
            (
                403,
                "Invalid Host header - possible DNS rebinding attack detected",
                "--allowed-hosts mlflow:5000",
            ),
            (401, "", "name and password"),
            (500, "", "has a problem"),
            (404, "<html>", "is not an MLflow server"),
        ] {
            let Failure::Away(sentence) = client.failure(status, text) else { panic!("{status}") };
            assert!(sentence.contains(words) && !sentence.contains("secret"), "{sentence}");
        }
        let refused = client.failure(400, r#"{"error_code": "INVALID_PARAMETER_VALUE", "message": "no"}"#);
        assert_eq!(refused.sentence(), "MLflow refuses a request: no");
        assert!(
            Client::new("file:///mlruns", PATIENCE).is_err() && Client::new("mlflow:5000", PATIENCE).is_err()
        );
    }
}
