//! Who is signed in. Kept on the server, as digests, so that signing out and another password end sessions for good.
//! Every function may block.

use std::{
    io,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use adire_studio::time::seconds;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::private;

/// A session that is not used for so long ends.
pub(super) const IDLE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Use is written down no more often than this.
const NOTED: u64 = 60 * 60;
/// Most at once; the one that was used longest ago gives way.
const MAX_SESSIONS: usize = 200;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Session {
    /// sha256 of the cookie's token.
    token: String,
    /// sha256 of the password's hash at the time, or that there was none.
    password: String,
    /// Seconds since 1970.
    used: u64,
}

/// All sessions, in memory and in a file.
#[derive(Debug)]
pub(super) struct Sessions {
    file: PathBuf,
    all: Mutex<Vec<Session>>,
    /// Tells who follows something that sessions began or ended.
    changed: watch::Sender<()>,
}

impl Sessions {
    /// Reads the file. One that is damaged means that nobody is signed in.
    pub(super) fn open(file: PathBuf) -> io::Result<Self> {
        let all = match private::read(&file)? {
            Some(content) => serde_json::from_slice(&content).unwrap_or_else(|error| {
                tracing::warn!(file = %file.display(), %error, "the admin sessions could not be read; sign in again");
                Vec::new()
            }),
            None => Vec::new(),
        };
        Ok(Self { file, all: Mutex::new(all), changed: watch::Sender::new(()) })
    }

    /// Begins one.
    pub(super) fn begin(&self, token: String, password: String, now: SystemTime) -> io::Result<()> {
        let used = seconds(now);
        self.change(|all| {
            // What another password began can never be used again.
            all.retain(|session| session.password == password && is_alive(session, used));
            if all.len() >= MAX_SESSIONS {
                let oldest =
                    all.iter().enumerate().min_by_key(|(_, session)| session.used).map(|(index, _)| index);
                oldest.map(|index| all.swap_remove(index));
            }
            all.push(Session { token, password, used });
        })
    }

    /// Whether there is such a session; if so, it is in use now.
    pub(super) fn uses(&self, token: &str, password: &str, now: SystemTime) -> bool {
        let now = seconds(now);
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.iter_mut().find(|session| session.token == token && session.password == password);
        let Some(session) = found.filter(|session| is_alive(session, now)) else { return false };
        if now.saturating_sub(session.used) >= NOTED {
            session.used = now;
            if let Err(error) = self.write(&all) {
                // The session stays valid; at worst it ends early after a restart.
                tracing::warn!(%error, "the last use of a session could not be saved");
            }
        }
        true
    }

    /// Ends one; one that is not there is as good.
    pub(super) fn end(&self, token: &str) -> io::Result<()> {
        self.change(|all| all.retain(|session| session.token != token))
    }

    /// The lock is held while the file is written: the last change is the one that stays.
    fn change(&self, change: impl FnOnce(&mut Vec<Session>)) -> io::Result<()> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut all);
        let written = self.write(&all);
        self.changed.send_replace(());
        written
    }

    /// Wakes whenever sessions have begun or ended.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn write(&self, all: &[Session]) -> io::Result<()> {
        private::write(&self.file, &serde_json::to_vec(all).map_err(io::Error::other)?)
    }
}

fn is_alive(session: &Session, now: u64) -> bool {
    now.saturating_sub(session.used) < IDLE.as_secs()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn days(count: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000_000 + count * 24 * 60 * 60)
    }

    fn begun(file: PathBuf) -> Sessions {
        let sessions = Sessions::open(file).unwrap();
        sessions.begin("a".to_owned(), "password".to_owned(), days(0)).unwrap();
        sessions
    }

    #[test]
    fn it_ends_after_thirty_days_without_use() {
        let folder = tempfile::tempdir().unwrap();
        let sessions = begun(folder.path().join("sessions"));
        for (day, alive) in [(29, true), (58, true), (87, true), (117, false), (118, false)] {
            assert_eq!(sessions.uses("a", "password", days(day)), alive, "day {day}");
        }
    }

    #[test]
    fn it_outlives_a_restart_but_no_other_password() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sessions");
        drop(begun(file.clone()));
        let sessions = Sessions::open(file.clone()).unwrap();
        assert!(sessions.uses("a", "password", days(1)));
        assert!(!sessions.uses("a", "another", days(1)));
        assert!(!sessions.uses("b", "password", days(1)));
        sessions.begin("b".to_owned(), "another".to_owned(), days(1)).unwrap();
        assert!(!sessions.uses("a", "password", days(1)), "another password ends what was before");
        sessions.end("b").unwrap();
        assert!(!Sessions::open(file).unwrap().uses("b", "another", days(1)));
    }

    #[test]
    fn a_damaged_file_means_that_nobody_is_signed_in() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sessions");
        std::fs::write(&file, "{").unwrap();
        assert!(!Sessions::open(file.clone()).unwrap().uses("a", "password", days(0)));
        assert!(begun(file).uses("a", "password", days(0)));
    }

    #[test]
    fn there_is_an_end_to_their_number() {
        let folder = tempfile::tempdir().unwrap();
        let sessions = begun(folder.path().join("sessions"));
        for index in 0..MAX_SESSIONS {
            sessions.begin(format!("{index}"), "password".to_owned(), days(1)).unwrap();
        }
        assert!(!sessions.uses("a", "password", days(1)), "the oldest gave way");
        assert!(sessions.uses("0", "password", days(1)));
        assert_eq!(sessions.all.lock().unwrap().len(), MAX_SESSIONS);
    }
}
