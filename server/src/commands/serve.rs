//! `adire serve`.

use std::{
    io::{ErrorKind, IsTerminal},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use adire_protocol::ModelInfo;
use adire_runtime::EngineBackend;
use adire_studio::{Studio, StudioConfig};
use anyhow::{Context, anyhow, bail};
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

use crate::{
    access::{Access, AccessSettings, parse_host, parse_network, parse_origin},
    admin::auth::{AdminAuth, password},
    commands::{bundled, keep_private, limits::LimitArgs, model_args, print, push},
    connections::ConnectionLimits,
    exports::Exports,
    hub::{self, Part, Report, Variant, Wanted},
    mlflow, notify, publish,
    serve::{Timeouts, serve},
    shutdown::{self, Shutdown},
    site::Site,
    starting::{Download, Starting},
    state::Front,
};

/// Shortest token for `/metrics`.
const MIN_TOKEN: usize = 16;

/// Arguments of `adire serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address to listen on
    #[arg(long, env = "ADIRE_ADDR", default_value = "127.0.0.1:3000")]
    addr: String,
    #[command(flatten)]
    model_and_data: model_args::ModelAndDataArgs,
    /// Download the model that --model names as OWNER/NAME if it is not there, in these weights; browsers are shown how far
    /// it is. HF_ENDPOINT, HF_TOKEN and HF_HOME are honoured
    #[arg(long, value_enum, env = "ADIRE_PULL")]
    pull: Option<Variant>,
    #[command(flatten)]
    judge: model_args::JudgeArgs,
    #[command(flatten)]
    storage: model_args::StorageArgs,
    /// Folder with the page's files [default: those in the program, else `site` beside it or `target/site`]
    #[arg(long, env = "ADIRE_SITE")]
    site: Option<PathBuf>,
    /// Maximum number of queued generations
    #[arg(long, env = "ADIRE_QUEUE", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    queue: u16,
    /// Proxy whose X-Forwarded-For, -Proto and -Host (or Forwarded) are trusted: an address or a network such as
    /// 172.16.0.0/12. Repeatable; comma-separated in the variable
    #[arg(long, value_name = "CIDR", env = "ADIRE_TRUST_PROXY", value_delimiter = ',', value_parser = parse_network)]
    trust_proxy: Vec<IpNet>,
    /// Folder that the admin page may import datasets from, including subfolders. Repeatable; colon-separated in the
    /// variable
    #[arg(long, env = "ADIRE_IMPORT_FROM", value_name = "DIR", value_delimiter = ':')]
    import_from: Vec<PathBuf>,
    /// Additional host name to answer to. On a loopback address the server answers only to this machine's own names and
    /// these; elsewhere it answers to every name unless one is given. Repeatable; comma-separated in the variable
    #[arg(long, value_name = "NAME", env = "ADIRE_HOST", value_delimiter = ',', value_parser = parse_host)]
    host: Vec<String>,
    /// While no admin password is set, open the admin pages to all local connections, without the printed link.
    /// Forwarded connections look local, so do not use this on a server that others can reach
    #[arg(long)]
    open_admin: bool,
    /// Let programs on this machine read /metrics without a token
    #[arg(long, env = "ADIRE_METRICS")]
    metrics: bool,
    /// Token for /metrics, sent as “Authorization: Bearer …”. Other users of the machine can see command lines: use the
    /// variable
    #[arg(long, value_name = "TOKEN", env = "ADIRE_METRICS_TOKEN", hide_env_values = true, value_parser = metrics_token)]
    metrics_token: Option<String>,
    /// Origin whose web pages may call the APIs, such as https://chat.example. Repeatable; comma-separated in the variable
    #[arg(long, value_name = "ORIGIN", env = "ADIRE_CORS", value_delimiter = ',', value_parser = parse_origin)]
    cors: Vec<String>,
    /// Host with a private address that messages about alerts may be sent to. Repeatable; comma-separated in the variable
    #[arg(long, value_name = "NAME", env = "ADIRE_INTERNAL_HOST", value_delimiter = ',')]
    internal_host: Vec<String>,
    /// MLflow tracking server that training runs, evaluations, versions and alias moves are sent to, such as
    /// http://127.0.0.1:5000
    #[arg(long, value_name = "URI", env = "ADIRE_MLFLOW_TRACKING_URI", hide_env_values = true)]
    mlflow_tracking_uri: Option<String>,
    /// Name of the MLflow experiment
    #[arg(long, value_name = "NAME", env = "ADIRE_MLFLOW_EXPERIMENT", default_value = "adire")]
    mlflow_experiment: String,
    #[command(flatten)]
    limits: LimitArgs,
    /// Largest adapter strength in requests, either sign
    #[arg(long, value_name = "N", env = "ADIRE_MAX_STRENGTH", default_value_t = 5.0, value_parser = model_args::strength_limit)]
    max_strength: f64,
    /// Batch size, 1 to 16: queued images with the same size, steps, sampler and adapters are computed together [default: 4 on a
    /// GPU with the feature `cuda`, otherwise 1]
    #[arg(long, value_name = "N", env = "ADIRE_BATCH", value_parser = clap::value_parser!(u8).range(1..=16))]
    batch: Option<u8>,
    /// Log format; RUST_LOG sets the level
    #[arg(long, env = "ADIRE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl ServeArgs {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        keep_private();
        self.log_format.start();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let result = runtime.block_on(self.serve());
        // Do not wait for a worker in the middle of a step: its job is in the store.
        runtime.shutdown_background();
        result
    }

    async fn serve(self) -> anyhow::Result<()> {
        let config = self.storage.config(&self.model_and_data.data)?;
        let missing =
            self.pull.and_then(|variant| Some((self.model_and_data.missing()?.to_owned(), variant)));
        // What is there is looked at before anything is opened.
        let found = missing.is_none().then(|| self.model_and_data.model()).transpose()?;
        let data = self.model_and_data.data.clone();
        let config =
            StudioConfig { queue_capacity: self.queue.into(), import_from: self.import_from, ..config };
        let patience =
            Timeouts { connections: ConnectionLimits::for_files(raise_files()), ..Timeouts::default() };
        let config = self.limits.apply(config);
        let site = read_site(self.site)?;
        let listener = bind(&self.addr).await?;
        let address = listener.local_addr()?;
        // After binding, so that a second server started by mistake changes nothing.
        let auth = Arc::new(AdminAuth::open(&data, password::from_environment()?)?);
        if self.open_admin {
            check_open_admin(address, auth.link_token().is_none())?;
        }
        let settings = AccessSettings {
            trusted_proxies: self.trust_proxy,
            hosts: self.host,
            on_loopback: address.ip().to_canonical().is_loopback(),
            open_admin: self.open_admin,
            open_metrics: self.metrics,
            metrics_token: self.metrics_token,
            cors: self.cors,
        };
        let access = Arc::new(Access::open(&data, settings)?);
        let shutdown = Shutdown::default();
        let signalled = shutdown.clone();
        tokio::spawn(async move {
            match shutdown::signal().await {
                Ok(name) => tracing::info!(signal = name, "shutting down"),
                Err(error) => tracing::error!(%error, "cannot listen for signals"),
            }
            signalled.start();
        });
        let (internal, exported) = (self.internal_host, data.join("exports"));
        let (tracking, experiment) = (self.mlflow_tracking_uri, self.mlflow_experiment);
        let (starting, folder) = (Starting::default(), Arc::<OnceLock<PathBuf>>::default());
        let open = async {
            let found = match (found, missing) {
                (Some(found), _) => found,
                (None, missing) => {
                    if let Some((repository, variant)) = missing {
                        pull(repository, variant, starting.clone()).await?;
                    }
                    self.model_and_data.model()?
                }
            };
            let model_args::FoundModel { path: model, options, note } = found;
            tracing::info!(%address, model = %model.display(), data = %data.display(), "loading the model");
            if let Some(note) = note {
                tracing::warn!("{note}");
            }
            let model = folder.get_or_init(|| model);
            let (most, (judge, parts)) = (self.max_strength, self.judge.find(model));
            let batch = self.batch.map(usize::from);
            let folder = model.clone();
            let load = move || {
                let backend = EngineBackend::load(&folder, &options)?;
                Ok(backend.with_max_strength(most).with_batch(batch).with_judge(judge, parts))
            };
            let studio = Studio::open(config, load).await?;
            bundled::add(&studio, model).await;
            tokio::spawn(notify::run(studio.clone(), internal.clone()));
            let writer = Arc::new(Exports::new(exported, Some(model.clone())));
            tokio::spawn(publish::run(studio.clone(), writer, push::destination(internal)));
            if let Some(uri) = tracking {
                tokio::spawn(mlflow::run(studio.clone(), mlflow::Settings { uri, experiment }));
            }
            Ok(studio)
        };
        let (link, open_admin, shown) = (auth.link_token(), self.open_admin, reachable(address));
        let exports = data.join("exports");
        let front = Front {
            site: Arc::new(site),
            auth,
            access,
            exports,
            model: folder.clone(),
            starting: starting.clone(),
        };
        serve(listener, front, open, shutdown, patience, |studio| {
            let ModelInfo { name, device, dtype, .. } = studio.model();
            // It serves whether or not these lines can be written.
            let data = data.display();
            let _ = print(format_args!(
                "Adire is ready at http://{shown} (model {name} on {device} in {dtype}, data in {data})"
            ));
            if let Some(token) = link {
                let _ = print(format_args!(
                    "Admin pages: http://{shown}/admin/link?token={token} (this link gives admin access until a \
                     password is set)"
                ));
                if open_admin {
                    let _ =
                        print("--open-admin: anyone on this machine can open the admin pages without the link.");
                }
            }
        })
        .await
    }
}

