//! Functions that the compiler can vectorise: no branches, no calls.

use super::multiply_add;

/// eˣ to about two units in the last place; 0 below −87, about 10³⁸ above 88.
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2; eʳ by the minimax polynomial of Cephes' `expf` (Moshier).
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.3, 88.0);
    let n = (x * std::f32::consts::LOG2_E).round_ties_even();
    // ln 2 in two parts, so that n·ln 2 loses nothing.
    let r = multiply_add(n, -0.693_359_4, x);
    let r = multiply_add(n, 2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1] {
        p = multiply_add(p, r, coefficient);
    }
    let mantissa = multiply_add(p, r * r, r) + 1.0;
    // 2ⁿ: the exponent's bits. n lies in −126…127.
    let power = f32::from_bits(((n as i32 + 127) as u32) << 23);
    mantissa * power
}

/// x·σ(x).
#[inline(always)]
pub(super) fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// x·σ(1.702 x).
#[inline(always)]
pub(super) fn quick_gelu(x: f32) -> f32 {
    x / (1.0 + exp(-1.702 * x))
}

/// Derivative of [`silu`]: σ + x·σ·(1 − σ).
#[inline(always)]
pub(super) fn silu_slope(x: f32) -> f32 {
    let sigmoid = 1.0 / (1.0 + exp(-x));
    sigmoid * (1.0 + x * (1.0 - sigmoid))
}

/// Derivative of [`quick_gelu`].
#[inline(always)]
pub(super) fn quick_gelu_slope(x: f32) -> f32 {
    let sigmoid = 1.0 / (1.0 + exp(-1.702 * x));
    sigmoid * (1.0 + 1.702 * x * (1.0 - sigmoid))
}

/// Derivative of [`gelu`]: Φ(x) + x·φ(x).
#[inline(always)]
pub(super) fn gelu_slope(x: f32) -> f32 {
    // 1 / √(2π)
    const PEAK: f32 = 0.398_942_3;
    normal_cdf(x) + x * PEAK * exp(-0.5 * x * x)
}

/// x·Φ(x).
#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    x * normal_cdf(x)
}

/// Φ(x), with erf by formula 7.1.26 of Abramowitz & Stegun (error at most 1.5·10⁻⁷).
#[inline(always)]
fn normal_cdf(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / multiply_add(0.327_591_1, z, 1.0);
    let mut p = 1.061_405_4;
    for coefficient in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        p = multiply_add(p, t, coefficient);
    }
    let tail = p * t * exp(-z * z);
    // erf(z) = 1 − tail, odd in x.
    let erf = (1.0 - tail).copysign(x);
    0.5 * (1.0 + erf)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> impl Iterator<Item = f32> {
        (-2000..=2000).map(|i| i as f32 * 0.01)
    }

    #[test]
    fn exp_is_exact_to_rounding() {
        for x in grid() {
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 3e-7, "exp({x}) is off by {error:.1e}");
        }
        assert!(exp(-1000.0) < 2e-38 && exp(f32::NEG_INFINITY) < 2e-38 && exp(1000.0) > 1e38);
    }

    #[test]
    fn slopes_equal_differences() {
        type Function = fn(f32) -> f32;
        let pairs: [(Function, Function); 3] =
            [(silu, silu_slope), (quick_gelu, quick_gelu_slope), (gelu, gelu_slope)];
        for (f, slope) in pairs {
            for x in grid() {
                let difference = (f(x + 0.01) - f(x - 0.01)) / 0.02;
                assert!(
                    (slope(x) - difference).abs() < 2e-4 * (1.0 + x.abs()),
                    "{x}: {} {difference}",
                    slope(x)
                );
            }
        }
    }

    #[test]
    fn activations_equal_their_definitions() {
        for x in grid() {
            let wide = f64::from(x);
            let sigmoid = |a: f64| wide / (1.0 + (-a * wide).exp());
            assert!((f64::from(silu(x)) - sigmoid(1.0)).abs() < 1e-6 * (1.0 + wide.abs()), "{x}");
            assert!((f64::from(quick_gelu(x)) - sigmoid(1.702)).abs() < 1e-6 * (1.0 + wide.abs()), "{x}");
        }
        // Φ from a table.
        for (x, cdf) in [(0.0, 0.5), (0.5, 0.691_462_46), (-1.0, 0.158_655_25), (2.0, 0.977_249_87)] {
            assert!((f64::from(gelu(x)) - f64::from(x) * cdf).abs() < 1e-6, "{x}");
        }
        assert_eq!((gelu(20.0), gelu(-20.0).abs()), (20.0, 0.0));
    }
}
