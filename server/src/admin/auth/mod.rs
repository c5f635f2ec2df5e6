//! Admin authentication: one shared password for everyone who administers the studio. Knows passwords,
//! sessions and attempts; knows no pages. Everything lies in files of the folder `operator` in the data folder, which
//! only the server's own user can read. Files, not rows: `adire admin set-password` must work beside a running server
//! that holds the database, and the studio knows nothing of authentication.

mod attempts;
pub(crate) mod cookies;
pub(crate) mod password;
mod private;
mod sessions;
pub(crate) mod token_limit;
pub(crate) mod tokens;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use adire_studio::Network;
use anyhow::{Context, anyhow};
use cookie::Key;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::{
    attempts::{Attempts, Counted},
    password::Weakness,
    sessions::Sessions,
    tokens::Tokens,
};

/// How often a long answer looks whether it is still for whom it was begun.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Below the data folder.
const FOLDER: &str = "operator";
/// A verification takes 19 MiB and some tenths of a second of one core; more at once would hold up the visitors.
const VERIFICATIONS: usize = 2;
/// Most that wait for one; more are sent away, uncounted.
const WAITING: usize = 32;
/// When to try again where so many wait.
const CROWDED: Duration = Duration::from_secs(2);
/// What a session is bound to that began by the printed link; no digest of a password.
const NO_PASSWORD: &str = "no password";

/// Admin password, sessions and rate limits of sign-in attempts.
pub struct AdminAuth {
    folder: PathBuf,
    /// The password's hash, where the environment gives it; goes before the file's.
    given: Option<String>,
    /// Signs the cookie.
    key: Key,
    sessions: Sessions,
    tokens: Arc<Tokens>,
    attempts: Attempts,
    verifications: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// Beside the others: who signed in before does not stand in line with everybody.
    device_verifications: Arc<Semaphore>,
    /// Token of the printed link while no password is set; consumed when the first one is set.
    set_up: Mutex<Option<String>>,
}

/// Who sends a request.
pub(crate) struct Caller {
    /// There is a password.
    pub(crate) is_set: bool,
    /// The request has a session.
    pub(crate) is_known: bool,
}

/// Why a sign-in failed.
#[derive(Debug)]
pub(crate) enum SignInError {
    /// Too many attempts; try again after this time.
    Wait(Duration),
    /// Wrong password.
    Wrong,
    /// No admin password is set.
    NoAdminPassword,
    /// The link has been used, belongs to an earlier start, or was copied badly.
    Link,
    /// The new password is too easily guessed.
    Weak(Weakness),
    /// Internal error.
    Failed(anyhow::Error),
}

impl From<io::Error> for SignInError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.into())
    }
}

fn unusable(data: &Path) -> String {
    let data = data.display();
    format!("cannot use the data folder {data}; pass a writable one with --data or ADIRE_DATA")
}

impl AdminAuth {
    /// Opens the folder `operator` of a data folder and makes what is absent. `given` is the hash of a password from
    /// the environment.
    ///
    /// # Errors
    /// The folder cannot be used, or `given` is not an argon2id hash in PHC format.
    pub fn open(data: &Path, given: Option<String>) -> anyhow::Result<Self> {
        let folder = data.join(FOLDER);
        private::folder(&folder).with_context(|| unusable(data))?;
        if let Some(given) = &given {
            password::check(given).context("invalid ADIRE_ADMIN_PASSWORD_HASH")?;
        }
        let key = cookies::key(&folder.join("cookie.key")).context("the session cookie's key")?;
        let sessions = Sessions::open(folder.join("sessions.json"))?;
        let auth = Self {
            folder,
            given,
            key,
            sessions,
            tokens: Arc::new(Tokens::open(data)?),
            attempts: Attempts::default(),
            verifications: Arc::new(Semaphore::new(VERIFICATIONS)),
            waiting: Arc::new(Semaphore::new(WAITING)),
            device_verifications: Arc::new(Semaphore::new(1)),
            set_up: Mutex::new(None),
        };
        if auth.hash()?.is_none() {
            *auth.set_up.lock().unwrap_or_else(PoisonError::into_inner) = Some(token()?);
        }
        Ok(auth)
    }

