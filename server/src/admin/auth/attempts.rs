//! Guessing a password costs time. Whoever asks has a few attempts, and then one for each minute that passes; only an
//! attempt that was let through is counted, so nobody's wait grows by asking too early. Nothing is counted for all
//! together: that would be a way to keep the admin out. What all attempts together cost is bounded where passwords are
//! verified.
//!
//! A browser that once signed in holds a device cookie, and has attempts of its own: whatever others do at the same
//! address, it can sign in again. Kept in memory.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use adire_studio::Network;

/// For a device, and for a network.
const ONE: Limit = Limit { burst: 5, every: Duration::from_secs(60) };
/// For a /48 of IPv6: what one customer is given, at most. It has 65,536 networks, which must not be as many guessers.
const SITE: Limit = Limit { burst: 20, every: Duration::from_secs(15) };
/// Most that are remembered of each kind; the one that is nearest to having everything back gives way.
const MAX_BUCKETS: usize = 4096;

/// A bucket of attempts that fills with time.
struct Limit {
    burst: u32,
    every: Duration,
}

/// When each bucket will be full again; one that is full is not kept.
struct Buckets<K>(HashMap<K, Instant>);

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn full_at(&self, key: &K, now: Instant) -> Instant {
        self.0.get(key).copied().filter(|full| *full > now).unwrap_or(now)
    }

    /// How long until there is something in it.
    fn wait(&self, key: &K, limit: &Limit, now: Instant) -> Duration {
        (self.full_at(key, now) + limit.every).saturating_duration_since(now + limit.every * limit.burst)
    }

    fn take(&mut self, key: &K, limit: &Limit, now: Instant) {
        let full = self.full_at(key, now) + limit.every;
        if self.0.len() >= MAX_BUCKETS && !self.0.contains_key(key) {
            let fullest = self.0.iter().min_by_key(|(_, full)| **full).map(|(key, _)| key.clone());
            fullest.map(|fullest| self.0.remove(&fullest));
        }
        self.0.insert(key.clone(), full);
    }
}

/// Who tried how often.
#[derive(Default)]
pub(super) struct Attempts(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    devices: Buckets<String>,
    /// `None`: it is not known where the request comes from.
    networks: Buckets<Option<Network>>,
    sites: Buckets<Ipv6Addr>,
}

/// What an attempt was counted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// By the device cookie.
    Device(String),
    /// By where it comes from.
    Network(Option<Network>),
}

impl Attempts {
    /// Counts an attempt, or says how long to wait for the next one; then nothing is counted.
    pub(super) fn begin(
        &self,
        device: Option<&str>,
        from: Option<Network>,
        now: Instant,
    ) -> Result<Counted, Duration> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wait = Duration::MAX;
        if let Some(device) = device.map(str::to_owned) {
            wait = counts.devices.wait(&device, &ONE, now);
            if wait.is_zero() {
                counts.devices.take(&device, &ONE, now);
                return Ok(Counted::Device(device));
            }
        }
        // A device that has used its own up is as good as any other.
        let site = site(from);
        let site_wait = site.map_or(Duration::ZERO, |site| counts.sites.wait(&site, &SITE, now));
        wait = wait.min(counts.networks.wait(&from, &ONE, now).max(site_wait));
        if !wait.is_zero() {
            return Err(wait);
        }
        counts.networks.take(&from, &ONE, now);
        if let Some(site) = site {
            counts.sites.take(&site, &SITE, now);
        }
        Ok(Counted::Network(from))
    }

    /// Forgets the attempts of who knew the password.
    pub(super) fn forget(&self, counted: &Counted) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counted {
            Counted::Device(device) => counts.devices.0.remove(device),
            Counted::Network(from) => counts.networks.0.remove(from),
        };
    }
}

/// The /48 of an IPv6 address.
fn site(from: Option<Network>) -> Option<Ipv6Addr> {
    match from?.address() {
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            Some(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
        IpAddr::V4(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(last: u16) -> Option<Network> {
        let [high, low] = last.to_be_bytes();
        Some(Network::of(IpAddr::from([10, 0, high, low])))
    }

    fn v6(site: u16, network: u16, host: u16) -> Option<Network> {
        Some(Network::of(Ipv6Addr::new(0x2001, 0xdb8, site, network, 0, 0, 0, host).into()))
    }

    #[test]
    fn a_few_are_free_and_then_each_minute_gives_one() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..5 {
            attempts.begin(None, v4(1), now).unwrap();
        }
        assert_eq!(attempts.begin(None, v4(1), now), Err(Duration::from_secs(60)));
        assert_eq!(attempts.begin(None, v4(1), now + Duration::from_secs(59)), Err(Duration::from_secs(1)));
        // However often it was tried meanwhile, the wait does not grow.
        attempts.begin(None, v4(1), now + Duration::from_secs(60)).unwrap();
        attempts.begin(None, v4(1), now + Duration::from_secs(60)).unwrap_err();
        let later = now + Duration::from_secs(60 + 5 * 60);
        for _ in 0..5 {
            attempts.begin(None, v4(1), later).unwrap();
        }
        attempts.begin(None, v4(1), later).unwrap_err();
    }

    #[test]
    fn nobody_waits_for_what_others_do() {
        let (attempts, mut now) = (Attempts::default(), Instant::now());
        // Forty-five addresses, each as often as it may, for hours.
        for second in 0..4 * 3600 {
            now += Duration::from_secs(1);
            let _ = attempts.begin(None, v4(second % 45), now);
        }
        assert_eq!(attempts.begin(None, v4(999), now), Ok(Counted::Network(v4(999))));
    }

    #[test]
    fn a_device_that_signed_in_once_does_not_wait_for_its_neighbours() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        while attempts.begin(None, v4(1), now).is_ok() {}
        for _ in 0..5 {
            assert_eq!(attempts.begin(Some("mine"), v4(1), now), Ok(Counted::Device("mine".to_owned())));
        }
        assert!(attempts.begin(Some("mine"), v4(1), now).is_err(), "a stolen one does not guess for ever");
        assert_eq!(
            attempts.begin(Some("mine"), v4(2), now),
            Ok(Counted::Network(v4(2))),
            "it is still somebody"
        );
    }

    #[test]
    fn success_forgets() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..50 {
            for device in [None, Some("mine")] {
                let counted = attempts.begin(device, v4(1), now).unwrap();
                attempts.forget(&counted);
            }
        }
    }

    #[test]
    fn a_network_is_one_guesser_and_so_is_a_customer_with_many() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for host in 0..5 {
            attempts.begin(None, v6(1, 1, host), now).unwrap();
        }
        attempts.begin(None, v6(1, 1, 9), now).unwrap_err();
        let let_through = (0..5000).filter(|it| attempts.begin(None, v6(2, *it, 1), now).is_ok()).count();
        assert_eq!(let_through, 20);
        attempts.begin(None, v6(3, 1, 1), now).unwrap();
    }

    #[test]
    fn there_is_an_end_to_what_is_remembered() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for peer in 0..5000 {
            attempts.begin(None, v4(peer), now).unwrap();
        }
        assert_eq!(attempts.0.lock().unwrap().networks.0.len(), MAX_BUCKETS);
    }
}
