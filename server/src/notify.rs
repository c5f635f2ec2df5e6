//! Sends messages about alerts: JSON to a webhook, text to an ntfy topic. What cannot be sent waits in the database.

use std::time::Duration;

use adire_studio::{Delivery, Studio, StudioError};
use ureq::{Agent, http::Response};

/// How often the spool is looked at.
const BEAT: Duration = Duration::from_secs(2);

/// Sends what is due until the studio closes. `allowed`: hosts that may have private addresses.
pub(crate) async fn run(studio: Studio, allowed: Vec<String>) {
    let agent = crate::outward::agent(&allowed);
    loop {
        tokio::time::sleep(BEAT).await;
        match send_due(&studio, &agent).await {
            Ok(_) => {}
            Err(StudioError::ShuttingDown) => return,
            Err(error) => tracing::warn!(%error, "messages about alerts wait"),
        }
    }
}

/// Sends what is due; how many messages.
async fn send_due(studio: &Studio, agent: &Agent) -> Result<usize, StudioError> {
    let due = studio.due_deliveries().await?;
    let count = due.len();
    for delivery in due {
        send_one(studio, agent, delivery).await?;
    }
    Ok(count)
}

/// Sends a message and notes how that ended.
async fn send_one(studio: &Studio, agent: &Agent, delivery: Delivery) -> Result<(), StudioError> {
    let (agent, id) = (agent.clone(), delivery.id.clone());
    let (rule, channel) = (delivery.rule.clone(), delivery.channel.clone());
    let sent = tokio::task::spawn_blocking(move || send(&agent, &delivery)).await;
    match sent.unwrap_or_else(|error| Err(Failure { message: error.to_string(), wait: None })) {
        Ok(()) => {
            tracing::info!(rule, channel, "alert sent");
            studio.delivered(&id).await
        }
        Err(Failure { message, wait }) => {
            tracing::warn!(rule, channel, message, "alert not sent");
            studio.delivery_failed(&id, &message, wait).await
        }
    }
}

struct Failure {
    message: String,
    /// Milliseconds.
    wait: Option<i64>,
}

fn send(agent: &Agent, delivery: &Delivery) -> Result<(), Failure> {
    let request = agent.post(&delivery.url).header("Idempotency-Key", &delivery.id);
    let response = if delivery.channel == "ntfy" {
        let (priority, tag) =
            if delivery.event == "opened" { ("high", "warning") } else { ("default", "white_check_mark") };
        let state = if delivery.event == "opened" { "firing" } else { "over" };
        request
            .header("Title", format!("Adire: {} is {state}", delivery.rule))
            .header("Priority", priority)
            .header("Tags", tag)
            .content_type("text/plain; charset=utf-8")
            .send(text(delivery))
    } else {
        request.content_type("application/json").send(delivery.json.to_string())
    };
    let response = response.map_err(|error| Failure { message: sentence(&error), wait: None })?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let message = match status.as_u16() {
        300..=399 => format!("The address answers {status}: redirects are not followed."),
        401 | 403 => format!("The address answers {status}: check its token."),
        404 => format!("The address answers {status}: check it."),
        _ => format!("The address answers {status}."),
    };
    Err(Failure { message, wait: retry_after(&response) })
}

fn text(delivery: &Delivery) -> String {
    let rollback = delivery.json["rollback"].as_str();
    rollback.map_or_else(|| delivery.message.clone(), |note| format!("{} {note}", delivery.message))
}

/// An error without the address, which may hold a secret.
fn sentence(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Other(error) => format!("{error}."),
        ureq::Error::Timeout(_) => "No answer in time.".to_owned(),
        ureq::Error::HostNotFound => "The host was not found.".to_owned(),
        ureq::Error::ConnectionFailed => "No connection.".to_owned(),
        ureq::Error::Io(error) if error.kind().to_string().starts_with("uncategorized") => {
            "No connection. Check the address.".to_owned()
        }
        ureq::Error::Io(error) => format!("No connection: {}.", error.kind()),
        ureq::Error::BadUri(_) => "The address is not valid.".to_owned(),
        _ => "The answer was not HTTP.".to_owned(),
    }
}

