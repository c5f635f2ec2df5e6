//! Alerts: rules are looked at again and again; what they find is a row with its messages, and may move production back.
//! Messages wait as rows until they are confirmed as sent.

mod settings;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use adire_protocol::{Alert, AlertMeasure, AlertRule, AlertSettings, Alerts, MuteRequest, RollbackRequest};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    Mover, StudioError, production,
    registry::Registry,
    shared::Shared,
    stats::percentiles,
    store::{NewAlert, Observed},
    time::now,
};
use settings::{EXAMPLE, Rule, Settings};

/// How often rules are looked at.
const BEAT: Duration = Duration::from_secs(30);
const BEAT_MS: i64 = 30_000;
/// Names under which settings are kept.
const SETTINGS: &str = "alerts";
const MUTES: &str = "alert mutes";
/// Longest settings, in bytes.
const MAX_TEXT: usize = 100_000;
/// Generations that an alert names.
const NAMED: usize = 20;
/// Alerts that are listed.
const LISTED: i64 = 50;
/// Between two automatic rollbacks of an adapter, in milliseconds.
const BETWEEN_ROLLBACKS: i64 = 3_600_000;
/// First wait after a failed message, and the longest, in milliseconds.
const FIRST_WAIT_MS: i64 = 10_000;
const MAX_WAIT_MS: i64 = 3_600_000;
/// How long a message is tried, in milliseconds.
const TRIED_FOR: i64 = 24 * 3_600_000;
/// Rule of a message that was requested to see whether messages arrive.
const TEST: &str = "test";

/// A message that is due.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Its id, the same at each try.
    pub id: String,
    /// `webhook` or `ntfy`.
    pub channel: String,
    /// Where it goes.
    pub url: String,
    /// `opened` or `closed`.
    pub event: String,
    /// Name of the rule.
    pub rule: String,
    /// One sentence.
    pub message: String,
    /// The whole of it.
    pub json: Value,
}

/// What a rule finds.
struct Finding {
    /// `name@vN`.
    version: Option<String>,
    value: Option<f64>,
    count: u32,
    generations: Vec<String>,
}

/// Looks at the rules until the studio closes.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut clock = tokio::time::interval_at(tokio::time::Instant::now() + BEAT, BEAT);
    loop {
        clock.tick().await;
        if let Err(error) = look(&shared, now()).await {
            tracing::warn!(%error, "alerts were not looked at");
        }
    }
}

/// Looks at every rule once.
pub(crate) async fn look(shared: &Arc<Shared>, now: i64) -> Result<(), StudioError> {
    let settings = settings(shared).await?;
    let mutes = mutes(shared).await?;
    let is_muted = |rule: &str| mutes.get(rule).is_some_and(|until| *until > now);
    // A crash came between an alert and its messages, or there was no address to send them to.
    for alert in shared.store.unsaid_alerts(now - BEAT_MS).await? {
        let rule = settings.rules.iter().find(|rule| rule.name == alert.rule);
        if let Some(rule) = rule.filter(|rule| !is_muted(&rule.name)) {
            announce(shared, &settings, rule, &alert, now).await?;
        }
    }
    for rule in &settings.rules {
        if is_muted(&rule.name) {
            continue;
        }
        let found = find(shared, rule, now).await?;
        let mut open = shared.store.open_alert(&rule.name).await?;
        // An alert is of one version: with another one in production it is over, and that one may have its own.
        if let Some((id, version)) = &open
            && *version != found.version
        {
            shared.store.close_alert(id, now, &channels(&settings)).await?;
            tracing::info!(rule = rule.name, version, "alert closed: another version is in production");
            open = None;
        }
        match (found.value, open) {
            (Some(value), None) if value > rule.above => {
                open_alert(shared, &settings, rule, found, value, now).await?;
            }
            (Some(value), Some((id, _))) if value <= rule.above => {
                shared.store.close_alert(&id, now, &channels(&settings)).await?;
                tracing::info!(rule = rule.name, value, "alert closed");
            }
            // With too few generations nothing is known: what is open stays open.
            _ => {}
        }
    }
    Ok(())
}

async fn settings(shared: &Shared) -> Result<Settings, StudioError> {
    let text: Option<String> = shared.store.setting(SETTINGS).await?;
    Settings::parse(&text.unwrap_or_default()).map_err(StudioError::Storage)
}

