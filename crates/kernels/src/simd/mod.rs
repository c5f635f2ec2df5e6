//! Vectors of f32: one trait, and an implementation of it for each set of instructions.
//!
//! A kernel is written once as an `#[inline(always)]` function over [`Simd`]; [`kernel!`](crate::simd::kernel) compiles it for
//! each set. Everything must be inlined into the function that has the target feature: a function that LLVM leaves
//! out of line there makes each instruction a call.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::{Avx512, Native};
pub(crate) use portable::Portable;

use half::bf16;

use crate::buffer::Number;

/// Operations on vectors of `LANES` numbers.
///
/// # Safety
/// Of every function: the processor has the instructions of the implementation, and pointers are valid for the lanes that
/// are named.
pub(crate) trait Simd: Copy + 'static {
    type V: Copy;
    /// Pairs of bf16, one in each lane.
    type P: Copy;
    const LANES: usize;
    /// Vectors of queries in a tile of attention, and keys (or channels of values) beside them.
    const QUERIES: usize;

    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, v: Self::V);
    /// Stores past the caches; `to` is aligned to the vector.
    unsafe fn stream(to: *mut f32, v: Self::V);
    /// Orders what was streamed before what is stored next.
    unsafe fn fence();
    /// Brings a line of memory nearer; `at` may lie anywhere.
    fn prefetch(at: *const f32);
    /// The first `lanes` lanes, and zeros.
    unsafe fn load_part(from: *const f32, lanes: usize) -> Self::V;
    unsafe fn store_part(to: *mut f32, v: Self::V, lanes: usize);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// a·b + c.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// c − a·b.
    unsafe fn fnma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// 1/x to a few units in the last place.
    unsafe fn reciprocal(x: Self::V) -> Self::V;
    /// The nearest integer.
    unsafe fn round(x: Self::V) -> Self::V;
    /// x·2ⁿ for integral n below 128; zero where that is too small.
    unsafe fn scale(x: Self::V, n: Self::V) -> Self::V;
    /// `x` where a < b, else `y`.
    unsafe fn select_less(a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// The sum of the lanes.
    unsafe fn sum(v: Self::V) -> f32;
    /// A square of `LANES` rows at distance `from_stride`, transposed.
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize);

    /// `LANES` bf16.
    unsafe fn load_half(from: *const bf16) -> Self::V;
    /// Rounded to the nearest; a NaN stays one.
    unsafe fn store_half(to: *mut bf16, v: Self::V);
    unsafe fn load_pairs(from: *const bf16) -> Self::P;
    unsafe fn store_pairs(to: *mut bf16, p: Self::P);
    /// As [`Simd::stream`].
    unsafe fn stream_pairs(to: *mut bf16, p: Self::P);
    /// One pair in every lane.
    unsafe fn splat_pair(from: *const bf16) -> Self::P;
    /// The first of each pair.
    unsafe fn low(p: Self::P) -> Self::V;
    /// The second of each pair.
    unsafe fn high(p: Self::P) -> Self::V;
    /// Pairs of two vectors, rounded to the nearest; a NaN may become anything.
    unsafe fn join(low: Self::V, high: Self::V) -> Self::P;
    /// The same for numbers from 0 to 1, where halves may be rounded up.
    unsafe fn join_positive(low: Self::V, high: Self::V) -> Self::P;

    #[inline(always)]
    unsafe fn zero() -> Self::V {
        // SAFETY: as this function's.
        unsafe { Self::splat(0.0) }
    }
}

/// A number in memory that kernels load as f32.
pub(crate) trait Element: Number {
    unsafe fn load<S: Simd>(from: *const Self) -> S::V;
    unsafe fn store<S: Simd>(to: *mut Self, v: S::V);
    unsafe fn load_part<S: Simd>(from: *const Self, lanes: usize) -> S::V;
    unsafe fn store_part<S: Simd>(to: *mut Self, v: S::V, lanes: usize);
}

// SAFETY of all blocks: the caller's.
impl Element for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self) -> S::V {
        // SAFETY: see above.
        unsafe { S::load(from) }
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(to: *mut Self, v: S::V) {
        // SAFETY: see above.
        unsafe { S::store(to, v) }
    }
    #[inline(always)]
    unsafe fn load_part<S: Simd>(from: *const Self, lanes: usize) -> S::V {
        // SAFETY: see above.
        unsafe { S::load_part(from, lanes) }
    }
    #[inline(always)]
    unsafe fn store_part<S: Simd>(to: *mut Self, v: S::V, lanes: usize) {
        // SAFETY: see above.
        unsafe { S::store_part(to, v, lanes) }
    }
}

