//! Plain Rust, for the compiler to turn into what the processor has.

use super::Simd;

#[derive(Clone, Copy)]
pub(crate) struct Portable;

const LANES: usize = 8;
type V = [f32; LANES];

#[inline(always)]
fn each(a: V, b: V, f: impl Fn(f32, f32) -> f32) -> V {
    let mut out = a;
    for i in 0..LANES {
        out[i] = f(a[i], b[i]);
    }
    out
}

/// In one rounding where the processor does that, else in two: the library's own would be a hundred times slower.
#[inline(always)]
fn fma(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) { a.mul_add(b, c) } else { a * b + c }
}

impl Simd for Portable {
    type V = V;
    const LANES: usize = LANES;
    const QUERIES: usize = 2;

    #[inline(always)]
    unsafe fn splat(x: f32) -> V {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> V {
        // SAFETY: valid for the lanes.
        unsafe { from.cast::<V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: V) {
        // SAFETY: valid for the lanes.
        unsafe { to.cast::<V>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn stream(to: *mut f32, v: V) {
        // SAFETY: the same.
        unsafe { Self::store(to, v) }
    }
    #[inline(always)]
    unsafe fn fence() {}
    #[inline(always)]
    unsafe fn load_part(from: *const f32, lanes: usize) -> V {
        let mut out = [0.0; LANES];
        for (i, out) in out.iter_mut().enumerate().take(lanes) {
            // SAFETY: one of the first `lanes`.
            *out = unsafe { *from.add(i) };
        }
        out
    }
    #[inline(always)]
    unsafe fn store_part(to: *mut f32, v: V, lanes: usize) {
        for (i, v) in v.iter().enumerate().take(lanes) {
            // SAFETY: one of the first `lanes`.
            unsafe { *to.add(i) = *v };
        }
    }
    #[inline(always)]
    unsafe fn add(a: V, b: V) -> V {
        each(a, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(a: V, b: V) -> V {
        each(a, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(a: V, b: V) -> V {
        each(a, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn max(a: V, b: V) -> V {
        each(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn fma(a: V, b: V, c: V) -> V {
        let mut out = c;
        for i in 0..LANES {
            out[i] = fma(a[i], b[i], c[i]);
        }
        out
    }
    #[inline(always)]
    unsafe fn fnma(a: V, b: V, c: V) -> V {
        let mut out = c;
        for i in 0..LANES {
            out[i] = fma(-a[i], b[i], c[i]);
        }
        out
    }
    #[inline(always)]
    unsafe fn reciprocal(x: V) -> V {
        each(x, x, |x, _| 1.0 / x)
    }
    #[inline(always)]
    unsafe fn round(x: V) -> V {
        each(x, x, |x, _| x.round_ties_even())
    }
    #[inline(always)]
    unsafe fn scale(x: V, n: V) -> V {
        each(x, n, |x, n| x * f32::from_bits(((n.max(-127.0) as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    unsafe fn select_less(a: V, b: V, x: V, y: V) -> V {
        let mut out = y;
        for i in 0..LANES {
            if a[i] < b[i] {
                out[i] = x[i];
            }
        }
        out
    }
    #[inline(always)]
    unsafe fn sum(v: V) -> f32 {
        ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]))
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for i in 0..LANES {
            for j in 0..LANES {
                // SAFETY: inside the two squares.
                unsafe { *to.add(j * to_stride + i) = *from.add(i * from_stride + j) };
            }
        }
    }
}