async fn mutes(shared: &Shared) -> Result<BTreeMap<String, i64>, StudioError> {
    Ok(shared.store.setting(MUTES).await?.unwrap_or_default())
}

fn channels(settings: &Settings) -> Vec<&'static str> {
    let set = [("webhook", settings.webhook.is_some()), ("ntfy", settings.ntfy.is_some())];
    set.into_iter().filter(|(_, is_set)| *is_set).map(|(channel, _)| channel).collect()
}

/// What a rule finds in its window.
async fn find(shared: &Shared, rule: &Rule, now: i64) -> Result<Finding, StudioError> {
    let mut since = now - i64::from(rule.window_minutes) * 60_000;
    let version = match &rule.version {
        Some(name) if name.ends_with("@production") => {
            let name = name.trim_end_matches("@production");
            let book = shared.store.book(name).await?;
            let Some(number) = book.production() else {
                return Ok(Finding { version: None, value: None, count: 0, generations: Vec::new() });
            };
            // What the version did before it was in production is not production's.
            if let Some(made) = book.production_at(now) {
                since = since.max(made.at);
            }
            Some(format!("{name}@v{number}"))
        }
        other => other.clone(),
    };
    let mut rows = shared.store.observed(since).await?;
    if let Some(version) = &version {
        rows.retain(|row| row.versions.split(" + ").any(|used| used == version));
    }
    let (value, count, generations) = measure(rule.measure, &rows, rule.above);
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    Ok(Finding { version, value: value.filter(|_| count >= rule.min_count), count, generations })
}

/// Value, number of generations, and those behind it. `rows`: the newest first.
fn measure(measure: AlertMeasure, rows: &[Observed], above: f64) -> (Option<f64>, usize, Vec<String>) {
    let share = |bad: &str, counts: &dyn Fn(&Observed) -> bool| {
        let counted = rows.iter().filter(|row| counts(row)).count();
        let found: Vec<&Observed> = rows.iter().filter(|row| row.outcome == bad).collect();
        let named = found.iter().take(NAMED).map(|row| row.generation.clone()).collect();
        ((counted > 0).then(|| found.len() as f64 / counted as f64), counted, named)
    };
    let slowest = |ms: &dyn Fn(&Observed) -> Option<i64>| {
        let mut timed: Vec<(i64, &Observed)> = rows.iter().filter_map(|row| Some((ms(row)?, row))).collect();
        timed.sort_by_key(|(ms, _)| std::cmp::Reverse(*ms));
        let over = timed.iter().filter(|(ms, _)| *ms as f64 / 1e3 > above).take(NAMED);
        let named = over.map(|(_, row)| row.generation.clone()).collect();
        let mut values: Vec<i64> = timed.iter().map(|(ms, _)| *ms).collect();
        (percentiles(&mut values).map(|found| found.p95), values.len(), named)
    };
    match measure {
        AlertMeasure::FailedShare => share("failed", &|row| row.outcome != "cancelled"),
        AlertMeasure::CancelledShare => share("cancelled", &|_| true),
        AlertMeasure::SecondsP95 => slowest(&|row| row.run_ms.filter(|_| row.outcome == "done")),
        AlertMeasure::WaitP95 => slowest(&|row| row.wait_ms),
    }
}

fn sentence(rule: &Rule, found: &Finding, value: f64) -> String {
    let show = |value: f64| rule.measure.show(value);
    let count = found.count;
    let generations = if count == 1 { "1 generation".to_owned() } else { format!("{count} generations") };
    let (what, among) = match rule.measure {
        AlertMeasure::FailedShare => ("Failed generations", format!("of {count}")),
        AlertMeasure::CancelledShare => ("Cancelled generations", format!("of {count}")),
        AlertMeasure::SecondsP95 => ("p95 generation time", format!("over {generations}")),
        AlertMeasure::WaitP95 => ("p95 queue wait", format!("over {generations}")),
    };
    let of = found.version.as_ref().map(|version| format!(" of {version}")).unwrap_or_default();
    format!(
        "{what}{of}: {} {among} in the last {} min; the limit is {}.",
        show(value),
        rule.window_minutes,
        show(rule.above)
    )
}

