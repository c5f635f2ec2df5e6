//! The studio's API of alerts.

use adire_protocol::{AlertSettings, Alerts, MuteRequest};

use super::Studio;
use crate::{
    StudioError,
    alerts::{self, Delivery},
    tasks::detached,
    time::now,
};

impl Studio {
    /// Settings, rules and the newest alerts.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn alerts(&self) -> Result<Alerts, StudioError> {
        alerts::overview(self.shared()).await
    }

    /// Replaces the settings of alerts.
    ///
    /// # Errors
    /// They are not valid.
    pub async fn set_alerts(&self, settings: AlertSettings) -> Result<(), StudioError> {
        alerts::set(self.shared(), settings).await
    }

    /// Mutes a rule until a time, or ends that.
    ///
    /// # Errors
    /// No such rule; the time has passed.
    pub async fn mute_alert(&self, rule: &str, request: MuteRequest) -> Result<(), StudioError> {
        alerts::mute(self.shared(), rule, request).await
    }

    /// Queues a test message.
    ///
    /// # Errors
    /// No address to send to is set.
    pub async fn test_alert(&self) -> Result<(), StudioError> {
        alerts::test(self.shared()).await
    }

    /// Looks at every rule now; it is done every half minute by itself.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn look_at_alerts(&self) -> Result<(), StudioError> {
        let shared = self.shared().clone();
        detached(async move { alerts::look(&shared, now()).await }).await
    }

    /// Messages that are due, for the sender.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn due_deliveries(&self) -> Result<Vec<Delivery>, StudioError> {
        alerts::due(self.shared(), now()).await
    }

    /// A message was sent.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn delivered(&self, id: &str) -> Result<(), StudioError> {
        self.shared().store.delivered(id).await
    }

    /// A message could not be sent. `wait`: milliseconds that the other side requested.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn delivery_failed(&self, id: &str, error: &str, wait: Option<i64>) -> Result<(), StudioError> {
        alerts::failed(self.shared(), id, error, wait, now()).await
    }
}
