//! Command-line arguments for limits and retention.

use std::time::Duration;

use adire_studio::{Caps, Retention, StudioConfig};
use bytesize::ByteSize;
use clap::Args;

/// Limits per visitor and network, and retention.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Maximum queued generations per visitor; clients without a cookie count by network
    #[arg(long, env = "ADIRE_MAX_WAITING", value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    max_waiting: u32,
    /// Maximum queued generations per network: an IPv4 address, or a /64 of IPv6
    #[arg(long, env = "ADIRE_MAX_WAITING_NETWORK", value_name = "COUNT", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    max_waiting_network: u32,
    /// Maximum cost of one generation, in megapixel-steps (images × steps × megapixels, hires pass included) [default:
    /// 120 on a CPU, 2500 on a GPU]
    #[arg(long, env = "ADIRE_MAX_COST", value_name = "COST", allow_negative_numbers = true, value_parser = cost)]
    max_cost: Option<f64>,
    /// Maximum total cost of a visitor's queued generations, twice as much for a network [default: twice --max-cost]
    #[arg(long, env = "ADIRE_MAX_WAITING_COST", value_name = "COST", allow_negative_numbers = true, value_parser = cost)]
    max_waiting_cost: Option<f64>,
    /// Maximum uploads per visitor and day, four times as many per network
    #[arg(long, env = "ADIRE_MAX_UPLOADS", value_name = "COUNT", default_value_t = 200)]
    max_uploads: u32,
    /// Maximum disk space of a visitor's uploads per day, four times as much per network
    #[arg(long, env = "ADIRE_MAX_UPLOAD_SIZE", value_name = "SIZE", default_value_t = ByteSize::mib(512))]
    max_upload_size: ByteSize,
    /// Maximum disk space of all uploads
    #[arg(long, env = "ADIRE_UPLOAD_SPACE", value_name = "SIZE", default_value_t = ByteSize::gib(8))]
    upload_space: ByteSize,
    /// Refuse uploads and new generations when the data folder's disk has less free space, so that running ones can
    /// still be stored
    #[arg(long, env = "ADIRE_DISK_RESERVE", value_name = "SIZE", default_value_t = ByteSize::mib(256))]
    disk_reserve: ByteSize,
    /// Delete generations with their prompts and images this long after they finish, for example 30d [default: never]
    #[arg(long, env = "ADIRE_KEEP_FOR", value_name = "TIME", value_parser = duration)]
    keep_for: Option<Duration>,
    /// On startup, cancel queued generations older than this; 0s cancels all of them
    #[arg(long, env = "ADIRE_KEEP_WAITING", value_name = "TIME", default_value = "6h", value_parser = duration)]
    keep_waiting: Duration,
    /// Disable downloads of adapter files; adapters can still be used
    #[arg(long, env = "ADIRE_NO_DOWNLOADS")]
    no_downloads: bool,
}

impl LimitArgs {
    /// Applies the arguments to a studio's configuration.
    pub(crate) fn apply(self, config: StudioConfig) -> StudioConfig {
        let caps = Caps {
            waiting: self.max_waiting,
            waiting_of_network: self.max_waiting_network.max(self.max_waiting),
            cost: self.max_cost,
            waiting_cost: self.max_waiting_cost,
            uploads: self.max_uploads,
            upload_bytes: self.max_upload_size.as_u64(),
            all_upload_bytes: self.upload_space.as_u64(),
            disk_reserve: self.disk_reserve.as_u64(),
        };
        let retention = Retention { keep_for: self.keep_for, keep_waiting: self.keep_waiting };
        StudioConfig { caps, retention, downloads: !self.no_downloads, ..config }
    }
}

fn cost(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|cost: &f64| cost.is_finite() && *cost > 0.0);
    number.ok_or_else(|| "expected a number above 0, for example 120".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write for example 30d or 12h"))
}

#[cfg(test)]
mod tests {
    use clap::{Parser, error::ErrorKind};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        limits: LimitArgs,
    }

    fn parsed(arguments: &[&str]) -> Result<StudioConfig, clap::Error> {
        let line = Line::try_parse_from([&["adire"], arguments].concat())?;
        Ok(line.limits.apply(StudioConfig::new("data")))
    }

    #[test]
    fn defaults_equal_the_studios() {
        let config = parsed(&[]).unwrap();
        assert_eq!(
            (config.caps, config.retention, config.downloads),
            (Caps::default(), Retention::default(), true)
        );
    }

    #[test]
    fn sizes_times_and_costs_are_parsed() {
        let line =
            ["--disk-reserve", "2GB", "--upload-space", "10GiB", "--keep-for", "30d", "--max-cost", "12.5"];
        let config = parsed(&line).unwrap();
        assert_eq!((config.caps.disk_reserve, config.caps.all_upload_bytes), (2_000_000_000, 10 << 30));
        assert_eq!(config.retention.keep_for, Some(Duration::from_secs(30 * 24 * 60 * 60)));
        assert_eq!(config.caps.cost, Some(12.5));
        for wrong in [
            ["--keep-for", "soon"],
            ["--max-cost", "-1"],
            ["--max-cost", "NaN"],
            ["--disk-reserve", "much"],
            ["--max-waiting", "0"],
        ] {
            let error = parsed(&wrong).unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue),
                "{wrong:?}: {error}"
            );
        }
    }
}
