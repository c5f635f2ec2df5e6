//! Tokens of programs: what scripts and other programs send instead of a cookie. Files hold digests and how much each token
//! has been used, so that `adire admin tokens` works beside a running server. Every function may block.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use adire_studio::{Visitor, time::seconds};
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::{FOLDER, digest, private, token, token_limit::TokenLimit, unusable};

/// Before every token, so that people and secret scanners know one when they see it.
const PREFIX: &str = "adire_";
/// Most tokens at once.
const MAX_TOKENS: usize = 1000;
/// Longest name of a token, in characters.
const MAX_NAME_CHARS: usize = 40;

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scope {
    /// What visitors may.
    Generate,
    /// Also everything under `/admin/api`.
    Admin,
}

impl Scope {
    /// Name on the command line and in forms.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Generate => "generate",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "generate" => Ok(Self::Generate),
            "admin" => Ok(Self::Admin),
            _ => Err("expected generate or admin".to_owned()),
        }
    }
}

/// How much a token has been used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Usage {
    /// Generations that were taken.
    pub(crate) generations: u64,
    /// Images that they requested.
    pub(crate) images: u64,
    /// Seconds since 1970 when it was last used.
    pub(crate) last_used: Option<u64>,
    /// Number of the period that `in_period` counts.
    period: u64,
    in_period: u32,
}

/// A token as the file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    id: String,
    name: String,
    /// sha256 of the token.
    digest: String,
    scope: Scope,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<TokenLimit>,
    /// Seconds since 1970.
    created_at: u64,
}

/// A token in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedToken {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) scope: Scope,
    pub(crate) limit: Option<TokenLimit>,
    /// Seconds since 1970.
    pub(crate) created_at: u64,
    pub(crate) usage: Usage,
}

/// The token that a request came with; an extension of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) id: String,
    pub(crate) scope: Scope,
}

impl Token {
    /// The visitor that the token's generations belong to. No cookie holds such an id.
    pub(crate) fn visitor(&self) -> Visitor {
        Visitor(format!("token:{}", self.id))
    }
}

/// A token's limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OverLimit {
    pub(crate) limit: TokenLimit,
    /// Seconds until the next period.
    pub(crate) retry_after: u64,
}

/// All tokens. Both files are read again whenever they have changed.
#[derive(Debug)]
pub(crate) struct Tokens {
    file: PathBuf,
    usage_file: PathBuf,
    state: Mutex<State>,
    /// Held while the file of usage is written, so that the newest figures are the last ones.
    writing: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Of the file that `all` was read from.
    stamp: Option<(SystemTime, u64)>,
    all: Vec<Stored>,
    /// By token id.
    usage: BTreeMap<String, Usage>,
}

impl Tokens {
    /// Those of a data folder.
    pub(crate) fn open(data: &Path) -> anyhow::Result<Self> {
        let folder = data.join(FOLDER);
        private::folder(&folder).with_context(|| unusable(data))?;
        let usage_file = folder.join("token-usage.json");
        let usage = private::read(&usage_file)?.map(|content| serde_json::from_slice(&content));
        let usage = usage.transpose().unwrap_or_else(|error| {
            tracing::warn!(%error, "the usage of tokens could not be read; it is counted from 0 again");
            None
        });
        let state = State { usage: usage.unwrap_or_default(), ..State::default() };
        let file = folder.join("tokens.json");
        let tokens = Self { file, usage_file, state: Mutex::new(state), writing: Mutex::default() };
        tokens.with(|_| ()).context("cannot read the tokens")?;
        Ok(tokens)
    }

