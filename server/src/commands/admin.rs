//! `adire admin …`.

use std::{
    io::{BufRead, IsTerminal, Read, Write},
    path::PathBuf,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use crate::{
    admin::auth::{AdminAuth, password},
    commands::{keep_private, tokens::TokensCommand},
};

/// Commands on admin access.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Set the admin password (prompts, or reads a line from stdin). Takes effect at once and ends all sessions
    SetPassword(SetPasswordArgs),
    /// Print the hash of a password, for ADIRE_ADMIN_PASSWORD_HASH or a file that ADIRE_ADMIN_PASSWORD_HASH_FILE names.
    /// Asks as set-password does, and writes nothing
    HashPassword,
    /// Create, list or revoke tokens of programs; works beside a running server
    #[command(subcommand)]
    Tokens(TokensCommand),
}

/// Arguments of `adire admin set-password`.
#[derive(Debug, Args)]
pub(crate) struct SetPasswordArgs {
    /// Data folder of the server
    #[arg(long, env = "ADIRE_DATA", default_value = "data")]
    data: PathBuf,
}

impl AdminCommand {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        keep_private();
        match self {
            Self::Tokens(command) => command.run(),
            Self::HashPassword => {
                let password = ask()?;
                if let Err(weakness) = password::strength(&password) {
                    bail!("{weakness}");
                }
                // Not println!, which panics when stdout is closed.
                writeln!(std::io::stdout(), "{}", password::hash(&password)?).context("cannot print the hash")
            }
            Self::SetPassword(SetPasswordArgs { data }) => {
                AdminAuth::set_password(&data, &ask()?)?;
                let _ = writeln!(
                    std::io::stderr(),
                    "Admin password set for the server with data in {}; its hash is in {}.",
                    data.display(),
                    AdminAuth::password_file(&data).display()
                );
                if password::from_environment().is_ok_and(|given| given.is_some()) {
                    let _ = writeln!(
                        std::io::stderr(),
                        "ADIRE_ADMIN_PASSWORD_HASH is set as well; a server started with it uses that password instead."
                    );
                }
                Ok(())
            }
        }
    }
}

fn ask() -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        let mut line = String::new();
        stdin.lock().take(8 << 10).read_line(&mut line).context("cannot read a password from stdin")?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let first =
        rpassword::prompt_password("New password: ").context("cannot read a password from the terminal")?;
    // Refuse a weak password before prompting for it again.
    if let Err(weakness) = password::strength(&first) {
        bail!("{weakness}");
    }
    let second = rpassword::prompt_password("Confirm password: ")
        .context("cannot read a password from the terminal")?;
    if first != second {
        bail!("the passwords differ; nothing was changed");
    }
    Ok(first)
}
