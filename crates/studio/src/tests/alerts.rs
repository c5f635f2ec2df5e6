//! Alerts: when rules fire, whom they tell, and how often production goes back.

use adire_protocol::{AlertSettings, MuteRequest, PromotionRequest};

use super::{finished, fresh, request, who};
use crate::{Mover, NewAdapter, Studio, StudioError, alerts, fake::ADAPTER_MAGIC, time::now};

async fn set(studio: &Studio, toml: &str) {
    studio.set_alerts(AlertSettings { toml: toml.to_owned() }).await.unwrap();
}

async fn produce(studio: &Studio, prompt: &str, adapter: Option<&str>, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let adapters =
            adapter.map(|name| adire_protocol::AdapterUse { name: name.to_owned(), ..Default::default() });
        let asked =
            adire_protocol::GenerationRequest { adapters: adapters.into_iter().collect(), ..request(prompt) };
        let asked = studio.submit(asked, &who("visitor")).await.unwrap();
        finished(studio, &asked.id).await;
        ids.push(asked.id);
    }
    ids
}

async fn adapter(folder: &std::path::Path, studio: &Studio, version: u32) {
    let path = folder.join(format!("{version}.safetensors"));
    std::fs::write(&path, [ADAPTER_MAGIC, &version.to_le_bytes()].concat()).unwrap();
    let new = NewAdapter {
        name: "adire".to_owned(),
        version: Some(version),
        path,
        description: String::new(),
        trigger: String::new(),
        strict: false,
    };
    studio.add_adapter(new).await.unwrap();
    let request = PromotionRequest { reason: "next".to_owned(), force: true };
    studio.promote(&format!("adire@v{version}"), request, Mover::Admin).await.unwrap();
}

const RULE: &str = "webhook = \"https://example.org/hook\"\n[[rule]]\nname = \"failures\"\nmeasure = \"failed_share\"\nabove = 0.5\nmin_count = 4\n";

