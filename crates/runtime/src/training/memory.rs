//! How much memory a step takes and could still get, on the machine or on a GPU. On the machine it is known where Linux
//! says it, on a GPU where its driver does; elsewhere nothing is known and nothing is refused.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use adire_engine::{Device, free_memory};
use adire_protocol::size;

/// How often a GPU is asked what is left while a step is made. A step of the smallest model takes some ten of these.
const INTERVAL: Duration = Duration::from_millis(2);

/// Whose memory steps take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum MemoryKind {
    /// The machine's.
    #[default]
    Machine,
    /// A GPU's own.
    Gpu,
}

impl MemoryKind {
    /// Where a model on `device` computes.
    pub(super) fn of(device: &Device) -> Self {
        if device.is_cpu() { Self::Machine } else { Self::Gpu }
    }

    /// Bytes that could be had beside those that are held.
    pub(super) fn available(self, device: &Device) -> Option<u64> {
        match self {
            Self::Machine => available(),
            Self::Gpu => settled(device),
        }
    }

    /// Does `work`, and tells the most bytes that it held on the way beside those that were held before.
    pub(super) fn peak_during<T>(self, device: &Device, work: impl FnOnce() -> T) -> (T, Option<u64>) {
        match self {
            Self::Machine => {
                let before = resident();
                forget_peak();
                let made = work();
                (made, peak().zip(before).map(|(peak, before)| peak.saturating_sub(before)))
            }
            Self::Gpu => match settled(device) {
                Some(before) => {
                    let (made, least) = minimum_during(|| free_memory(device), work);
                    (made, least.map(|least| before.saturating_sub(least)))
                }
                None => (work(), None),
            },
        }
    }

    /// Why a run whose steps need `needed` bytes cannot be begun where `available` are left.
    pub(super) fn refusal(self, needed: u64, available: u64) -> Option<String> {
        let device = match self {
            Self::Machine => "machine",
            Self::Gpu => "GPU",
        };
        (needed > available).then(|| {
            format!(
                "A step of this run needs {} of memory, but only {} are left on this {device}. Choose a smaller \
                 resolution, a smaller batch, or gradient checkpointing.",
                size(needed),
                size(available)
            )
        })
    }
}

/// What a GPU has left when all that was asked of it is done: memory is given back in the order of the work.
fn settled(device: &Device) -> Option<u64> {
    device.synchronize().ok()?;
    free_memory(device)
}

/// The least that `left` says while `work` is done, asked again and again from another thread.
fn minimum_during<T>(left: impl Fn() -> Option<u64> + Sync, work: impl FnOnce() -> T) -> (T, Option<u64>) {
    /// Ends the asking, also where `work` panics.
    struct Ending<'a>(&'a AtomicBool, thread::Thread);
    impl Drop for Ending<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
            self.1.unpark();
        }
    }

    let (least, ended) = (AtomicU64::new(u64::MAX), AtomicBool::new(false));
    let ask = || {
        if let Some(bytes) = left() {
            least.fetch_min(bytes, Ordering::Relaxed);
        }
    };
    let made = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            while !ended.load(Ordering::Acquire) {
                ask();
                thread::park_timeout(INTERVAL);
            }
        });
        let _ending = Ending(&ended, asking.thread().clone());
        work()
    });
    ask();
    let least = least.into_inner();
    (made, (least < u64::MAX).then_some(least))
}

/// Bytes that the process takes now.
fn resident() -> Option<u64> {
    field(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Most bytes that the process has taken since [`forget_peak`].
fn peak() -> Option<u64> {
    field(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// Has the kernel count the peak from now on. Where it refuses, peaks of earlier are counted, which errs on the safe side.
fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// Bytes that the process could take beside what it has, in its container's limits.
fn available() -> Option<u64> {
    let machine = field(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?.trim().parse().ok()
    };
    // "max" instead of a number means no limit.
    let container = number("memory.max").zip(number("memory.current"));
    Some(container.map_or(machine, |(most, now)| machine.min(most.saturating_sub(now))))
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
        assert_eq!(MemoryKind::Machine.refusal(5, 5), None);
        let message = MemoryKind::Machine.refusal(7_300_000_000, 2_000_000_000).unwrap();
        assert!(message.contains("needs 7.3 GB") && message.contains("only 2.0 GB"), "{message}");
        assert!(message.contains("left on this machine"), "{message}");
        let message = MemoryKind::Gpu.refusal(2, 1).unwrap();
        assert!(message.contains("left on this GPU"), "{message}");
    }

    #[test]
    fn the_least_that_was_left_on_the_way_counts() {
        let left = AtomicU64::new(100);
        let seen = AtomicBool::new(false);
        let ask = || {
            let bytes = left.load(Ordering::Acquire);
            seen.fetch_or(bytes == 30, Ordering::Release);
            Some(bytes)
        };
        let (made, least) = minimum_during(ask, || {
            left.store(30, Ordering::Release);
            while !seen.load(Ordering::Acquire) {
                thread::yield_now();
            }
            left.store(90, Ordering::Release);
            "made"
        });
        assert_eq!((made, least), ("made", Some(30)));
        assert_eq!(minimum_during(|| None, || ()).1, None);
    }

    #[test]
    fn work_that_panics_ends_the_asking() {
        let tried = std::panic::catch_unwind(|| minimum_during(|| Some(1), || panic!("as it should")));
        assert!(tried.is_err());
    }

    #[test]
    fn a_gpu_that_says_nothing_is_not_taken_for_the_machine() {
        // Nothing is known of the CPU as a GPU.
        let (made, taken) = MemoryKind::Gpu.peak_during(&Device::Cpu, || 7);
        assert_eq!((made, taken), (7, None));
        assert_eq!(MemoryKind::Gpu.available(&Device::Cpu), None);
        assert_eq!(MemoryKind::of(&Device::Cpu), MemoryKind::Machine);
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
