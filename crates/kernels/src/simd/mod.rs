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
pub(crate) use avx512::Avx512;
pub(crate) use portable::Portable;

/// Operations on vectors of `LANES` numbers.
///
/// # Safety
/// Of every function: the processor has the instructions of the implementation, and pointers are valid for the lanes that
/// are named.
pub(crate) trait Simd: Copy + 'static {
    type V: Copy;
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

    #[inline(always)]
    unsafe fn zero() -> Self::V {
        // SAFETY: as this function's.
        unsafe { Self::splat(0.0) }
    }
}

/// Compiles `body::<S, …>(arguments)` for each set of instructions, behind a function that takes the set first.
macro_rules! kernel {
    ($(#[$doc:meta])* $vis:vis unsafe fn $name:ident$([$(const $c:ident: $ct:ty),*])?($($arg:ident: $ty:ty),* $(,)?) => $body:ident) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments, clippy::allow_attributes, reason = "a kernel's operands")]
        #[inline]
        $vis unsafe fn $name$(<$(const $c: $ct),*>)?(isa: $crate::isa::Isa, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            #[inline(never)]
            unsafe fn avx512$(<$(const $c: $ct),*>)?($($arg: $ty),*) {
                // SAFETY: the caller's; the features are those of the implementation.
                unsafe { $body::<$crate::simd::Avx512, $($($c),*)?>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[inline(never)]
            unsafe fn avx2$(<$(const $c: $ct),*>)?($($arg: $ty),*) {
                // SAFETY: as above.
                unsafe { $body::<$crate::simd::Avx2, $($($c),*)?>($($arg),*) }
            }
            #[inline(never)]
            unsafe fn portable$(<$(const $c: $ct),*>)?($($arg: $ty),*) {
                // SAFETY: as above.
                unsafe { $body::<$crate::simd::Portable, $($($c),*)?>($($arg),*) }
            }
            match isa {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` is made only where the processor has it; the rest is the caller's.
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
