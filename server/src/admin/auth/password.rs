//! The admin's password: hashed with argon2id, kept in PHC form (`$argon2id$v=19$…`).

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use argon2::{
    Argon2,
    password_hash::{Error, PasswordHasher, PasswordVerifier, phc::PasswordHash},
};

use super::private;

const FILE: &str = "password";
const VARIABLE: &str = "ADIRE_ADMIN_PASSWORD_HASH";

/// Fewer characters are guessed too soon.
const SHORTEST: usize = 10;
/// Longer ones are a mistake, and hashing them costs.
const MAX_PASSWORD_BYTES: usize = 1024;

/// What is wrong with a new password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weakness {
    Short,
    Long,
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => {
                write!(f, "The password must have at least {SHORTEST} characters; four words work well.")
            }
            Self::Long => {
                write!(f, "The password must have at most {MAX_PASSWORD_BYTES} bytes.")
            }
        }
    }
}

/// Whether a password may be set.
pub(crate) fn strength(password: &str) -> Result<(), Weakness> {
    if password.chars().count() < SHORTEST {
        Err(Weakness::Short)
    } else if password.len() > MAX_PASSWORD_BYTES {
        Err(Weakness::Long)
    } else {
        Ok(())
    }
}

/// Hashes a password with a new salt. Takes some tenths of a second.
pub(crate) fn hash(password: &str) -> anyhow::Result<String> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    Ok(hash.map_err(|error| anyhow!("the password could not be hashed: {error}"))?.to_string())
}

/// Compares in constant time. Takes some tenths of a second. An unreadable hash is an error.
pub(super) fn verify(password: &str, hash: &str) -> anyhow::Result<bool> {
    if password.len() > MAX_PASSWORD_BYTES {
        return Ok(false);
    }
    let hash =
        PasswordHash::new(hash).map_err(|error| anyhow!("the stored password's hash is damaged: {error}"))?;
    match Argon2::default().verify_password(password.as_bytes(), &hash) {
        Ok(()) => Ok(true),
        Err(Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(anyhow!("the password could not be verified: {error}")),
    }
}

/// Whether this is the hash of a password as [`hash`] makes them.
pub(super) fn check(hash: &str) -> anyhow::Result<()> {
    let parsed =
        PasswordHash::new(hash).map_err(|error| anyhow!("it is not a hash in PHC format: {error}"))?;
    if parsed.algorithm.as_str() != "argon2id" {
        bail!("it uses {}, not argon2id", parsed.algorithm.as_str());
    }
    Ok(())
}

/// Place of the hash in a folder.
pub(super) fn file(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// The hash in a folder, where there is one.
pub(super) fn read(folder: &Path) -> io::Result<Option<String>> {
    let Some(content) = private::read(&file(folder))? else { return Ok(None) };
    Ok(Some(String::from_utf8_lossy(&content).trim().to_owned()))
}

/// Keeps a hash in a folder.
pub(super) fn write(folder: &Path, hash: &str) -> anyhow::Result<()> {
    let file = file(folder);
    private::write(&file, format!("{hash}\n").as_bytes())
        .with_context(|| format!("{} cannot be written", file.display()))
}

/// The hash that the environment gives, itself or as the name of a file (as containers get their secrets).
///
/// # Errors
/// Both are set, or the file cannot be read.
pub(crate) fn from_environment() -> anyhow::Result<Option<String>> {
    // Set but empty means unset, as for every other variable.
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let file = format!("{VARIABLE}_FILE");
    match (variable(VARIABLE), variable(&file)) {
        (Some(_), Some(_)) => bail!("{VARIABLE} and {file} are both set; set one of them"),
        (Some(hash), None) => Ok(Some(hash.trim().to_owned())),
        (None, Some(path)) => {
            let hash = std::fs::read_to_string(&path)
                .with_context(|| format!("{file} names {path}, which cannot be read"))?;
            Ok(Some(hash.trim().to_owned()))
        }
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_fits_its_own_hash_only() {
        let stored = hash("four words of mine").unwrap();
        assert!(stored.starts_with("$argon2id$v=19$"), "{stored}");
        assert!(verify("four words of mine", &stored).unwrap());
        assert!(!verify("four words of yours", &stored).unwrap());
        assert!(!verify(&"x".repeat(MAX_PASSWORD_BYTES + 1), &stored).unwrap());
        assert!(verify("four words of mine", "damaged").is_err());
        assert_ne!(stored, hash("four words of mine").unwrap(), "each hash has its own salt");
        check(&stored).unwrap();
    }

    #[test]
    fn only_argon2id_is_taken_from_the_environment() {
        for wrong in [
            "",
            "secret",
            "$2b$12$abcdefghijklmnopqrstuv",
            "$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g",
        ] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn length_is_what_counts() {
        assert_eq!(strength("123456789"), Err(Weakness::Short));
        assert_eq!(strength("àdìrẹ ẹlẹkọ"), Ok(()));
        assert_eq!(strength(&"x".repeat(2000)), Err(Weakness::Long));
    }
}
