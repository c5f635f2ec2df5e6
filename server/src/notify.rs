//! Sends messages about alerts: JSON to a webhook, text to an ntfy topic. What cannot be sent waits in the database.

use std::time::Duration;

use adire_studio::{Delivery, Studio, StudioError};
use ureq::{Agent, http::Response};

use crate::outward;

/// How often the spool is looked at.
const BEAT: Duration = Duration::from_secs(2);
/// Longest answer of ntfy that is read, in bytes: more than its longest message.
const MAX_ANSWER: u64 = 64 * 1024;

/// Sends what is due until the studio closes. `allowed`: hosts that may have private addresses.
pub(crate) async fn run(studio: Studio, allowed: Vec<String>) {
    let agent = outward::agent(&allowed);
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
        // A message with the id of an earlier one replaces it, so that a second try shows nothing twice.
        request
            .header("X-Sequence-ID", &delivery.id)
            .header("Title", format!("Adire: {} is {state}", delivery.rule))
            .header("Priority", priority)
            .header("Tags", tag)
            .content_type("text/plain; charset=utf-8")
            .send(text(delivery))
    } else {
        request.content_type("application/json").send(delivery.json.to_string())
    };
    let mut response = response.map_err(|error| Failure { message: sentence(&error), wait: None })?;
    let status = response.status();
    if status.is_success() && delivery.channel == "ntfy" {
        return confirmed(&mut response);
    }
    if status.is_success() {
        return Ok(());
    }
    let message = match status.as_u16() {
        300..=399 => format!("The address answers {status}: redirects are not followed."),
        401 | 403 => format!("The address answers {status}: check its token."),
        404 => format!("The address answers {status}: check it."),
        _ => format!("The address answers {status}."),
    };
    let wait = outward::retry_after(response.headers());
    Err(Failure { message, wait: wait.and_then(|wait| i64::try_from(wait.as_millis()).ok()) })
}

