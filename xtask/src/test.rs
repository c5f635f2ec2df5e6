//! Every test, in the order in which a failure is cheapest to learn of.

use std::{path::PathBuf, process::Command, time::Instant};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::{
    shell::{self, cargo, root, target},
    site, thin, tools,
};

#[derive(Args)]
pub(crate) struct TestArgs {
    /// Which parts; all of them when none is named.
    #[arg(value_enum)]
    suites: Vec<Suite>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// rustfmt's opinion.
    Fmt,
    /// Licences, sources and known vulnerabilities of the dependencies.
    Deny,
    /// clippy on every target, warnings are errors.
    Clippy,
    /// Unit, golden and HTTP tests.
    Unit,
    /// The studio's tests on PostgreSQL, on a server that they start and stop.
    Postgres,
    /// The studio's tests on an S3 bucket, of PyPI's moto, which they start and stop.
    S3,
    /// What MLflow receives, on PyPI's server, which the tests start and stop.
    Mlflow,
    /// The Hugging Face Hub's clients of Python and Rust, diffusers and Prometheus' parser against a server with the starter model.
    Clients,
    /// Other programs' clients against a server on the starter model.
    Dialects,
    /// The drawn cloth that the starter model learns from, and its captions.
    Starter,
    /// rustdoc without warnings.
    Doc,
    /// The types of the page's scripts and of the browser tests.
    Types,
    /// Whether Leptos' own would be as small as the thin layer over it.
    Thin,
    /// The page in Chromium, on the starter model.
    Browser,
}

impl TestArgs {
    fn runs(&self, suite: Suite) -> bool {
        self.suites.is_empty() || self.suites.contains(&suite)
    }
}