/// Downloads a model and tells `starting` how far it is.
async fn pull(repository: String, variant: Variant, starting: Starting) -> anyhow::Result<()> {
    tracing::info!(model = repository, "downloading the model");
    let work = move || {
        let model = repository.clone();
        let wanted =
            Wanted { what: "model", repository, revision: "main".to_owned(), variant, part: Part::Whole };
        let pulled = hub::pull(&wanted, &mut |report| match report {
            Report::Line(line) => tracing::info!("{line}"),
            Report::Transfer(at) => starting.set(Some(Download { model: model.clone(), at })),
        });
        starting.set(None);
        pulled
    };
    tokio::task::spawn_blocking(work).await.context("the download was stopped")??;
    Ok(())
}

/// Address to open in a browser on this machine: loopback in place of 0.0.0.0 or ::.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Raises the limit of open files as far as the system allows; returns the limit.
fn raise_files() -> u64 {
    let most = rlimit::increase_nofile_limit(u64::MAX).unwrap_or_else(|error| {
        tracing::warn!(%error, "the limit of open files could not be raised");
        1024
    });
    if most < 1024 {
        tracing::warn!(
            most,
            "the limit of open files is low, which limits connections; raise it (ulimit -n)"
        );
    }
    most
}

/// Reads a token for `/metrics`.
fn metrics_token(text: &str) -> Result<String, String> {
    let fits = text.len() >= MIN_TOKEN && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| text.to_owned())
        .ok_or_else(|| format!("expected at least {MIN_TOKEN} printable characters without spaces"))
}