async fn open_alert(
    shared: &Arc<Shared>,
    settings: &Settings,
    rule: &Rule,
    found: Finding,
    value: f64,
    now: i64,
) -> Result<(), StudioError> {
    let message = sentence(rule, &found, value);
    let alert = NewAlert {
        id: Uuid::now_v7().to_string(),
        rule: rule.name.clone(),
        message: message.clone(),
        version: found.version.clone(),
        value,
        above: rule.above,
        count: found.count,
        generations: found.generations,
        opened_at: now,
        closed_at: None,
    };
    tracing::warn!(rule = rule.name, message, "alert");
    // The row first: a crash on the way back must not have it forgotten that production went back.
    if !shared.store.insert_alert(&alert, &[]).await? {
        return Ok(());
    }
    let NewAlert { id, rule: name, message, version, .. } = alert;
    let alert = Alert { id, rule: name, message, version, ..Alert::default() };
    announce(shared, settings, rule, &alert, now).await
}

/// Moves production back where the rule says so and that was not done yet, and queues messages, which say what it did.
async fn announce(
    shared: &Arc<Shared>,
    settings: &Settings,
    rule: &Rule,
    alert: &Alert,
    now: i64,
) -> Result<(), StudioError> {
    if let (true, None, Some(version)) = (rule.rollback, &alert.rollback, &alert.version) {
        let name = version.split('@').next().unwrap_or_default();
        let production = shared.store.book(name).await?.production();
        let note = if production.is_some_and(|number| *version == format!("{name}@v{number}")) {
            roll_back(shared, alert, name, now).await?
        } else {
            format!("Not rolled back: {version} is not in production any more.")
        };
        shared.store.note_rollback(&alert.id, &note).await?;
    }
    shared.store.add_opened(&alert.id, &channels(settings), now).await
}

/// Moves production back unless that was done within the hour; what was done.
async fn roll_back(shared: &Arc<Shared>, alert: &Alert, name: &str, now: i64) -> Result<String, StudioError> {
    if !shared.store.claim_rollback(&alert.id, name, now, BETWEEN_ROLLBACKS).await? {
        return Ok(format!("Not rolled back: {name} was rolled back automatically within the last hour."));
    }
    let registry = Registry {
        store: shared.store.clone(),
        blobs: shared.blobs.clone(),
        by: Mover::Alert,
        base: Some(shared.model.hash.clone()),
    };
    let reason: String = format!("Alert {}: {}", alert.rule, alert.message).chars().take(500).collect();
    match registry.roll_back(name, RollbackRequest { reason, version: None }).await {
        Ok(made) => {
            let to = made.to_version.unwrap_or_default();
            production::after(shared.clone(), made).await;
            Ok(format!("Rolled back to {name}@v{to}."))
        }
        Err(error) => Ok(format!("Not rolled back: {error}")),
    }
}

/// Settings, rules and alerts as they stand.
pub(crate) async fn overview(shared: &Shared) -> Result<Alerts, StudioError> {
    let text: Option<String> = shared.store.setting(SETTINGS).await?;
    let toml = text.filter(|text| !text.trim().is_empty()).unwrap_or_else(|| EXAMPLE.to_owned());
    let (settings, mutes, now) = (settings(shared).await?, mutes(shared).await?, now());
    let mut rules = Vec::with_capacity(settings.rules.len());
    for rule in settings.rules {
        let found = find(shared, &rule, now).await?;
        rules.push(AlertRule {
            muted_until: mutes.get(&rule.name).copied().filter(|until| *until > now),
            value: found.value,
            count: found.count,
            firing: shared.store.open_alert(&rule.name).await?.is_some(),
            name: rule.name,
            measure: rule.measure,
            version: rule.version,
            above: rule.above,
            window_minutes: rule.window_minutes,
            min_count: rule.min_count,
            rollback: rule.rollback,
        });
    }
    // Last, so that an alert that opens meanwhile is listed wherever its rule is shown as firing.
    let alerts = shared.store.alerts(LISTED).await?;
    Ok(Alerts { settings: AlertSettings { toml }, rules, alerts })
}

