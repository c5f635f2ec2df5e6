//! Building the program and starting it.

use std::{os::unix::process::CommandExt, path::PathBuf, process::Command, thread};

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    cuda,
    shell::{cargo, root, run, target},
    site,
    tools::WasmToolchain,
};

#[derive(Args)]
pub(crate) struct ServeArgs {
    /// Cargo features of the server, separated by commas; before the server's own arguments.
    #[arg(long, value_delimiter = ',')]
    features: Vec<String>,
    /// Passed on to `adire serve`, e.g. --addr 0.0.0.0:3000 --model DIR.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

#[derive(Args)]
pub(crate) struct BuildArgs {
    /// Cargo features of the server besides `embed`, separated by commas.
    #[arg(long, value_delimiter = ',')]
    pub(crate) features: Vec<String>,
}

/// Page and server in release, the latter with `features`; returns the executable.
pub(crate) fn build(features: &[String]) -> Result<PathBuf> {
    // Before cargo starts: this may install something.
    let toolchain = WasmToolchain::ensure()?;
    let mut server = cargo();
    server.args(["build", "--quiet", "--locked", "--release", "--package", "adire-server"]);
    if !features.is_empty() {
        server.args(["--features", &features.join(",")]);
    }
    cuda::prepare(features, &mut server)?;
    eprintln!("Building the page and the server …");
    // Side by side, in folders of their own: the page's last step is one thread's work for half a minute.
    thread::scope(|scope| {
        let page = scope.spawn(|| site::build_with(&toolchain));
        let server = run(&mut server);
        let page = page.join().unwrap_or_else(|_| bail!("building the page panicked"));
        server.and(page)
    })?;
    Ok(target().join("release/adire"))
}

/// One program that carries the page: the page first, then the server around it.
pub(crate) fn build_whole(args: &BuildArgs) -> Result<PathBuf> {
    let mut server = cargo();
    server.args(["build", "--quiet", "--locked", "--release", "--package", "adire-server"]);
    cuda::prepare(&args.features, &mut server)?;
    let site = site::build()?;
    let packed = site::pack(&site)?;
    eprintln!("Building the server …");
    let features =
        ["embed"].into_iter().chain(args.features.iter().map(String::as_str)).collect::<Vec<_>>().join(",");
    run(server.args(["--features", &features]).env("ADIRE_EMBED", packed))?;
    Ok(target().join("release/adire"))
}

/// Builds and becomes the server.
pub(crate) fn serve(args: &ServeArgs) -> Result<()> {
    let program = build(&args.features)?;
    let given = |flag: &str| args.arguments.iter().any(|a| a == flag || a.starts_with(&format!("{flag}=")));
    let mut command = Command::new(program);
    command.arg("serve").args(&args.arguments).current_dir(root());
    for (flag, variable, path) in [
        ("--site", "ADIRE_SITE", target().join("site")),
        ("--model", "ADIRE_MODEL", root().join("models/starter")),
        ("--data", "ADIRE_DATA", root().join("data")),
    ] {
        if !given(flag) && std::env::var_os(variable).is_none() {
            command.arg(flag).arg(path);
        }
    }
    Err(anyhow::Error::from(command.exec()).context("the server could not be started"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ServeArgs,
    }

    #[test]
    fn features_stand_before_what_the_server_gets() {
        let of = |words: &[&str]| Line::parse_from([&["serve"], words].concat()).args;
        let args = of(&["--features", "cuda,embed", "--addr", "0.0.0.0:80", "--metrics"]);
        assert_eq!(args.features, ["cuda", "embed"]);
        assert_eq!(args.arguments, ["--addr", "0.0.0.0:80", "--metrics"]);
        let args = of(&["--addr", "0.0.0.0:80"]);
        assert!(args.features.is_empty());
        assert_eq!(args.arguments, ["--addr", "0.0.0.0:80"]);
    }
}