/// Refuses --open-admin on an address that others can reach.
fn check_open_admin(address: SocketAddr, has_password: bool) -> anyhow::Result<()> {
    if has_password {
        tracing::warn!("--open-admin has no effect, because an admin password is set");
    } else if !address.ip().to_canonical().is_loopback() {
        bail!(
            "--open-admin is refused on {address}, which others can reach: they could open the admin pages without a \
             password. Set one with `adire admin set-password`, listen on 127.0.0.1, or omit --open-admin and use the \
             printed link"
        );
    }
    Ok(())
}

impl LogFormat {
    fn start(self) {
        // An empty variable counts as unset, as everywhere.
        let wanted = std::env::var("RUST_LOG").ok().filter(|wanted| !wanted.trim().is_empty());
        let filter = EnvFilter::new(wanted.as_deref().unwrap_or("info,sqlx=warn"));
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr);
        // An error means that logging is set up already.
        let _ = match self {
            Self::Text => builder.try_init(),
            Self::Json => builder.json().flatten_event(true).try_init(),
        };
    }
}

async fn bind(addr: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(addr).await.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => {
            anyhow!("the address {addr} is in use by another program; stop it or choose another address with --addr")
        }
        ErrorKind::InvalidInput => anyhow!("“{addr}” is not an address; write host:port, for example 127.0.0.1:3000"),
        _ => anyhow!("cannot listen on {addr}: {error}; choose another address with --addr"),
    })
}

/// A given folder must be readable; without one, pages still work as plain forms.
fn read_site(named: Option<PathBuf>) -> anyhow::Result<Site> {
    if named.is_none()
        && let Some(site) = Site::embedded().context("the page's files in the program are damaged")?
    {
        return Ok(site);
    }
    let Some(folder) = named.or_else(model_args::site) else {
        tracing::warn!(
            "the page's files were not found, so pages have no style or script; build them or pass --site"
        );
        return Ok(Site::default());
    };
    let read = |folder: &Path| Site::read(folder);
    let site =
        read(&folder).with_context(|| format!("cannot read the page's files in {}", folder.display()))?;
    tracing::info!(folder = %folder.display(), files = site.len(), "read the page's files");
    Ok(site)
}
