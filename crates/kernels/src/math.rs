//! Functions of vectors: exponential, SiLU, GELU.

use crate::epilogue::Activation;
use crate::simd::Simd;

/// Codes of [`Activation`] for const generics.
pub(crate) const IDENTITY: u8 = 0;
pub(crate) const SILU: u8 = 1;
pub(crate) const GELU: u8 = 2;
pub(crate) const QUICK_GELU: u8 = 3;

/// Runs `$call` with `$act` as a constant.
macro_rules! by_activation {
    ($activation:expr, $act:ident => $call:expr) => {
        match $activation {
            $crate::epilogue::Activation::Identity => {
                const $act: u8 = $crate::math::IDENTITY;
                $call
            }
            $crate::epilogue::Activation::Silu => {
                const $act: u8 = $crate::math::SILU;
                $call
            }
            $crate::epilogue::Activation::Gelu => {
                const $act: u8 = $crate::math::GELU;
                $call
            }
            $crate::epilogue::Activation::QuickGelu => {
                const $act: u8 = $crate::math::QUICK_GELU;
                $call
            }
        }
    };
}
pub(crate) use by_activation;

/// 2ˣ to 2 units in the last place, for x below 128; 0 where it is too small.
#[inline(always)]
pub(crate) unsafe fn exp2<S: Simd>(x: S::V) -> S::V {
    // The series of e^(x ln 2); |fraction| ≤ 1/2.
    const C: [f32; 7] = [
        1.0,
        std::f32::consts::LN_2,
        0.240_226_5,
        0.055_504_11,
        0.009_618_129,
        0.001_333_355_8,
        0.000_154_035_3,
    ];
    // SAFETY: as the caller's; vectors only.
    unsafe {
        let n = S::round(x);
        let f = S::sub(x, n);
        let mut p = S::splat(C[6]);
        p = S::fma(p, f, S::splat(C[5]));
        p = S::fma(p, f, S::splat(C[4]));
        p = S::fma(p, f, S::splat(C[3]));
        p = S::fma(p, f, S::splat(C[2]));
        p = S::fma(p, f, S::splat(C[1]));
        p = S::fma(p, f, S::splat(C[0]));
        S::scale(p, n)
    }
}

/// 2ˣ to 4e-5 of itself: enough for what is rounded to bf16.
#[inline(always)]
pub(crate) unsafe fn exp2_short<S: Simd>(x: S::V) -> S::V {
    const C: [f32; 5] = [1.0, std::f32::consts::LN_2, 0.240_226_5, 0.055_84, 0.009_6];
    // SAFETY: as the caller's; vectors only.
    unsafe {
        let n = S::round(x);
        let f = S::sub(x, n);
        let mut p = S::splat(C[4]);
        p = S::fma(p, f, S::splat(C[3]));
        p = S::fma(p, f, S::splat(C[2]));
        p = S::fma(p, f, S::splat(C[1]));
        p = S::fma(p, f, S::splat(C[0]));
        S::scale(p, n)
    }
}

/// x·σ(c·x).
#[inline(always)]
unsafe fn gated<S: Simd>(x: S::V, c: f32) -> S::V {
    // SAFETY: as the caller's. The exponent is kept where neither 2ⁿ nor its reciprocal overflows.
    unsafe {
        let e = S::mul(x, S::splat(-c * std::f32::consts::LOG2_E));
        let limit = S::splat(125.0);
        let e = exp2::<S>(S::select_less(limit, e, limit, e));
        S::mul(x, S::reciprocal(S::add(S::splat(1.0), e)))
    }
}

/// x·Φ(x); Φ to 2e-7 by Abramowitz and Stegun 7.1.26.
#[inline(always)]
pub(crate) unsafe fn gelu<S: Simd>(x: S::V) -> S::V {
    const C: [f32; 5] = [0.254_829_6, -0.284_496_74, 1.421_413_7, -1.453_152, 1.061_405_4];
    // SAFETY: as the caller's.
    unsafe {
        let z = S::mul(S::max(x, S::sub(S::zero(), x)), S::splat(std::f32::consts::FRAC_1_SQRT_2));
        let t = S::reciprocal(S::fma(z, S::splat(0.327_591_1), S::splat(1.0)));
        let mut p = S::splat(C[4]);
        p = S::fma(p, t, S::splat(C[3]));
        p = S::fma(p, t, S::splat(C[2]));
        p = S::fma(p, t, S::splat(C[1]));
        p = S::fma(p, t, S::splat(C[0]));
        let e = exp2::<S>(S::mul(S::mul(z, z), S::splat(-std::f32::consts::LOG2_E)));
        // (1 − erf z) / 2 = Φ(−|x|)
        let q = S::mul(S::mul(S::mul(p, t), e), S::splat(0.5));
        S::mul(x, S::select_less(x, S::zero(), q, S::sub(S::splat(1.0), q)))
    }
}

/// One of the activations.
#[inline(always)]
pub(crate) unsafe fn activate<S: Simd, const ACT: u8>(x: S::V) -> S::V {
    // SAFETY: as the caller's.
    unsafe {
        match ACT {
            SILU => gated::<S>(x, 1.0),
            GELU => gelu::<S>(x),
            QUICK_GELU => gated::<S>(x, 1.702),
            _ => x,
        }
    }
}

/// Operations per number, to judge whether something is worth several threads.
pub(crate) fn cost(activation: Activation) -> usize {
    if activation == Activation::Identity { 1 } else { 12 }
}
