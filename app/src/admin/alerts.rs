//! Alerts: rules and how they stand, what they found, and their settings.

use adire_protocol::{Alert, AlertDelivery, AlertMeasure, AlertRule, Alerts};
use leptos::prelude::*;

use super::{
    fields::{FormInput, alert as problems, in_textarea},
    frame::{crumbs, flash_line, head},
    times::{ago, exact},
};
use crate::words::counted;

/// Data of the page.
#[derive(Clone, Debug)]
pub(crate) struct AlertsPage {
    pub(crate) alerts: Alerts,
    /// Settings that were refused.
    pub(crate) form: Option<FormInput>,
    /// Message about the last action.
    pub(crate) flash: Option<String>,
}

pub(super) fn alerts(data: AlertsPage) -> AnyView {
    let AlertsPage { alerts: Alerts { settings, rules, alerts }, form, flash } = data;
    let firing = rules.iter().filter(|rule| rule.firing).count();
    let lead = match (rules.len(), firing) {
        (0, _) => "Rules over failures and times, with messages to a webhook or ntfy.".to_owned(),
        (_, 0) => "No alert is open.".to_owned(),
        (_, 1) => "1 alert is open.".to_owned(),
        (_, more) => format!("{more} alerts are open."),
    };
    let form = form.unwrap_or_else(|| FormInput::from_pairs(vec![("toml".to_owned(), settings.toml)]));
    view! {
        {crumbs([("/admin/monitoring", "Monitoring")])}
        {head(
            "Alerts",
            lead,
            view! {
                <form method="post" action="/admin/monitoring/alerts">
                    <button type="submit" name="action" value="test" class="button">
                        "Send test message"
                    </button>
                </form>
            },
        )}
        {flash_line(flash)}
        {problems(form.general(&["toml"]))}
        {(!rules.is_empty()).then(|| table(rules))}
        {(!alerts.is_empty()).then(|| history(alerts))}
        {editor(&form)}
    }
    .into_any()
}

fn table(rules: Vec<AlertRule>) -> AnyView {
    let rows = rules.into_iter().map(|rule| {
        let what = match rule.measure {
            AlertMeasure::FailedShare => "failed",
            AlertMeasure::CancelledShare => "cancelled",
            AlertMeasure::SecondsP95 => "p95 time",
            AlertMeasure::WaitP95 => "p95 wait",
        };
        let of = rule.version.clone().unwrap_or_else(|| "all generations".to_owned());
        let (word, class) = match (rule.muted_until, rule.firing, rule.value) {
            (Some(_), ..) => ("Muted", "badge queued"),
            (None, true, _) => ("Firing", "badge failed"),
            (None, false, Some(_)) => ("OK", "badge done"),
            (None, false, None) => ("Too few generations", "badge queued"),
        };
        let value = rule.value.map_or_else(|| "–".to_owned(), |value| rule.measure.show(value));
        let until = rule.muted_until.map(|until| format!("until {} UTC", &exact(until)[..16]));
        let mute = if rule.muted_until.is_some() {
            view! {
                <button type="submit" name="action" value="unmute" class="button" aria-label=format!("Unmute: {}", rule.name)>
                    "Unmute"
                </button>
            }
            .into_any()
        } else {
            view! {
                <select name="hours" aria-label=format!("Mute {} for", rule.name)>
                    <option value="1">"1 hour"</option>
                    <option value="8">"8 hours"</option>
                    <option value="24">"1 day"</option>
                    <option value="168">"7 days"</option>
                </select>
                <button type="submit" name="action" value="mute" class="button" aria-label=format!("Mute: {}", rule.name)>
                    "Mute"
                </button>
            }
            .into_any()
        };
        view! {
            <tr>
                <th scope="row" class="grow">
                    <span class="strong">{rule.name.clone()}</span>
                    <span class="soft">
                        {format!(
                            "{what} above {}, {of}, last {} min, at least {}{}",
                            rule.measure.show(rule.above),
                            rule.window_minutes,
                            counted(rule.min_count.into(), "generation"),
                            if rule.rollback { "; rolls back" } else { "" },
                        )}
                    </span>
                </th>
                <td>
                    <span class=class>{word}</span>
                    <span class="soft">{until}</span>
                </td>
                <td class="count">{value} <span class="soft">{format!(" of {}", rule.count)}</span></td>
                <td>
                    <form method="post" action="/admin/monitoring/alerts" class="head-actions">
                        <input type="hidden" name="rule" value=rule.name />
                        {mute}
                    </form>
                </td>
            </tr>
        }
    });
    view! {
        <section class="panel" aria-labelledby="rules">
            <h2 id="rules">"Rules"</h2>
            <div class="wide" tabindex="0" role="region" aria-label="Table of rules">
                <table class="list">
                    <thead>
                        <tr>
                            <th scope="col">"Rule"</th>
                            <th scope="col">"State"</th>
                            <th scope="col">"Value now"</th>
                            <td></td>
                        </tr>
                    </thead>
                    <tbody>{rows.collect::<Vec<_>>()}</tbody>
                </table>
            </div>
        </section>
    }
    .into_any()
}