    /// Adds one and returns what programs send, which is not kept.
    pub(crate) fn add(&self, name: &str, scope: Scope, limit: Option<TokenLimit>) -> anyhow::Result<String> {
        let name = name.trim();
        let fits = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.');
        if name.is_empty() || name.chars().count() > MAX_NAME_CHARS || !name.chars().all(fits) {
            bail!("a token's name has 1 to {MAX_NAME_CHARS} letters, digits, spaces, - _ or .");
        }
        let secret = format!("{PREFIX}{}", token()?);
        let id = token()?[..16].to_owned();
        self.change(|all| {
            if all.iter().any(|stored| stored.name == name) {
                bail!("a token named {name} exists; choose another name, or revoke that one first");
            }
            if all.len() >= MAX_TOKENS {
                bail!("there are {MAX_TOKENS} tokens, the limit; revoke some");
            }
            let (name, digest, created_at) = (name.to_owned(), digest(&secret), seconds(SystemTime::now()));
            all.push(Stored { id, name, digest, scope, limit, created_at });
            Ok(())
        })?;
        Ok(secret)
    }

    /// Ends one, by name or id.
    pub(crate) fn revoke(&self, which: &str) -> anyhow::Result<()> {
        self.change(|all| {
            let count = all.len();
            all.retain(|stored| stored.name != which && stored.id != which);
            if all.len() == count {
                bail!("no token is named {which}; see `adire admin tokens list`");
            }
            Ok(())
        })
    }

    /// All, oldest first.
    pub(crate) fn list(&self) -> io::Result<Vec<ListedToken>> {
        self.with(|state| {
            let listed = state.all.iter().map(|stored| ListedToken {
                usage: state.usage.get(&stored.id).cloned().unwrap_or_default(),
                id: stored.id.clone(),
                name: stored.name.clone(),
                scope: stored.scope,
                limit: stored.limit,
                created_at: stored.created_at,
            });
            listed.collect()
        })
    }

    /// Whether there are any. Without, what programs send as credentials means nothing.
    pub(crate) fn exist(&self) -> io::Result<bool> {
        self.with(|state| !state.all.is_empty())
    }

    /// The token that a program sent. Digests are compared, so the time taken says nothing about the tokens.
    pub(crate) fn find(&self, secret: &str) -> io::Result<Option<Token>> {
        let wanted = digest(secret);
        self.with(|state| state.all.iter().find(|stored| stored.digest == wanted).map(Stored::token))
    }

    /// The token with this id, while it is not revoked.
    pub(crate) fn by_id(&self, id: &str) -> io::Result<Option<Token>> {
        self.with(|state| state.all.iter().find(|stored| stored.id == id).map(Stored::token))
    }

    /// Counts a generation of so many images, if the token's limit allows it.
    pub(crate) fn charge(&self, token: &Token, images: u32) -> io::Result<Result<(), OverLimit>> {
        let now = seconds(SystemTime::now());
        self.with(|state| {
            let limit = state.all.iter().find(|stored| stored.id == token.id).and_then(|stored| stored.limit);
            let usage = state.usage.entry(token.id.clone()).or_default();
            if let Some(limit) = limit {
                let length = limit.seconds();
                if usage.period != now / length {
                    (usage.period, usage.in_period) = (now / length, 0);
                }
                if usage.in_period.saturating_add(images) > limit.images {
                    return Err(OverLimit { limit, retry_after: length - now % length });
                }
                usage.in_period += images;
            }
            usage.generations += 1;
            usage.images += u64::from(images);
            usage.last_used = Some(now);
            Ok(())
        })
    }