/// ntfy answers with the message that it has kept. Other programs at its address answer 200 to many things.
fn confirmed(response: &mut Response<ureq::Body>) -> Result<(), Failure> {
    let failure = |message: &str| Failure { message: message.to_owned(), wait: None };
    let read = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
    let read = read.map_err(|_| failure("The answer broke off."))?;
    let answer: serde_json::Value = serde_json::from_slice(&read).unwrap_or_default();
    let is_message = answer["event"] == "message" && answer["id"].is_string();
    is_message.then_some(()).ok_or_else(|| failure("The answer is not ntfy's. Check the address."))
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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, io::Write, net::TcpListener, sync::mpsc, thread};

    use adire_protocol::{AlertDelivery, AlertSettings};
    use adire_studio::{StudioConfig, fake::FakeBackend};

    use super::*;
    use crate::testing::{Fault, Line, free_port, header, read};

    /// A server that accepts everything as ntfy does, and passes on what it was sent: heads and bodies.
    fn receiver() -> (u16, mpsc::Receiver<(String, String)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, received) = mpsc::channel();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let Some((head, body)) = read(&mut stream) else { continue };
                let _ = sender.send((head, String::from_utf8(body).unwrap()));
                let answer = r#"{"id":"aBc","time":1,"event":"message","topic":"hook"}"#;
                let head = "HTTP/1.1 200 OK\r\ncontent-length: ";
                let _ = write!(stream, "{head}{}\r\nconnection: close\r\n\r\n{answer}", answer.len());
            }
        });
        (port, received)
    }

    async fn studio() -> (tempfile::TempDir, Studio) {
        let folder = tempfile::tempdir().unwrap();
        let config = StudioConfig::new(folder.path());
        let studio = Studio::open(config, || Ok(FakeBackend::default())).await.unwrap();
        (folder, studio)
    }

    /// A studio with a test message that is due on this channel.
    async fn with_message(channel: &str, port: u16) -> (tempfile::TempDir, Studio) {
        let (folder, studio) = studio().await;
        let toml = format!("{channel} = \"http://127.0.0.1:{port}/hook?key=secret\"");
        studio.set_alerts(AlertSettings { toml }).await.unwrap();
        studio.test_alert().await.unwrap();
        (folder, studio)
    }

    async fn delivery(studio: &Studio) -> AlertDelivery {
        studio.alerts().await.unwrap().alerts[0].deliveries[0].clone()
    }

    fn agent(patience: Duration) -> Agent {
        crate::outward::within(&["127.0.0.1".to_owned()], patience)
    }

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_message_reaches_both_channels_once() {
        let (webhook, to_webhook) = receiver();
        let (ntfy, to_ntfy) = receiver();
        let (_folder, studio) = studio().await;
        let toml = format!(
            "webhook = \"http://127.0.0.1:{webhook}/hook?key=secret\"\nntfy = \"http://127.0.0.1:{ntfy}/topic\""
        );
        studio.set_alerts(AlertSettings { toml }).await.unwrap();
        studio.test_alert().await.unwrap();
        let agent = agent(PATIENCE);
        assert_eq!(send_due(&studio, &agent).await.unwrap(), 2);
        assert_eq!(send_due(&studio, &agent).await.unwrap(), 0);
        let (head, body) = to_webhook.recv().unwrap();
        assert!(head.starts_with("POST /hook?key=secret HTTP/1.1\r\n"), "{head}");
        assert!(body.contains("\"rule\":\"test\"") && header(&head, "idempotency-key").is_some(), "{body}");
        let (head, body) = to_ntfy.recv().unwrap();
        assert!(body.contains("A test message from Adire."), "{body}");
        assert!(header(&head, "title").unwrap().starts_with("Adire: test"), "{head}");
        let alerts = studio.alerts().await.unwrap().alerts;
        assert!(alerts[0].deliveries.iter().all(|delivery| delivery.state == "sent"), "{alerts:?}");
    }

    /// What may happen to a message, and its message.
    fn faults() -> Vec<(Fault, &'static str)> {
        vec![
            (Fault::Before, "No connection"),
            (Fault::After, "No connection"),
            (Fault::Silence, "No answer in time."),
            (Fault::status(401), "check its token"),
            (Fault::status(403), "check its token"),
            (Fault::status(404), "check it"),
            (Fault::status(409), "409"),
            (Fault::status(413), "413"),
            (Fault::answer(429, "retry-after: 60\r\n", ""), "429"),
            (Fault::status(500), "500"),
            (Fault::answer(302, "location: http://127.0.0.1:1/\r\n", ""), "redirects"),
            (Fault::Answer("nonsense\r\n\r\n".to_owned()), "The answer was not HTTP."),
            (Fault::Answer("HTTP/1.1 200 OK\r\ncontent-le".to_owned()), "."),
        ]
    }

    #[tokio::test]
    async fn what_fails_waits_and_says_why() {
        for channel in ["webhook", "ntfy"] {
            for (fault, words) in faults() {
                let (port, received) = receiver();
                let line = Line::to(port, vec![("POST", 1, fault.clone())]);
                let (_folder, studio) = with_message(channel, line.port).await;
                let patience = if fault == Fault::Silence { Duration::from_millis(300) } else { PATIENCE };
                let due = studio.due_deliveries().await.unwrap().remove(0);
                assert_eq!(send_due(&studio, &agent(patience)).await.unwrap(), 1);
                let waiting = delivery(&studio).await;
                assert_eq!((waiting.state.as_str(), waiting.attempts), ("waiting", 1), "{channel} {fault:?}");
                let error = waiting.error.unwrap();
                assert!(error.contains(words) && !error.contains("secret"), "{channel} {fault:?}: {error}");
                let agent = agent(PATIENCE);
                assert_eq!(send_due(&studio, &agent).await.unwrap(), 0, "not before its time");
                // Its time comes: it is sent once more, under the key by which a receiver knows it again, and never after that.
                send_one(&studio, &agent, due).await.unwrap();
                assert_eq!(delivery(&studio).await.state, "sent", "{channel} {fault:?}");
                assert_eq!(send_due(&studio, &agent).await.unwrap(), 0, "{channel} {fault:?}");
                let heads = line.heads();
                let keys: Vec<_> =
                    heads.iter().map(|head| header(head, "idempotency-key").unwrap()).collect();
                assert_eq!((keys.len(), keys[0]), (2, keys[1]), "{channel} {fault:?}");
                // A message of the same sequence replaces the one before; a webhook's receiver has the key.
                let arrived: Vec<_> = received.try_iter().collect();
                let name = if channel == "ntfy" { "x-sequence-id" } else { "idempotency-key" };
                let shown: BTreeSet<_> =
                    arrived.iter().map(|(head, _)| header(head, name).unwrap().to_owned()).collect();
                assert_eq!(shown.len(), 1, "{channel} {fault:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_does_not_answer_as_ntfy_has_not_kept_the_message() {
        let (port, received) = receiver();
        for body in ["", "<html>Welcome", "{\"event\":\"open\",\"id\":\"a\"}", "{\"id\":\"a\"}"] {
            let line = Line::to(port, vec![("POST", 1, Fault::answer(200, "", body))]);
            let (_folder, studio) = with_message("ntfy", line.port).await;
            assert_eq!(send_due(&studio, &agent(PATIENCE)).await.unwrap(), 1);
            let waiting = delivery(&studio).await;
            assert_eq!(waiting.state, "waiting", "{body}");
            assert_eq!(
                waiting.error.as_deref(),
                Some("The answer is not ntfy's. Check the address."),
                "{body}"
            );
        }
        assert_eq!(received.try_iter().count(), 0);
    }

    #[tokio::test]
    async fn a_server_that_is_down_gets_its_message_later() {
        for channel in ["webhook", "ntfy"] {
            let (_folder, studio) = with_message(channel, free_port()).await;
            assert_eq!(send_due(&studio, &agent(PATIENCE)).await.unwrap(), 1);
            let waiting = delivery(&studio).await;
            assert_eq!(waiting.state, "waiting");
            assert_eq!(waiting.error.as_deref(), Some("No connection: connection refused."), "{channel}");
            assert!(waiting.next_at.is_some(), "{channel}");
        }
    }

    #[tokio::test]
    async fn private_addresses_are_not_reached() {
        let (_folder, studio) = studio().await;
        let toml = "webhook = \"http://127.0.0.1:9/\"\nntfy = \"http://169.254.169.254/latest\"".to_owned();
        studio.set_alerts(AlertSettings { toml }).await.unwrap();
        studio.test_alert().await.unwrap();
        assert_eq!(send_due(&studio, &outward::agent(&[])).await.unwrap(), 2);
        for delivery in &studio.alerts().await.unwrap().alerts[0].deliveries {
            assert!(delivery.error.as_deref().unwrap().contains("private address"), "{delivery:?}");
        }
    }
}
