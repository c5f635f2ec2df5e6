//! `adire admin tokens …`, also beside a running server.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::admin::auth::{
    token_limit::TokenLimit,
    tokens::{ListedToken, Scope, Tokens},
};
use crate::commands::print;

/// Commands on tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokensCommand {
    /// Create a token for a program; prints it once, on stdout
    Add(AddArgs),
    /// List tokens with their use
    List(ListArgs),
    /// Revoke a token; takes effect at once
    Revoke(RevokeArgs),
}

/// The server's data folder.
#[derive(Debug, Args)]
struct Place {
    /// Data folder of the server
    #[arg(long, env = "ADIRE_DATA", default_value = "data")]
    data: PathBuf,
}

/// Arguments of `adire admin tokens add`.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Name that tells tokens apart, such as the program's
    name: String,
    /// What it may do: `generate`, what visitors may; `admin`, also the admin API
    #[arg(long, value_name = "SCOPE", default_value = "generate", value_parser = str::parse::<Scope>)]
    scope: Scope,
    /// Maximum images per minute, hour or day (UTC), for example 100/day [default: none]
    #[arg(long, value_name = "IMAGES/PERIOD", value_parser = str::parse::<TokenLimit>)]
    limit: Option<TokenLimit>,
    #[command(flatten)]
    place: Place,
}

/// Arguments of `adire admin tokens list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Arguments of `adire admin tokens revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Name or id of the token
    name: String,
    #[command(flatten)]
    place: Place,
}

impl TokensCommand {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Add(AddArgs { name, scope, limit, place }) => {
                let secret = Tokens::open(&place.data)?.add(&name, scope, limit)?;
                print(secret)?;
                let _ = writeln!(
                    std::io::stderr(),
                    "Token {name} created. It is shown only now; programs send it as “Authorization: Bearer …” or as a password."
                );
            }
            Self::List(ListArgs { json, place }) => {
                let listed = Tokens::open(&place.data)?.list()?;
                if json {
                    let all: Vec<_> = listed.iter().map(as_json).collect();
                    print(serde_json::to_string_pretty(&all)?)?;
                } else if listed.is_empty() {
                    print("No tokens. Create one with `adire admin tokens add NAME`.")?;
                }
                for token in listed.iter().filter(|_| !json) {
                    let limit = token.limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string());
                    let used = token.usage.last_used.map_or_else(
                        || "never used".to_owned(),
                        |at| format!("last used {}", humantime::format_rfc3339_seconds(time(at))),
                    );
                    print(format_args!(
                        "{}  {}  limit {limit}  {} generations, {} images, {used}",
                        token.name,
                        token.scope.name(),
                        token.usage.generations,
                        token.usage.images
                    ))?;
                }
            }
            Self::Revoke(RevokeArgs { name, place }) => {
                Tokens::open(&place.data)?.revoke(&name)?;
                let _ = writeln!(std::io::stderr(), "Token {name} revoked.");
            }
        }
        Ok(())
    }
}

/// What `adire admin tokens list --json` prints for a data folder.
///
/// # Errors
/// The folder's files cannot be read.
pub fn listed_tokens(data: &Path) -> anyhow::Result<Vec<serde_json::Value>> {
    Ok(Tokens::open(data)?.list()?.iter().map(as_json).collect())
}

fn time(seconds: u64) -> std::time::SystemTime {
    std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)
}

fn as_json(token: &ListedToken) -> serde_json::Value {
    let at = |seconds: u64| humantime::format_rfc3339_seconds(time(seconds)).to_string();
    json!({
        "id": token.id,
        "name": token.name,
        "scope": token.scope.name(),
        "limit": token.limit.map(|limit| limit.to_string()),
        "created_at": at(token.created_at),
        "generations": token.usage.generations,
        "images": token.usage.images,
        "last_used_at": token.usage.last_used.map(at),
    })
}