    /// Takes back what [`Self::charge`] counted for a generation that was refused after all.
    pub(crate) fn refund(&self, token: &Token, images: u32) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(usage) = state.usage.get_mut(&token.id) {
            usage.generations = usage.generations.saturating_sub(1);
            usage.images = usage.images.saturating_sub(images.into());
            usage.in_period = usage.in_period.saturating_sub(images);
        }
    }

    /// Writes down how much tokens have been used.
    pub(crate) fn save_usage(&self) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let usage = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let State { all, usage, .. } = &mut *state;
            usage.retain(|id, _| all.iter().any(|stored| stored.id == *id));
            serde_json::to_vec(usage)
        };
        let written =
            usage.map_err(io::Error::other).and_then(|usage| private::write_soon(&self.usage_file, &usage));
        if let Err(error) = written {
            tracing::warn!(%error, "the usage of tokens could not be saved");
        }
    }

    /// Reads the file if it has changed since.
    fn with<T>(&self, read: impl FnOnce(&mut State) -> T) -> io::Result<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = match fs::metadata(&self.file) {
            Ok(metadata) => Some((metadata.modified()?, metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if stamp != state.stamp {
            state.all = self.stored()?;
            state.stamp = stamp;
        }
        Ok(read(&mut state))
    }

    fn stored(&self) -> io::Result<Vec<Stored>> {
        let Some(content) = private::read(&self.file)? else { return Ok(Vec::new()) };
        serde_json::from_slice(&content)
            .map_err(|error| io::Error::other(format!("{} is damaged: {error}", self.file.display())))
    }

    /// Changes the file under a lock that the command line takes, too.
    fn change(&self, change: impl FnOnce(&mut Vec<Stored>) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let lock = self.file.with_extension("lock");
        let mut lock = fs::OpenOptions::new().create(true).append(true).open(lock)?;
        lock.lock()?;
        let mut all = self.stored()?;
        change(&mut all)?;
        private::write(&self.file, &serde_json::to_vec(&all)?)?;
        // Two changes within a tick of the clock may leave a file of the same length.
        self.state.lock().unwrap_or_else(PoisonError::into_inner).stamp = None;
        Ok(lock.flush()?)
    }
}

impl Stored {
    fn token(&self) -> Token {
        Token { id: self.id.clone(), scope: self.scope }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_until_it_is_revoked_and_only_its_digest_is_kept() {
        let data = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(data.path()).unwrap();
        assert!(!tokens.exist().unwrap());
        let secret = tokens.add("chat", Scope::Generate, None).unwrap();
        assert!(secret.starts_with("adire_") && secret.len() == 70, "{secret}");
        let kept = fs::read_to_string(data.path().join("operator/tokens.json")).unwrap();
        assert!(!kept.contains(&secret) && !kept.contains(&secret[6..]), "{kept}");

        // The command line changes the file beside the server.
        let other = Tokens::open(data.path()).unwrap();
        let admin = other.add("ci", Scope::Admin, Some("2/hour".parse().unwrap())).unwrap();
        assert_eq!(tokens.find(&admin).unwrap().unwrap().scope, Scope::Admin);
        assert_eq!(tokens.find(&format!("{admin}x")).unwrap(), None);
        assert!(other.add("ci", Scope::Generate, None).unwrap_err().to_string().contains("exists"));
        for wrong in ["", "a/b", "a\nb", &"a".repeat(41)] {
            assert!(other.add(wrong, Scope::Generate, None).is_err(), "{wrong}");
        }
        let id = tokens.find(&secret).unwrap().unwrap().id;
        other.revoke("chat").unwrap();
        assert_eq!((tokens.find(&secret).unwrap(), tokens.by_id(&id).unwrap()), (None, None));
        assert!(other.revoke("chat").is_err());
    }

    #[test]
    fn a_limit_ends_a_period_and_usage_outlives_a_restart() {
        let data = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(data.path()).unwrap();
        let secret = tokens.add("chat", Scope::Generate, Some("3/day".parse().unwrap())).unwrap();
        let token = tokens.find(&secret).unwrap().unwrap();
        tokens.charge(&token, 2).unwrap().unwrap();
        let over = tokens.charge(&token, 2).unwrap().unwrap_err();
        assert_eq!(over.limit.to_string(), "3/day");
        assert!((1..=86_400).contains(&over.retry_after));
        tokens.charge(&token, 1).unwrap().unwrap();
        tokens.refund(&token, 1);
        tokens.charge(&token, 1).unwrap().unwrap();
        tokens.save_usage();

        let again = Tokens::open(data.path()).unwrap();
        let usage = again.list().unwrap().remove(0).usage;
        assert_eq!((usage.generations, usage.images), (2, 3));
        assert!(again.charge(&token, 1).unwrap().is_err(), "the period has not ended");
    }
}