/// Replaces the settings. Open alerts of rules that are gone are closed.
pub(crate) async fn set(shared: &Shared, new: AlertSettings) -> Result<(), StudioError> {
    if new.toml.len() > MAX_TEXT {
        let message = format!("The settings have {} bytes; the limit is {MAX_TEXT}.", new.toml.len());
        return Err(StudioError::invalid("toml", message));
    }
    let settings = Settings::parse(&new.toml).map_err(|message| StudioError::invalid("toml", message))?;
    shared.store.set_setting(SETTINGS, &new.toml).await?;
    for (id, rule) in shared.store.open_alerts().await? {
        if settings.rules.iter().all(|known| known.name != rule) {
            shared.store.close_alert(&id, now(), &[]).await?;
        }
    }
    Ok(())
}

/// Mutes a rule, or ends that.
pub(crate) async fn mute(shared: &Shared, rule: &str, request: MuteRequest) -> Result<(), StudioError> {
    let settings = settings(shared).await?;
    if settings.rules.iter().all(|known| known.name != rule) {
        return Err(StudioError::not_found("alert rule", rule));
    }
    let now = now();
    let mut mutes = mutes(shared).await?;
    mutes.retain(|_, until| *until > now);
    match request.until {
        Some(until) if until <= now => {
            return Err(StudioError::invalid("until", "The end must be in the future."));
        }
        Some(until) => mutes.insert(rule.to_owned(), until),
        None => mutes.remove(rule),
    };
    shared.store.set_setting(MUTES, &mutes).await
}

/// Queues a message to every address, to see whether it arrives.
pub(crate) async fn test(shared: &Shared) -> Result<(), StudioError> {
    let settings = settings(shared).await?;
    let channels = channels(&settings);
    if channels.is_empty() {
        return Err(StudioError::Conflict(
            "No address to send to is set. Set webhook or ntfy, save, and try again.".to_owned(),
        ));
    }
    let now = now();
    let alert = NewAlert {
        id: Uuid::now_v7().to_string(),
        rule: TEST.to_owned(),
        message: "A test message from Adire.".to_owned(),
        version: None,
        value: 0.0,
        above: 0.0,
        count: 0,
        generations: Vec::new(),
        opened_at: now,
        closed_at: Some(now),
    };
    shared.store.insert_alert(&alert, &channels).await.map(drop)
}

/// Messages that are due. One whose address was taken out of the settings fails.
pub(crate) async fn due(shared: &Shared, now: i64) -> Result<Vec<Delivery>, StudioError> {
    let settings = settings(shared).await?;
    let mut due = Vec::new();
    for (id, event, channel, alert) in shared.store.due_deliveries(now).await? {
        let url = if channel == "ntfy" { &settings.ntfy } else { &settings.webhook };
        let Some(url) = url.clone() else {
            shared.store.fail_delivery(&id, "The address was removed from the settings.", None).await?;
            continue;
        };
        let json = json(&id, &event, &alert);
        let Alert { rule, message, .. } = alert;
        due.push(Delivery { id, channel, url, event, rule, message, json });
    }
    Ok(due)
}

fn json(id: &str, event: &str, alert: &Alert) -> Value {
    json!({
        "id": id, "event": event, "alert": alert.id, "rule": alert.rule, "message": alert.message,
        "version": alert.version, "value": alert.value, "above": alert.above, "count": alert.count,
        "generations": alert.generations, "opened_at": alert.opened_at, "closed_at": alert.closed_at,
        "rollback": alert.rollback,
    })
}

/// A message could not be sent: it is tried again later, or given up after a day. `wait`: milliseconds that the other side
/// requested.
pub(crate) async fn failed(
    shared: &Shared,
    id: &str,
    error: &str,
    wait: Option<i64>,
    now: i64,
) -> Result<(), StudioError> {
    let Some((attempts, opened)) = shared.store.delivery(id).await? else { return Ok(()) };
    let backoff = FIRST_WAIT_MS.saturating_mul(1 << attempts.clamp(0, 20)).min(MAX_WAIT_MS);
    let next = now + wait.unwrap_or(0).clamp(backoff, MAX_WAIT_MS);
    let next = (next - opened < TRIED_FOR).then_some(next);
    let error: String = error.chars().take(300).collect();
    shared.store.fail_delivery(id, &error, next).await
}
