//! Memory of this process and machine, where Linux says it.

use std::fs;

use adire_protocol::Memory;

/// What this machine says of its memory.
pub(crate) fn host() -> Memory {
    let read = |path, field| fs::read_to_string(path).ok().and_then(|text| kilobytes(&text, field));
    Memory {
        process: read("/proc/self/status", "VmRSS:"),
        host_total: read("/proc/meminfo", "MemTotal:"),
        host_available: read("/proc/meminfo", "MemAvailable:"),
        ..Memory::default()
    }
}

/// A line like `VmRSS:   1234 kB`, in bytes.
fn kilobytes(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_in_bytes() {
        assert_eq!(kilobytes("VmPeak:\t 9 kB\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12 * 1024));
        assert_eq!(kilobytes("VmRSS:\t many kB\n", "VmRSS:"), None);
        #[cfg(target_os = "linux")]
        assert!(host().process.is_some_and(|bytes| bytes > 0));
    }
}