    /// Where [`Self::set_password`] keeps the hash.
    pub(crate) fn password_file(data: &Path) -> PathBuf {
        password::file(&data.join(FOLDER))
    }

    /// Sets the password in a data folder. It counts at once, and who was signed in with another one no longer is.
    ///
    /// # Errors
    /// The password is too weak, or the folder cannot be written.
    pub fn set_password(data: &Path, password: &str) -> anyhow::Result<()> {
        password::strength(password).map_err(|weakness| anyhow!("{weakness}"))?;
        let folder = data.join(FOLDER);
        private::folder(&folder).with_context(|| unusable(data))?;
        password::write(&folder, &password::hash(password)?)
    }

    /// Tokens of programs.
    pub(crate) fn tokens(&self) -> &Arc<Tokens> {
        &self.tokens
    }

    /// Signs the cookies.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Whether there is a password, and a session with this token.
    pub(crate) async fn caller(self: &Arc<Self>, token: Option<String>) -> io::Result<Caller> {
        let here = self.clone();
        blocking(move || {
            let is_known = token.map_or(Ok(false), |token| here.knows(&token))?;
            Ok(Caller { is_set: here.is_set()?, is_known })
        })
        .await
    }

    /// What the printed link carries, while it can be used.
    pub fn link_token(&self) -> Option<String> {
        self.set_up.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The password's hash; `None` while no password is set. Read each time, so that a password set on the command line
    /// counts at once. A file that cannot be read is an error, not the absence of a password.
    fn hash(&self) -> io::Result<Option<String>> {
        match &self.given {
            Some(given) => Ok(Some(given.clone())),
            None => password::read(&self.folder),
        }
    }

    /// Whether there is a password. Blocks.
    fn is_set(&self) -> io::Result<bool> {
        Ok(self.hash()?.is_some())
    }

    /// Whether this token belongs to a session of the present password; if so, the session is in use. Blocks.
    fn knows(&self, token: &str) -> io::Result<bool> {
        let bound = self.hash()?.map_or_else(|| NO_PASSWORD.to_owned(), |hash| digest(&hash));
        Ok(self.sessions.uses(&digest(token), &bound, SystemTime::now()))
    }

    /// Whether a password is set.
    pub(crate) async fn exist(self: &Arc<Self>) -> io::Result<bool> {
        let here = self.clone();
        blocking(move || here.is_set()).await
    }

    /// Checks a password and begins a session; its token is for the cookie. `device`: what an earlier sign-in left in
    /// the browser.
    pub(crate) async fn sign_in(
        self: &Arc<Self>,
        device: Option<String>,
        from: Option<Network>,
        password: String,
    ) -> Result<String, SignInError> {
        let here = self.clone();
        let hash = blocking(move || here.hash()).await?.ok_or(SignInError::NoAdminPassword)?;
        let (counted, permit) = self.turn(device, from).await?;
        let checked = hash.clone();
        let right = blocking(move || {
            let right = password::verify(&password, &checked);
            drop(permit);
            right
        });
        if !right.await.map_err(SignInError::Failed)? {
            return Err(SignInError::Wrong);
        }
        self.attempts.forget(&counted);
        self.begin_session(digest(&hash)).await
    }

    /// Counts an attempt and waits until it may be verified.
    async fn turn(
        self: &Arc<Self>,
        device: Option<String>,
        from: Option<Network>,
    ) -> Result<(Counted, OwnedSemaphorePermit), SignInError> {
        let place = self.waiting.clone().try_acquire_owned().ok();
        if device.is_none() && place.is_none() {
            return Err(SignInError::Wait(CROWDED));
        }
        // Counted before it is checked: a thousand attempts at once are a thousand attempts.
        let counted =
            self.attempts.begin(device.as_deref(), from, Instant::now()).map_err(SignInError::Wait)?;
        let turns = match counted {
            Counted::Device(_) => &self.device_verifications,
            Counted::Network(_) if place.is_none() => return Err(SignInError::Wait(CROWDED)),
            Counted::Network(_) => &self.verifications,
        };
        let permit =
            turns.clone().acquire_owned().await.map_err(|error| SignInError::Failed(error.into()))?;
        drop(place);
        Ok((counted, permit))
    }

    /// Starts a session with the token of the printed link: while no password is set, who can read what the server
    /// prints is the admin.
    pub(crate) async fn enter(self: &Arc<Self>, given: &str) -> Result<String, SignInError> {
        if self.exist().await? || !self.is_link_token(given) {
            return Err(SignInError::Link);
        }
        self.begin_session(NO_PASSWORD.to_owned()).await
    }

    /// Sets the first password with the token of the printed link, and begins a session.
    pub(crate) async fn set_up(
        self: &Arc<Self>,
        given: &str,
        password: String,
    ) -> Result<String, SignInError> {
        // Nothing is counted: 256 random bits are not guessed, and nothing is hashed for who does not have them.
        if self.exist().await? || !self.is_link_token(given) {
            return Err(SignInError::Link);
        }
        password::strength(&password).map_err(SignInError::Weak)?;
        let expected = {
            let mut token = self.set_up.lock().unwrap_or_else(PoisonError::into_inner);
            // Of two at once, one finds nothing.
            token.take().ok_or(SignInError::Link)?
        };
        let folder = self.folder.clone();
        let stored = blocking(move || {
            let hash = password::hash(&password)?;
            password::write(&folder, &hash)?;
            Ok::<_, anyhow::Error>(hash)
        });
        match stored.await {
            Ok(hash) => self.begin_session(digest(&hash)).await,
            Err(error) => {
                // Nothing is set, so the link is still good.
                *self.set_up.lock().unwrap_or_else(PoisonError::into_inner) = Some(expected);
                Err(SignInError::Failed(error))
            }
        }
    }

    /// Whether the link with this token can be used.
    pub(crate) fn is_link_token(&self, given: &str) -> bool {
        // Digests, so that the time of the comparison says nothing about the token.
        self.link_token().is_some_and(|expected| digest(&expected) == digest(given))
    }

    /// Ends when who came in with this token would no longer be let in: signed out, another password, too long unused.
    /// `None`: for who came in without one, when there is a password.
    pub(crate) async fn until_out(self: Arc<Self>, token: Option<String>) {
        // Seen before the first look, so that nothing between look and wait is lost.
        let mut changes = self.sessions.changes();
        loop {
            changes.borrow_and_update();
            let (here, token) = (self.clone(), token.clone());
            let still = blocking(move || match token {
                Some(token) => here.knows(&token),
                None => Ok::<_, io::Error>(!here.is_set()?),
            });
            // What cannot be known lets nobody in.
            if !still.await.unwrap_or(false) {
                return;
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                // Another program may set a password.
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// Ends a session.
    pub(crate) async fn sign_out(self: &Arc<Self>, token: String) -> io::Result<()> {
        let here = self.clone();
        blocking(move || here.sessions.end(&digest(&token))).await
    }

    /// `bound`: the digest of the password's hash; the session ends when the hash changes.
    async fn begin_session(self: &Arc<Self>, bound: String) -> Result<String, SignInError> {
        let (here, token) = (self.clone(), token()?);
        let kept = digest(&token);
        blocking(move || here.sessions.begin(kept, bound, SystemTime::now())).await?;
        Ok(token)
    }
}

/// 256 random bits as hex digits.
pub(crate) fn token() -> io::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(hex::encode(bytes))
}

/// What is kept of a token: who reads the file cannot use it.
fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// Runs what blocks on a thread that may.
async fn blocking<T: Send + 'static, E: From<io::Error> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(io::Error::other(error).into()),
    }
}
