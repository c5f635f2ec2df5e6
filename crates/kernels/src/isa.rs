//! Which instructions the kernels use: the best that the processor has, or less for a test.

use std::cell::Cell;
use std::sync::OnceLock;

/// A set of instructions that every kernel exists for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// What the program was compiled for; plain Rust.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 (F, BW, DQ, VL).
    Avx512,
    /// AVX-512 with products of bf16.
    Avx512Bf16,
    /// That with AMX's tiles.
    Amx,
}

thread_local! {
    static FORCED: Cell<Option<Isa>> = const { Cell::new(None) };
}

impl Isa {
    /// The best of this processor, or what `ADIRE_CPU` (`portable`, `avx2`, `avx512`, `avx512bf16`, `amx`) says if the processor has it.
    pub fn current() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        FORCED.get().unwrap_or_else(|| {
            *BEST.get_or_init(|| {
                let best = Self::available().into_iter().max().unwrap_or(Self::Portable);
                let wanted = std::env::var("ADIRE_CPU").ok().and_then(|name| Self::from_name(&name));
                wanted.map_or(best, |isa| isa.min(best))
            })
        })
    }

    /// All that this processor has, the portable one first.
    pub fn available() -> Vec<Self> {
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "nothing else there"))]
        let mut all = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Self::Avx2);
            }
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
            {
                all.push(Self::Avx512);
                if is_x86_feature_detected!("avx512bf16") {
                    all.push(Self::Avx512Bf16);
                    if crate::amx::available() {
                        all.push(Self::Amx);
                    }
                }
            }
        }
        all
    }

    /// Runs `work` with this set in place of the current one, on this thread: kernels that it calls use it on every thread.
    ///
    /// # Panics
    /// If the processor does not have it.
    pub fn run<R>(self, work: impl FnOnce() -> R) -> R {
        assert!(Self::available().contains(&self), "this processor has no {}", self.name());
        self.force(work)
    }

    /// The same, whether the processor has it or something interprets it.
    pub(crate) fn force<R>(self, work: impl FnOnce() -> R) -> R {
        struct Back(Option<Isa>);
        impl Drop for Back {
            fn drop(&mut self) {
                FORCED.set(self.0);
            }
        }
        let _back = Back(FORCED.replace(Some(self)));
        work()
    }

    /// Its name, as `ADIRE_CPU` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512bf16",
            Self::Amx => "amx",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Portable, Self::Avx2, Self::Avx512, Self::Avx512Bf16, Self::Amx]
            .into_iter()
            .find(|isa| isa.name() == name)
    }

    /// Whether it has AVX-512's vectors and registers.
    pub(crate) fn is_wide(self) -> bool {
        matches!(self, Self::Avx512 | Self::Avx512Bf16 | Self::Amx)
    }

    /// Lanes of one vector of f32.
    pub(crate) fn lanes(self) -> usize {
        match self {
            Self::Portable | Self::Avx2 => 8,
            Self::Avx512 | Self::Avx512Bf16 | Self::Amx => 16,
        }
    }
}
