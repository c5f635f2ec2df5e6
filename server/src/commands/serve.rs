//! `adire serve`.

use std::{
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use adire_protocol::ModelInfo;
use adire_studio::{Studio, StudioConfig};
use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

use crate::{
    access::{Access, AccessSettings, parse_network},
    backend::EngineBackend,
    commands::{places, shipped},
    operator::{Operators, password},
    serve::{Patience, serve},
    shutdown::{self, Shutdown},
    site::Site,
    state::Front,
};

/// What the server needs to know.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address to listen on
    #[arg(long, env = "ADIRE_ADDR", default_value = "127.0.0.1:3000")]
    addr: String,
    #[command(flatten)]
    places: places::Places,
    /// Folder with the page's files; `site` beside the program or `target/site` when left out
    #[arg(long, env = "ADIRE_SITE")]
    site: Option<PathBuf>,
    /// Most generations that may wait
    #[arg(long, env = "ADIRE_QUEUE", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    queue: u16,
    /// Proxy in front whose X-Forwarded-For, -Proto and -Host (or Forwarded) are believed: an address or a network such
    /// as 172.16.0.0/12. Can be given several times; separated by commas in the variable
    #[arg(long, value_name = "CIDR", env = "ADIRE_TRUST_PROXY", value_delimiter = ',', value_parser = parse_network)]
    trust_proxy: Vec<IpNet>,
    /// Folder that datasets may be filled from on the admin page, with all that lies in it; may be given several times,
    /// and in the variable with colons between
    #[arg(long, env = "ADIRE_IMPORT_FROM", value_name = "DIR", value_delimiter = ':')]
    import_from: Vec<PathBuf>,
    /// How log lines look; RUST_LOG says which are written
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
        self.log_format.start();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let result = runtime.block_on(self.serve());
        // A worker that is still in a step must not hold the program; its job is in the store.
        runtime.shutdown_background();
        result
    }

    async fn serve(self) -> anyhow::Result<()> {
        let places::FoundModel { path: model, options, note } = self.places.model()?;
        let data = self.places.data;
        let config = StudioConfig {
            queue_capacity: self.queue.into(),
            import_from: self.import_from,
            ..StudioConfig::new(&data)
        };
        let site = read_site(self.site)?;
        let listener = bind(&self.addr).await?;
        let address = listener.local_addr()?;
        // After the address: a second server that is started by mistake touches nothing.
        let operators = Arc::new(Operators::open(&data, password::from_environment()?)?);
        let settings = AccessSettings { trusted_proxies: self.trust_proxy };
        let access = Arc::new(Access::open(&data, settings)?);
        tracing::info!(%address, model = %model.display(), data = %data.display(), "loading the model");
        if let Some(note) = note {
            tracing::warn!("{note}");
        }

        let shutdown = Shutdown::default();
        let signalled = shutdown.clone();
        tokio::spawn(async move {
            match shutdown::signal().await {
                Ok(name) => tracing::info!(signal = name, "asked to stop"),
                Err(error) => tracing::error!(%error, "cannot listen for signals"),
            }
            signalled.start();
        });
        let open = async {
            let folder = model.clone();
            let studio = Studio::open(config, move || EngineBackend::load(&folder, &options)).await?;
            shipped::add(&studio, &model).await;
            Ok(studio)
        };
        let set_up = operators.set_up_token();
        let front = Front { site: Arc::new(site), operators, access };
        serve(listener, front, open, shutdown, Patience::default(), |studio| {
            let ModelInfo { name, device, dtype, .. } = studio.model();
            // Not println!: a closed stdout is no reason to panic.
            let _ = writeln!(
                std::io::stdout(),
                "Adire is ready at http://{address} (model {name} on {device} in {dtype}, data in {})",
                data.display()
            );
            if let Some(token) = set_up {
                let _ = writeln!(
                    std::io::stdout(),
                    "No operator's password is set. To set one, open http://{address}/admin/set-up?token={token}"
                );
            }
        })
        .await
    }
}

impl LogFormat {
    fn start(self) {
        // Set but empty means unset, as for every other variable.
        let wanted = std::env::var("RUST_LOG").ok().filter(|wanted| !wanted.trim().is_empty());
        let filter = EnvFilter::new(wanted.as_deref().unwrap_or("info,sqlx=warn"));
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        // An error means that logging has been set up already, which is as good.
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
        ErrorKind::InvalidInput => anyhow!("“{addr}” is no address; write host:port, for example 127.0.0.1:3000"),
        _ => anyhow!("cannot listen on {addr}: {error}; choose another address with --addr"),
    })
}

/// A folder that was named must be readable; without any, pages still work, as plain forms.
fn read_site(named: Option<PathBuf>) -> anyhow::Result<Site> {
    let Some(folder) = named.or_else(places::site) else {
        tracing::warn!(
            "no folder with the page's files was found; pages come without style and script. Build it or name it with --site"
        );
        return Ok(Site::default());
    };
    let read = |folder: &Path| Site::read(folder);
    let site =
        read(&folder).with_context(|| format!("cannot read the page's files in {}", folder.display()))?;
    tracing::info!(folder = %folder.display(), files = site.len(), "read the page's files");
    Ok(site)
}