#[tokio::test]
async fn a_rule_fires_with_enough_generations_once_and_names_them() {
    let (_folder, studio, _) = fresh().await;
    set(&studio, RULE).await;
    let mut failed = produce(&studio, "fail!", None, 3).await;
    studio.look_at_alerts().await.unwrap();
    let found = studio.alerts().await.unwrap();
    assert_eq!((found.alerts.len(), found.rules[0].value, found.rules[0].count), (0, None, 3));

    produce(&studio, "fine", None, 1).await;
    studio.look_at_alerts().await.unwrap();
    studio.look_at_alerts().await.unwrap();
    let found = studio.alerts().await.unwrap();
    assert!(found.rules[0].firing);
    let [alert] = &found.alerts[..] else { panic!("{found:?}") };
    assert_eq!(alert.message, "Failed generations: 75.0% of 4 in the last 60 min; the limit is 50.0%.");
    failed.reverse();
    assert_eq!(alert.generations, failed, "the newest first");
    assert_eq!(alert.deliveries.len(), 1);

    // It is over once the value is back.
    produce(&studio, "fine", None, 3).await;
    studio.look_at_alerts().await.unwrap();
    let found = studio.alerts().await.unwrap();
    assert!(found.alerts[0].closed_at.is_some() && !found.rules[0].firing);
    let events: Vec<&str> = found.alerts[0].deliveries.iter().map(|sent| sent.event.as_str()).collect();
    assert_eq!(events, ["opened", "closed"]);
    let due = studio.due_deliveries().await.unwrap();
    assert_eq!((due.len(), due[0].json["count"].as_i64()), (2, Some(4)));
    studio.delivered(&due[0].id).await.unwrap();
    assert_eq!(studio.due_deliveries().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_muted_rule_says_nothing_until_its_end() {
    let (_folder, studio, _) = fresh().await;
    set(&studio, RULE).await;
    produce(&studio, "fail!", None, 4).await;
    let until = now() + 60_000;
    studio.mute_alert("failures", MuteRequest { until: Some(until) }).await.unwrap();
    studio.look_at_alerts().await.unwrap();
    let found = studio.alerts().await.unwrap();
    assert_eq!((found.alerts.len(), found.rules[0].muted_until), (0, Some(until)));
    alerts::look(studio.shared(), until + 1).await.unwrap();
    assert_eq!(studio.alerts().await.unwrap().alerts.len(), 1);
    let past = studio.mute_alert("failures", MuteRequest { until: Some(1) }).await;
    assert!(matches!(past, Err(StudioError::Invalid(_))));
    let other = studio.mute_alert("others", MuteRequest { until: None }).await;
    assert!(matches!(other, Err(StudioError::NotFound { .. })));
}

#[tokio::test]
async fn production_goes_back_at_most_once_an_hour() {
    let (folder, studio, _) = fresh().await;
    for version in 1..=3 {
        adapter(folder.path(), &studio, version).await;
    }
    let more = "window_minutes = 240\nversion = \"adire@production\"\nrollback = true";
    set(&studio, &format!("{RULE}{more}")).await;
    produce(&studio, "fail!", Some("adire@v2"), 4).await;
    studio.look_at_alerts().await.unwrap();
    assert_eq!(studio.alerts().await.unwrap().alerts.len(), 0, "v2 is not in production");

    produce(&studio, "fail!", Some("adire@production"), 4).await;
    studio.look_at_alerts().await.unwrap();
    let alert = &studio.alerts().await.unwrap().alerts[0];
    assert_eq!(alert.rollback.as_deref(), Some("Rolled back to adire@v2."));
    assert_eq!(alert.version.as_deref(), Some("adire@v3"));
    let ledger = studio.ledger("adire").await.unwrap();
    let made = &ledger.entries.last().unwrap().made;
    assert_eq!((made.who.as_str(), ledger.production), ("alert", Some(2)));
    assert!(made.reason.starts_with("Alert failures: "), "{}", made.reason);

    // v2 fails, too: v3's alert is over, and v2's own does not go back.
    produce(&studio, "fail!", Some("adire@production"), 4).await;
    studio.look_at_alerts().await.unwrap();
    let found = studio.alerts().await.unwrap();
    let [second, first] = &found.alerts[..] else { panic!("{found:?}") };
    assert_eq!((first.version.as_deref(), first.closed_at.is_some()), (Some("adire@v3"), true));
    let events: Vec<&str> = first.deliveries.iter().map(|sent| sent.event.as_str()).collect();
    assert_eq!(events, ["opened", "closed"]);
    assert_eq!((second.version.as_deref(), second.closed_at), (Some("adire@v2"), None));
    assert!(second.rollback.as_deref().unwrap().starts_with("Not rolled back: "), "{second:?}");
    assert_eq!(studio.ledger("adire").await.unwrap().production, Some(2));

    // An hour later production may go back again.
    produce(&studio, "fine", Some("adire@production"), 4).await;
    let later = now() + 3_600_000;
    alerts::look(studio.shared(), later).await.unwrap();
    assert!(studio.alerts().await.unwrap().alerts[0].closed_at.is_some(), "half of them failed");
    produce(&studio, "fail!", Some("adire@production"), 4).await;
    alerts::look(studio.shared(), later).await.unwrap();
    let alert = studio.alerts().await.unwrap().alerts.remove(0);
    assert_eq!(alert.rollback.as_deref(), Some("Rolled back to adire@v1."), "{alert:?}");
    assert_eq!(studio.ledger("adire").await.unwrap().production, Some(1));
}

#[tokio::test]
async fn an_alert_whose_messages_were_lost_is_sent_by_the_next_look() {
    let (folder, studio, _) = fresh().await;
    for version in 1..=2 {
        adapter(folder.path(), &studio, version).await;
    }
    set(&studio, &format!("{RULE}version = \"adire@production\"\nrollback = true")).await;
    // As a crash leaves it: the row, and nothing that follows.
    let alert = crate::store::NewAlert {
        id: "0199c0de-0000-7000-8000-000000000000".to_owned(),
        rule: "failures".to_owned(),
        message: "Failed generations.".to_owned(),
        version: Some("adire@v2".to_owned()),
        value: 1.0,
        above: 0.5,
        count: 4,
        generations: Vec::new(),
        opened_at: now(),
        closed_at: None,
    };
    assert!(studio.shared().store.insert_alert(&alert, &[]).await.unwrap());
    studio.look_at_alerts().await.unwrap();
    assert_eq!(studio.due_deliveries().await.unwrap(), [], "another node may be about to write them");
    for _ in 0..2 {
        alerts::look(studio.shared(), now() + 30_001).await.unwrap();
    }
    let due: Vec<_> = studio
        .shared()
        .store
        .due_deliveries(now() + 60_000)
        .await
        .unwrap()
        .into_iter()
        .map(|due| due.1)
        .collect();
    assert_eq!(due, ["opened", "closed"], "once, and v1 is in production now");
    let found = studio.alerts().await.unwrap().alerts.remove(0);
    assert_eq!(found.rollback.as_deref(), Some("Rolled back to adire@v1."));
}

#[tokio::test]
async fn a_message_is_tried_again_later_and_given_up_after_a_day() {
    let (_folder, studio, _) = fresh().await;
    set(&studio, "webhook = \"https://example.org/hook\"").await;
    studio.test_alert().await.unwrap();
    let id = studio.due_deliveries().await.unwrap()[0].id.clone();
    let mut at = now();
    let mut waits = Vec::new();
    loop {
        alerts::failed(studio.shared(), &id, "No connection.", None, at).await.unwrap();
        let delivery = studio.alerts().await.unwrap().alerts[0].deliveries[0].clone();
        let Some(next) = delivery.next_at else {
            assert_eq!(
                (delivery.state.as_str(), delivery.error.as_deref()),
                ("failed", Some("No connection."))
            );
            break;
        };
        waits.push((next - at) / 1000);
        at = next;
    }
    assert_eq!(waits[..4], [10, 20, 40, 80]);
    assert!(waits.len() > 20 && waits.iter().all(|wait| *wait <= 3600), "{waits:?}");
    // Whoever says how long to wait is believed, within bounds.
    studio.test_alert().await.unwrap();
    let id = studio.due_deliveries().await.unwrap()[0].id.clone();
    let at = now();
    alerts::failed(studio.shared(), &id, "429", Some(120_000), at).await.unwrap();
    assert_eq!(studio.alerts().await.unwrap().alerts[0].deliveries[0].next_at, Some(at + 120_000));
}

#[tokio::test]
async fn what_is_taken_out_of_the_settings_is_closed_and_not_sent() {
    let (_folder, studio, _) = fresh().await;
    set(&studio, RULE).await;
    produce(&studio, "fail!", None, 4).await;
    studio.look_at_alerts().await.unwrap();
    set(&studio, "").await;
    assert_eq!(studio.due_deliveries().await.unwrap(), []);
    let found = studio.alerts().await.unwrap();
    assert!(found.alerts[0].closed_at.is_some());
    assert_eq!(found.alerts[0].deliveries[0].state, "failed");
    assert!(matches!(studio.test_alert().await, Err(StudioError::Conflict(_))));
}
