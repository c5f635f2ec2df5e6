//! Plain Rust, for the compiler to turn into what the processor has.

use half::bf16;

use super::Simd;

#[derive(Clone, Copy)]
pub(crate) struct Portable;

const LANES: usize = 8;
type V = [f32; LANES];
type P = [u32; LANES];

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
    type P = P;
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
    fn prefetch(_: *const f32) {}
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
    #[inline(always)]
    unsafe fn load_half(from: *const bf16) -> V {
        // SAFETY: valid for the lanes.
        let halves = unsafe { from.cast::<[u16; LANES]>().read_unaligned() };
        let mut out = [0.0; LANES];
        for i in 0..LANES {
            out[i] = f32::from_bits(u32::from(halves[i]) << 16);
        }
        out
    }
    #[inline(always)]
    unsafe fn store_half(to: *mut bf16, v: V) {
        let mut halves = [bf16::ZERO; LANES];
        for i in 0..LANES {
            halves[i] = bf16::from_f32(v[i]);
        }
        // SAFETY: valid for the lanes.
        unsafe { to.cast::<[bf16; LANES]>().write_unaligned(halves) }
    }
    #[inline(always)]
    unsafe fn load_pairs(from: *const bf16) -> P {
        // SAFETY: valid for two of each lane.
        unsafe { from.cast::<P>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store_pairs(to: *mut bf16, p: P) {
        // SAFETY: valid for two of each lane.
        unsafe { to.cast::<P>().write_unaligned(p) }
    }
    #[inline(always)]
    unsafe fn stream_pairs(to: *mut bf16, p: P) {
        // SAFETY: as this function's.
        unsafe { Self::store_pairs(to, p) }
    }
    #[inline(always)]
    unsafe fn splat_pair(from: *const bf16) -> P {
        // SAFETY: valid for two.
        let [low, high] = unsafe { from.cast::<[u16; 2]>().read_unaligned() };
        [u32::from(low) | u32::from(high) << 16; LANES]
    }
    #[inline(always)]
    unsafe fn low(p: P) -> V {
        let mut out = [0.0; LANES];
        for i in 0..LANES {
            out[i] = f32::from_bits(p[i] << 16);
        }
        out
    }
    #[inline(always)]
    unsafe fn high(p: P) -> V {
        let mut out = [0.0; LANES];
        for i in 0..LANES {
            out[i] = f32::from_bits(p[i] & 0xFFFF_0000);
        }
        out
    }
    #[inline(always)]
    unsafe fn join_positive(low: V, high: V) -> P {
        // SAFETY: the same, rounded better.
        unsafe { Self::join(low, high) }
    }
    #[inline(always)]
    unsafe fn join(low: V, high: V) -> P {
        let mut out = [0; LANES];
        for i in 0..LANES {
            out[i] = u32::from(bf16::from_f32(low[i]).to_bits())
                | u32::from(bf16::from_f32(high[i]).to_bits()) << 16;
        }
        out
    }
}
