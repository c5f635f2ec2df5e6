//! How much memory this process takes and could still get. Known on Linux; elsewhere nothing is known and nothing is
//! refused.

use std::fs;

/// Bytes that the process takes now.
pub(super) fn resident() -> Option<u64> {
    field(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Most bytes that the process has taken since [`forget_peak`].
pub(super) fn peak() -> Option<u64> {
    field(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// Has the kernel count the peak from now on. Where it refuses, peaks of earlier are counted, which errs on the safe side.
pub(super) fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// Bytes that the process could take beside what it has, in its container's limits.
pub(super) fn available() -> Option<u64> {
    let machine = field(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?.trim().parse().ok()
    };
    // "max", no number, where there is no limit.
    let container = number("memory.max").zip(number("memory.current"));
    Some(container.map_or(machine, |(most, now)| machine.min(most.saturating_sub(now))))
}

/// Why a run that needs `needed` bytes cannot be begun where `available` are left.
pub(super) fn refusal(needed: u64, available: u64) -> Option<String> {
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    (needed > available).then(|| {
        format!(
            "A step of this run needs {:.1} GB of memory, but only {:.1} GB are left on this machine. Choose a smaller \
             resolution, a smaller batch, or gradient checkpointing.",
            gigabytes(needed),
            gigabytes(available)
        )
    })
}

/// A line like `VmRSS:   1234 kB`, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_are_read() {
        assert_eq!(field("VmPeak:\t 9 kB\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12 * 1024));
        assert_eq!(field("VmRSS:\t many kB\n", "VmRSS:"), None);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_both_numbers() {
        assert_eq!(refusal(5, 5), None);
        let said = refusal(7_300_000_000, 2_000_000_000).unwrap();
        assert!(said.contains("needs 7.3 GB") && said.contains("only 2.0 GB"), "{said}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_peak_is_seen() {
        forget_peak();
        let before = resident().unwrap();
        let held = vec![1u8; 64 << 20];
        assert!(held.iter().map(|byte| u64::from(*byte)).sum::<u64>() == 64 << 20);
        drop(held);
        assert!(peak().unwrap() >= before + (48 << 20));
        assert!(available().unwrap() > 0);
    }
}