// SAFETY of all blocks: the caller's.
impl Element for bf16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self) -> S::V {
        // SAFETY: see above.
        unsafe { S::load_half(from) }
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(to: *mut Self, v: S::V) {
        // SAFETY: see above.
        unsafe { S::store_half(to, v) }
    }
    #[inline(always)]
    unsafe fn load_part<S: Simd>(from: *const Self, lanes: usize) -> S::V {
        let mut whole = [bf16::ZERO; 16];
        // SAFETY: see above; no vector has more lanes.
        unsafe {
            std::ptr::copy_nonoverlapping(from, whole.as_mut_ptr(), lanes);
            S::load_half(whole.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_part<S: Simd>(to: *mut Self, v: S::V, lanes: usize) {
        let mut whole = [bf16::ZERO; 16];
        // SAFETY: see above.
        unsafe {
            S::store_half(whole.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(whole.as_ptr(), to, lanes);
        }
    }
}

/// How pairs of bf16 are multiplied and added to f32.
pub(crate) trait Dot<S: Simd> {
    /// acc + a₀·b₀ + a₁·b₁.
    unsafe fn dot(acc: S::V, a: S::P, b: S::P) -> S::V;
}

/// By two multiplications of f32.
pub(crate) struct Emulated;

impl<S: Simd> Dot<S> for Emulated {
    #[inline(always)]
    unsafe fn dot(acc: S::V, a: S::P, b: S::P) -> S::V {
        // SAFETY: the caller's.
        unsafe { S::fma(S::high(a), S::high(b), S::fma(S::low(a), S::low(b), acc)) }
    }
}

/// Compiles `body::<S, types …, constants …>(arguments)` for each set of instructions, behind a function that takes the set
/// first. With `Dot` before the body, it is `body::<S, D, …>`, and compiled for bf16's instructions too.
macro_rules! kernel {
    ($vis:vis unsafe fn $name:ident$({$($t:ident),*})?$([$(const $c:ident: $ct:ty),*])?($($arg:ident: $ty:ty),* $(,)?) => $body:ident) => {
        #[inline]
        $vis unsafe fn $name<$($($t: $crate::simd::Element,)*)? $($(const $c: $ct),*)?>(isa: $crate::isa::Isa, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            #[inline(never)]
            unsafe fn avx512<$($($t: $crate::simd::Element,)*)? $($(const $c: $ct),*)?>($($arg: $ty),*) {
                // SAFETY: the caller's; the features are those of the implementation.
                unsafe { $body::<$crate::simd::Avx512, $($($t,)*)? $($($c),*)?>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[inline(never)]
            unsafe fn avx2<$($($t: $crate::simd::Element,)*)? $($(const $c: $ct),*)?>($($arg: $ty),*) {
                // SAFETY: as above.
                unsafe { $body::<$crate::simd::Avx2, $($($t,)*)? $($($c),*)?>($($arg),*) }
            }
            #[inline(never)]
            unsafe fn portable<$($($t: $crate::simd::Element,)*)? $($(const $c: $ct),*)?>($($arg: $ty),*) {
                // SAFETY: as above.
                unsafe { $body::<$crate::simd::Portable, $($($t,)*)? $($($c),*)?>($($arg),*) }
            }
            match isa {
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Isa::Avx512 | $crate::isa::Isa::Avx512Bf16 | $crate::isa::Isa::Amx => {
                    // SAFETY: an `Isa` is used only where the processor has it; the rest is the caller's.
                    unsafe { avx512::<$($($t,)*)? $($($c),*)?>($($arg),*) }
                }
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                $crate::isa::Isa::Avx2 => unsafe { avx2::<$($($t,)*)? $($($c),*)?>($($arg),*) },
                // SAFETY: as above.
                _ => unsafe { portable::<$($($t,)*)? $($($c),*)?>($($arg),*) },
            }
        }
    };
    ($vis:vis unsafe fn $name:ident$([$(const $c:ident: $ct:ty),*])?($($arg:ident: $ty:ty),* $(,)?) => Dot $body:ident) => {
        #[inline]
        $vis unsafe fn $name$(<$(const $c: $ct),*>)?(isa: $crate::isa::Isa, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
            #[inline(never)]
            unsafe fn native$(<$(const $c: $ct),*>)?($($arg: $ty),*) {
                // SAFETY: the caller's; the features are those of the implementation.
                unsafe { $body::<$crate::simd::Avx512, $crate::simd::Native, $($($c),*)?>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            #[inline(never)]
            unsafe fn avx512$(<$(const $c: $ct),*>)?($($arg: $ty),*) {
                // SAFETY: as above.
                unsafe { $body::<$crate::simd::Avx512, $crate::simd::Emulated, $($($c),*)?>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[inline(never)]
            unsafe fn avx2$(<$(const $c: $ct),*>)?($($arg: $ty),*) {
                // SAFETY: as above.
                unsafe { $body::<$crate::simd::Avx2, $crate::simd::Emulated, $($($c),*)?>($($arg),*) }
            }
            #[inline(never)]
            unsafe fn portable$(<$(const $c: $ct),*>)?($($arg: $ty),*) {
                // SAFETY: as above.
                unsafe { $body::<$crate::simd::Portable, $crate::simd::Emulated, $($($c),*)?>($($arg),*) }
            }
            match isa {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` is used only where the processor has it; the rest is the caller's.
                $crate::isa::Isa::Avx512Bf16 | $crate::isa::Isa::Amx => unsafe { native$(::<$($c),*>)?($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                $crate::isa::Isa::Avx512 => unsafe { avx512$(::<$($c),*>)?($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                $crate::isa::Isa::Avx2 => unsafe { avx2$(::<$($c),*>)?($($arg),*) },
                // SAFETY: as above.
                _ => unsafe { portable$(::<$($c),*>)?($($arg),*) },
            }
        }
    };
}
pub(crate) use kernel;
