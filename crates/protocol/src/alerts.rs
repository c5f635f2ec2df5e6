//! Alerts: rules over figures of generations, what they found, and who was notified.

use serde::{Deserialize, Serialize};

/// What a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AlertMeasure {
    /// Share of failed generations among finished and failed ones, 0 to 1.
    FailedShare,
    /// Share of cancelled generations among all, 0 to 1.
    CancelledShare,
    /// 95th percentile of the seconds from start to end.
    SecondsP95,
    /// 95th percentile of the seconds from submission to start.
    WaitP95,
}

impl AlertMeasure {
    /// A value as text, such as `75.0%` or `0.02 s`: one decimal place, or as many as two digits need.
    pub fn show(self, value: f64) -> String {
        let (value, unit) = match self {
            Self::FailedShare | Self::CancelledShare => (value * 100.0, "%"),
            Self::SecondsP95 | Self::WaitP95 => (value, " s"),
        };
        let small = value > 0.0 && value < 0.1;
        // 0.02 has its first digit at the second place.
        let places = if small { (-value.log10().floor()).clamp(1.0, 12.0) as usize + 1 } else { 1 };
        let text = format!("{value:.places$}");
        let text = if small { text.trim_end_matches('0') } else { &text };
        format!("{text}{unit}")
    }
}

/// The settings, as TOML.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AlertSettings {
    /// The rules, in the format of `docs/monitoring.md`.
    pub toml: String,
}

/// A request to mute a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct MuteRequest {
    /// When it ends, in milliseconds since 1970 (UTC); absent: it ends now.
    pub until: Option<i64>,
}

/// Settings, rules and alerts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Alerts {
    /// The settings.
    pub settings: AlertSettings,
    /// The rules in order.
    pub rules: Vec<AlertRule>,
    /// Alerts, the newest first.
    pub alerts: Vec<Alert>,
}

/// A rule and how it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AlertRule {
    /// Unique.
    pub name: String,
    /// What it looks at.
    pub measure: AlertMeasure,
    /// `name@vN` or `name@production`; absent: every generation.
    pub version: Option<String>,
    /// It fires above this.
    pub above: f64,
    /// How far back it looks.
    pub window_minutes: u32,
    /// With fewer generations it says nothing.
    pub min_count: u32,
    /// Whether production of the version's adapter goes back when it fires.
    pub rollback: bool,
    /// Until when it is muted, in milliseconds since 1970 (UTC).
    pub muted_until: Option<i64>,
    /// The value now; absent with too few generations.
    pub value: Option<f64>,
    /// Generations that it is made of.
    pub count: u32,
    /// Whether an alert is open.
    pub firing: bool,
}

/// Something that a rule found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Alert {
    /// A UUID.
    pub id: String,
    /// Name of the rule.
    pub rule: String,
    /// One sentence.
    pub message: String,
    /// The version it is about, `name@vN`.
    pub version: Option<String>,
    /// The value that was found.
    pub value: f64,
    /// The rule's limit.
    pub above: f64,
    /// Generations that the value is made of.
    pub count: u32,
    /// Ids of generations behind it, at most 20: those that failed, or the slowest.
    pub generations: Vec<String>,
    /// When it was found, in milliseconds since 1970 (UTC).
    pub opened_at: i64,
    /// When it was over.
    pub closed_at: Option<i64>,
    /// What the automatic rollback did.
    pub rollback: Option<String>,
    /// Who was notified.
    pub deliveries: Vec<AlertDelivery>,
}

/// A message about an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AlertDelivery {
    /// `opened` or `closed`.
    pub event: String,
    /// `webhook` or `ntfy`.
    pub channel: String,
    /// `waiting`, `sent` or `failed`.
    pub state: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next.
    pub next_at: Option<i64>,
    /// Why the last try failed.
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::AlertMeasure::{FailedShare, SecondsP95};

    #[test]
    fn small_values_keep_their_digits() {
        for (measure, value, text) in [
            (FailedShare, 0.75, "75.0%"),
            (FailedShare, 0.0, "0.0%"),
            (FailedShare, 0.0004, "0.04%"),
            (SecondsP95, 12.34, "12.3 s"),
            (SecondsP95, 0.1, "0.1 s"),
            (SecondsP95, 0.02, "0.02 s"),
            (SecondsP95, 0.0456, "0.046 s"),
            (SecondsP95, 0.0999, "0.1 s"),
        ] {
            assert_eq!(measure.show(value), text);
        }
    }
}