/// The header's seconds in milliseconds.
fn retry_after(response: &Response<ureq::Body>) -> Option<i64> {
    let seconds: i64 = response.headers().get("retry-after")?.to_str().ok()?.parse().ok()?;
    Some(seconds.clamp(0, 86_400) * 1000)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        sync::mpsc,
        thread,
    };

    use adire_protocol::AlertSettings;
    use adire_studio::{StudioConfig, fake::FakeBackend};

    use super::*;

    /// A server that answers each connection with the next of these, and passes on what it was sent.
    fn answers(answers: Vec<&'static str>) -> (u16, mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, received) = mpsc::channel();
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut text = String::new();
                let mut piece = [0; 4096];
                while !complete(&text) {
                    let read = stream.read(&mut piece).unwrap();
                    if read == 0 {
                        break;
                    }
                    text.push_str(&String::from_utf8_lossy(&piece[..read]));
                }
                let _ = sender.send(text);
                if answer == SILENCE {
                    // Whoever asked gives up first.
                    let _ = stream.read(&mut piece);
                } else {
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            }
        });
        (port, received)
    }

    fn complete(text: &str) -> bool {
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        let length = head.to_lowercase();
        let length = length.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        length.is_none_or(|length| body.len() >= length.trim().parse().unwrap())
    }

    async fn studio() -> (tempfile::TempDir, Studio) {
        let folder = tempfile::tempdir().unwrap();
        let config = StudioConfig::new(folder.path());
        let studio = Studio::open(config, || Ok(FakeBackend::default())).await.unwrap();
        (folder, studio)
    }

    /// No answer at all.
    const SILENCE: &str = "silence";
    const OK: &str = "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn a_message_reaches_both_channels_once() {
        let (webhook, to_webhook) = answers(vec![OK]);
        let (ntfy, to_ntfy) = answers(vec![OK]);
        let (_folder, studio) = studio().await;
        let toml = format!(
            "webhook = \"http://127.0.0.1:{webhook}/hook?key=secret\"\nntfy = \"http://127.0.0.1:{ntfy}/topic\""
        );
        studio.set_alerts(AlertSettings { toml }).await.unwrap();
        studio.test_alert().await.unwrap();
        let agent = crate::outward::agent(&["127.0.0.1".to_owned()]);
        assert_eq!(send_due(&studio, &agent).await.unwrap(), 2);
        assert_eq!(send_due(&studio, &agent).await.unwrap(), 0);
        let text = to_webhook.recv().unwrap();
        assert!(text.starts_with("POST /hook?key=secret HTTP/1.1\r\n"), "{text}");
        assert!(
            text.contains("\"rule\":\"test\"") && text.to_lowercase().contains("idempotency-key: "),
            "{text}"
        );
        let text = to_ntfy.recv().unwrap();
        assert!(
            text.contains("A test message from Adire.") && text.to_lowercase().contains("title: adire: test")
        );
        let alerts = studio.alerts().await.unwrap().alerts;
        assert!(alerts[0].deliveries.iter().all(|delivery| delivery.state == "sent"), "{alerts:?}");
    }

    #[tokio::test]
    async fn what_fails_waits_and_says_why() {
        for (answer, words) in [
            ("HTTP/1.1 401 x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", "check its token"),
            ("HTTP/1.1 403 x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", "check its token"),
            ("HTTP/1.1 404 x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", "check it"),
            ("HTTP/1.1 409 x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", "409"),
            ("HTTP/1.1 413 x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", "413"),
            ("HTTP/1.1 429 x\r\nretry-after: 60\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", "429"),
            ("HTTP/1.1 500 x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", "500"),
            // Cut, and silent.
            ("", "No connection"),
            (SILENCE, "No answer in time."),
            ("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", "redirects"),
            ("nonsense\r\n\r\n", "The answer was not HTTP."),
            ("HTTP/1.1 200 OK\r\ncontent-le", "."),
        ] {
            let (port, received) = answers(vec![answer, OK]);
            let (_folder, studio) = studio().await;
            let toml = format!("webhook = \"http://127.0.0.1:{port}/hook?key=secret\"");
            studio.set_alerts(AlertSettings { toml }).await.unwrap();
            studio.test_alert().await.unwrap();
            let patience = if answer == SILENCE { 300 } else { 30_000 };
            let allowed = ["127.0.0.1".to_owned()];
            let agent = crate::outward::within(&allowed, Duration::from_millis(patience));
            let due = studio.due_deliveries().await.unwrap().remove(0);
            assert_eq!(send_due(&studio, &agent).await.unwrap(), 1);
            let alerts = studio.alerts().await.unwrap().alerts;
            let delivery = &alerts[0].deliveries[0];
            assert_eq!((delivery.state.as_str(), delivery.attempts), ("waiting", 1), "{answer}");
            let error = delivery.error.as_deref().unwrap();
            assert!(error.contains(words) && !error.contains("secret"), "{answer}: {error}");
            assert_eq!(send_due(&studio, &agent).await.unwrap(), 0, "not before its time");
            // Its time comes: it is sent once more, under the key by which a receiver knows it again, and never after that.
            let agent = crate::outward::agent(&allowed);
            send_one(&studio, &agent, due).await.unwrap();
            assert_eq!(key(&received.recv().unwrap()), key(&received.recv().unwrap()), "{answer}");
            let alerts = studio.alerts().await.unwrap().alerts;
            assert_eq!(alerts[0].deliveries[0].state, "sent", "{answer}");
            assert_eq!(send_due(&studio, &agent).await.unwrap(), 0, "{answer}");
        }
    }

    /// The idempotency key of a request.
    fn key(text: &str) -> String {
        let lower = text.to_lowercase();
        lower.split("idempotency-key: ").nth(1).unwrap().lines().next().unwrap().to_owned()
    }

    #[tokio::test]
    async fn private_addresses_are_not_reached() {
        let (_folder, studio) = studio().await;
        let toml = "webhook = \"http://127.0.0.1:9/\"\nntfy = \"http://169.254.169.254/latest\"".to_owned();
        studio.set_alerts(AlertSettings { toml }).await.unwrap();
        studio.test_alert().await.unwrap();
        assert_eq!(send_due(&studio, &crate::outward::agent(&[])).await.unwrap(), 2);
        for delivery in &studio.alerts().await.unwrap().alerts[0].deliveries {
            assert!(delivery.error.as_deref().unwrap().contains("private address"), "{delivery:?}");
        }
    }
}
