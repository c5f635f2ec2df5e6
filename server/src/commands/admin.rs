//! `adire admin …`.

use std::{
    io::{BufRead, IsTerminal, Read, Write},
    path::PathBuf,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use crate::{
    auth::{AdminAuth, password},
    commands::keep_private,
};

/// What can be done about the operator.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Set the password of the admin pages; asks for it, or reads one line where stdin is no terminal. Counts at
    /// once, and ends every session
    SetPassword(SetPasswordArgs),
}

/// Where the password goes.
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
            Self::SetPassword(SetPasswordArgs { data }) => {
                AdminAuth::set_password(&data, &ask()?)?;
                let _ = writeln!(
                    std::io::stderr(),
                    "The password is set for the server with data in {}.",
                    data.display()
                );
                if password::from_environment().is_ok_and(|given| given.is_some()) {
                    let _ = writeln!(
                        std::io::stderr(),
                        "ADIRE_ADMIN_PASSWORD_HASH is set, too; a server that is started with it uses that one instead."
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
        stdin.lock().take(8 << 10).read_line(&mut line).context("no password could be read from stdin")?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let first = rpassword::prompt_password("New password: ")
        .context("no password could be read from the terminal")?;
    // Before asking again for one that is not taken.
    if let Err(weakness) = password::strength(&first) {
        bail!("{weakness}");
    }
    let second =
        rpassword::prompt_password("Once more: ").context("no password could be read from the terminal")?;
    if first != second {
        bail!("the two passwords differ; nothing was changed");
    }
    Ok(first)
}