/// Runs the parts; the first failure ends it.
pub(crate) fn run(args: &TestArgs) -> Result<()> {
    for suite in Suite::value_variants() {
        let suite = *suite;
        if !args.runs(suite) {
            continue;
        }
        let (name, start) = (suite.to_possible_value(), Instant::now());
        let name = name.as_ref().map_or("", |value| value.get_name()).to_owned();
        eprintln!("== {name}");
        match suite {
            Suite::Fmt => shell::run(cargo().args(["fmt", "--all", "--check"]))?,
            Suite::Deny => deny()?,
            Suite::Clippy => clippy()?,
            Suite::Unit => shell::run(cargo().args(["test", "--quiet"]))?,
            Suite::Postgres => postgres()?,
            Suite::S3 => s3()?,
            Suite::Mlflow => mlflow()?,
            Suite::Clients => clients(args.runs(Suite::Unit))?,
            Suite::Dialects => dialects(args.runs(Suite::Unit))?,
            Suite::Starter => starter()?,
            Suite::Doc => {
                shell::run(cargo().args(["doc", "--quiet", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?
            }
            Suite::Types => types()?,
            Suite::Thin => thin::test()?,
            Suite::Browser => browser(args.runs(Suite::Unit))?,
        }
        eprintln!("== {name}: passed in {} s", start.elapsed().as_secs());
    }
    Ok(())
}

/// The same tests as on SQLite, and those that are ignored there.
fn postgres() -> Result<()> {
    ensure!(
        tools::postgres_installed(),
        "PostgreSQL is not installed: apt-get install postgresql-15, or set ADIRE_POSTGRES_BIN to the folder of initdb"
    );
    // Those on S3 have a step of their own. Measurements are run by hand: filling a database with 100,000 generations takes
    // PostgreSQL an hour on two cores.
    let skipped = ["tests::s3::", "a_hundred_thousand", "jobs_a_second"].map(|name| ["--skip", name]);
    let arguments = ["--quiet", "--include-ignored"].into_iter().chain(skipped.into_iter().flatten());
    shell::run(
        library_tests("adire_studio", "crates/studio")?
            .args(arguments)
            .env("ADIRE_TEST_DATABASE", "postgres"),
    )
}

/// Only those tests; the others do not reach a bucket.
fn s3() -> Result<()> {
    let python = tools::moto()?;
    let arguments = ["--quiet", "--include-ignored", "tests::s3::"];
    shell::run(
        library_tests("adire_studio", "crates/studio")?.args(arguments).env("ADIRE_MOTO_PYTHON", python),
    )
}

/// Only those tests; the others need no MLflow.
fn mlflow() -> Result<()> {
    let python = tools::mlflow()?;
    let arguments = ["--quiet", "--ignored", "mlflow::"];
    let mut tests = library_tests("adire_server", "server")?;
    shell::run(tests.args(arguments).env("ADIRE_MLFLOW_PYTHON", python))
}

/// `built`: as for [`browser`].
fn clients(built: bool) -> Result<()> {
    let (python, hf_hub) = (tools::clients()?, tools::hf_hub()?);
    build_program(built)?;
    let script = root().join("tools/clients/run.py");
    let (program, model) = (target().join("debug/adire"), root().join("models/starter"));
    shell::run(Command::new(python).arg(script).arg(program).arg(model).env("ADIRE_HF_HUB", hf_hub))
}

/// `built`: see [`build_program`].
fn dialects(built: bool) -> Result<()> {
    let (python, packages) = tools::dialects()?;
    build_program(built)?;
    let script = root().join("tools/clients/dialects/run.py");
    let (program, model) = (target().join("debug/adire"), root().join("models/starter"));
    shell::run(Command::new(python).arg(script).arg(program).arg(model).env("ADIRE_CLIENTS", packages))
}

fn starter() -> Result<()> {
    let tests = ["-m", "unittest", "test_cloth", "test_recipe"];
    shell::run(Command::new(tools::python()?).args(tests).current_dir(root().join("tools/starter")))
}

/// The program of a library's tests. Built with the other libraries' tests: by itself it would need its dependencies with
/// fewer features, compiled again.
fn library_tests(library: &str, folder: &str) -> Result<Command> {
    let built = cargo().args(["test", "--lib", "--no-run", "--color", "never"]).output()?;
    let log = String::from_utf8_lossy(&built.stderr);
    ensure!(built.status.success(), "{log}");
    let mut programs = log.lines().filter_map(|line| line.rsplit_once('(')?.1.strip_suffix(')'));
    let program = programs
        .find(|path| path.contains(&format!("{library}-")))
        .with_context(|| format!("cargo names no tests of {library}"))?;
    let mut command = Command::new(root().join(program));
    command.current_dir(root().join(folder));
    Ok(command)
}

/// `deny.toml` says what is allowed. Advisories need their database from GitHub; where it cannot be fetched, the rest is
/// still checked.
fn deny() -> Result<()> {
    let deny = tools::cargo_deny()?;
    let deny = |arguments: &[&str]| {
        let mut command = Command::new(&deny);
        command.current_dir(root()).args(["--log-level", "error"]).args(arguments);
        command
    };
    shell::run(&mut deny(&["check", "licenses", "bans", "sources"]))?;
    if !shell::succeeds(&mut deny(&["fetch", "db"])) {
        eprintln!("advisories: NOT CHECKED, the RustSec database could not be fetched");
        return Ok(());
    }
    shell::run(&mut deny(&["--offline", "check", "advisories"]))
}

fn clippy() -> Result<()> {
    shell::run(cargo().args(["clippy", "--quiet", "--all-targets", "--", "-D", "warnings"]))?;
    let page = ["clippy", "--quiet", "--package", "adire-frontend", "--target", "wasm32-unknown-unknown"];
    match tools::WasmToolchain::ensure()? {
        tools::WasmToolchain::Rustup => shell::run(cargo().args(page).args(["--", "-D", "warnings"])),
        // Debian's packages have no clippy for wasm; the browser tests compile the page anyway.
        tools::WasmToolchain::Debian => Ok(()),
    }
}

/// `// @ts-check` in earnest: strictly for what browsers get, less so for the tests.
fn types() -> Result<()> {
    let node = tools::node_with_packages()?;
    for project in ["tsconfig.json", "tsconfig.tests.json"] {
        let compiler = ["node_modules/typescript/bin/tsc", "--noEmit", "--project", project];
        shell::run(Command::new(&node).args(compiler).current_dir(root().join("end2end")))?;
    }
    Ok(())
}

/// The page and a server to test, and the tools to test them with.
pub(crate) struct Bench {
    pub(crate) node: PathBuf,
    pub(crate) chromium: PathBuf,
    pub(crate) site: PathBuf,
}

impl Bench {
    pub(crate) fn ready() -> Result<Self> {
        Ok(Self { node: tools::node_with_packages()?, chromium: tools::chromium()?, site: site::build()? })
    }

    /// node with what the scripts of end2end/ read from the environment.
    pub(crate) fn node(&self, server: &PathBuf) -> Command {
        let mut command = Command::new(&self.node);
        command
            .current_dir(root().join("end2end"))
            .env("CHROMIUM", &self.chromium)
            .env("ADIRE_PROGRAM", server)
            .env("ADIRE_SITE", &self.site)
            .env("ADIRE_MODEL", root().join("models/starter"));
        command
    }
}

/// `built`: the unit tests have just built the program for themselves. By itself it would be compiled once more, without
/// what tests add to its libraries.
fn build_program(built: bool) -> Result<()> {
    if built { Ok(()) } else { shell::run(cargo().args(["build", "--quiet", "--package", "adire-server"])) }
}

/// `built`: see [`build_program`].
fn browser(built: bool) -> Result<()> {
    let bench = Bench::ready()?;
    build_program(built)?;
    shell::run(bench.node(&target().join("debug/adire")).args([
        "--test",
        "--test-reporter=spec",
        "--test-concurrency=1",
        "tests/",
    ]))
}
