//! Guessing a password costs time: a few attempts are free, then each one waits twice as long as the one before.
//! Counted per peer and for all together, in memory.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use adire_studio::Network;

/// For one peer.
const PEER: Limit =
    Limit { free: 5, longest: Duration::from_secs(15 * 60), memory: Duration::from_secs(60 * 60) };
/// For everyone together. The longest wait is short: whoever sends guesses from everywhere must not lock the operator
/// out.
const ALL: Limit = Limit { free: 20, longest: Duration::from_secs(20), memory: Duration::from_secs(5 * 60) };
/// Most peers that are remembered; the one that tried longest ago gives way.
const MOST: usize = 4096;

struct Limit {
    /// Attempts without a wait.
    free: u32,
    /// The wait doubles up to this.
    longest: Duration,
    /// After so long without an attempt everything is forgotten.
    memory: Duration,
}

#[derive(Clone, Copy)]
struct Tries {
    count: u32,
    last: Instant,
}

/// Who tried how often.
#[derive(Default)]
pub(super) struct Attempts(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    /// `None`: it is not known where the request comes from.
    peers: HashMap<Option<Network>, Tries>,
    all: Option<Tries>,
}

impl Attempts {
    /// Counts an attempt, or says how long to wait for the next one; then nothing is counted.
    pub(super) fn begin(&self, peer: Option<Network>, now: Instant) -> Result<(), Duration> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = PEER.present(counts.peers.get(&peer).copied(), now);
        let all = ALL.present(counts.all, now);
        let wait = PEER.wait(own, now).max(ALL.wait(all, now));
        if !wait.is_zero() {
            return Err(wait);
        }
        let more = |tries: Option<Tries>| Tries {
            count: tries.map_or(1, |tries| tries.count.saturating_add(1)),
            last: now,
        };
        counts.all = Some(more(all));
        if counts.peers.len() >= MOST && !counts.peers.contains_key(&peer) {
            let oldest = counts.peers.iter().min_by_key(|(_, tries)| tries.last).map(|(peer, _)| *peer);
            oldest.map(|oldest| counts.peers.remove(&oldest));
        }
        counts.peers.insert(peer, more(own));
        Ok(())
    }

    /// Forgets a peer that knew the password.
    pub(super) fn forget(&self, peer: Option<Network>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.peers.remove(&peer);
        if let Some(all) = &mut counts.all {
            all.count = all.count.saturating_sub(1);
        }
    }
}

impl Limit {
    fn present(&self, tries: Option<Tries>, now: Instant) -> Option<Tries> {
        tries.filter(|tries| now.saturating_duration_since(tries.last) < self.memory)
    }

    fn wait(&self, tries: Option<Tries>, now: Instant) -> Duration {
        let Some(tries) = tries.filter(|tries| tries.count >= self.free) else { return Duration::ZERO };
        let doubled = 1_u64.checked_shl(tries.count - self.free).unwrap_or(u64::MAX);
        let wait = Duration::from_secs(doubled).min(self.longest);
        (tries.last + wait).saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use super::*;

    fn peer(last: u8) -> Option<Network> {
        Some(Network::of(IpAddr::from([192, 0, 2, last])))
    }

    fn v6(segments: [u16; 8]) -> Option<Network> {
        Some(Network::of(Ipv6Addr::from(segments).into()))
    }

    #[test]
    fn a_few_are_free_and_then_the_wait_doubles() {
        let (attempts, mut now) = (Attempts::default(), Instant::now());
        for _ in 0..5 {
            attempts.begin(peer(1), now).unwrap();
        }
        let mut waited = Vec::new();
        for _ in 0..12 {
            let wait = attempts.begin(peer(1), now).unwrap_err();
            waited.push(wait.as_secs());
            assert!(attempts.begin(peer(1), now + wait - Duration::from_millis(1)).is_err());
            now += wait;
            attempts.begin(peer(1), now).unwrap();
        }
        assert_eq!(waited, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
        assert!(attempts.begin(peer(2), now).is_ok(), "another peer does not wait for it");
        assert!(attempts.begin(peer(1), now + Duration::from_secs(3601)).is_ok());
    }

    #[test]
    fn many_peers_together_wait_too_but_never_long() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for last in 0..20 {
            attempts.begin(peer(last), now).unwrap();
        }
        assert_eq!(attempts.begin(peer(99), now), Err(Duration::from_secs(1)));
        let mut later = now;
        for last in 100..200 {
            later += Duration::from_secs(20);
            attempts.begin(peer(last), later).unwrap();
        }
        assert_eq!(attempts.begin(peer(250), later), Err(Duration::from_secs(20)));
    }

    #[test]
    fn success_forgets() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..50 {
            attempts.begin(peer(1), now).unwrap();
            attempts.forget(peer(1));
        }
    }

    #[test]
    fn a_network_is_one_peer_and_their_number_ends() {
        let (attempts, mut now) = (Attempts::default(), Instant::now());
        for host in 0..5_u16 {
            attempts.begin(v6([0x2001, 0xdb8, 0, 1, 0, 0, 0, host]), now).unwrap();
        }
        let same = v6([0x2001, 0xdb8, 0, 1, 9, 9, 9, 9]);
        assert!(attempts.begin(same, now).is_err());
        for network in 0..5000_u16 {
            now += Duration::from_secs(21);
            let _ = attempts.begin(v6([0x2001, 0xdb8, network, 2, 0, 0, 0, 0]), now);
        }
        assert_eq!(attempts.0.lock().unwrap().peers.len(), MOST);
    }
}