fn history(alerts: Vec<Alert>) -> AnyView {
    let rows = alerts.into_iter().map(|alert| {
        let open = alert.closed_at.is_none();
        let (word, class) = if open { ("Open", "badge failed") } else { ("Closed", "badge done") };
        let names = alert.generations.iter().map(|id| {
            let short: String = id.chars().rev().take(6).collect::<Vec<_>>().into_iter().rev().collect();
            view! {
                <a href=format!("/?generation={id}") title=id.clone()>
                    {format!("…{short}")}
                </a>
                " "
            }
        });
        let names = names.collect::<Vec<_>>();
        view! {
            <li class="tall">
                <span>
                    <span class="strong">{alert.rule.clone()}</span>
                    " "
                    <span class=class>{word}</span>
                </span>
                <span class="end">{ago(alert.opened_at)}</span>
                <span class="soft">{alert.message.clone()} " " {alert.rollback.clone()}</span>
                {(!names.is_empty()).then(|| view! { <span class="soft">"Generations: " {names}</span> })}
                <span class="soft">{alert.deliveries.iter().map(delivery_text).collect::<Vec<_>>().join(" ")}</span>
            </li>
        }
    });
    view! {
        <section class="panel" aria-labelledby="history">
            <h2 id="history">"Alerts"</h2>
            <ul class="lines">{rows.collect::<Vec<_>>()}</ul>
        </section>
    }
    .into_any()
}

/// What became of a message, as a sentence.
fn delivery_text(delivery: &AlertDelivery) -> String {
    let AlertDelivery { event, channel, state, attempts, next_at, error } = delivery;
    let what = if event == "opened" { "Alert" } else { "All-clear" };
    let error = error.as_deref().unwrap_or_default();
    match (state.as_str(), next_at) {
        ("sent", _) => format!("{what} sent to {channel}."),
        ("waiting", Some(next)) if *attempts > 0 => {
            format!("{what} not sent to {channel}: {error} Next try at {} UTC.", &exact(*next)[11..19])
        }
        ("waiting", _) => format!("{what} waits to be sent to {channel}."),
        _ => format!("{what} not sent to {channel}, given up after {attempts} tries: {error}"),
    }
}

fn editor(form: &FormInput) -> AnyView {
    let error = form.error("toml");
    let invalid = error.is_some().then_some("true");
    let described = if error.is_some() { "toml-help toml-error" } else { "toml-help" };
    view! {
        <section class="panel" aria-labelledby="settings">
            <h2 id="settings">"Settings"</h2>
            <form method="post" action="/admin/monitoring/alerts" class="stack">
                <div class="field">
                    <label for="toml">"TOML"</label>
                    <textarea
                        id="toml"
                        name="toml"
                        class="code"
                        rows="14"
                        autocomplete="off"
                        autocapitalize="none"
                        spellcheck="false"
                        aria-describedby=described
                        aria-invalid=invalid
                    >
                        {in_textarea(form.get("toml"))}
                    </textarea>
                    {error.map(|error| view! { <p class="field-problem" id="toml-error">{error}</p> })}
                    <p class="hint" id="toml-help">
                        "Measures: failed_share, cancelled_share, seconds_p95, wait_p95. A rule can have version, window_minutes (60), min_count (20) and, with a version such as adire@production, rollback = true."
                    </p>
                </div>
                <div class="line-up">
                    <button type="submit" name="action" value="save" class="primary">
                        "Save settings"
                    </button>
                </div>
            </form>
        </section>
    }
    .into_any()
}
