//! AVX-512.

use std::arch::x86_64::*;

use half::bf16;

use super::{Dot, Simd};

#[derive(Clone, Copy)]
pub(crate) struct Avx512;

/// AVX512-BF16.
pub(crate) struct Native;

impl Dot<Avx512> for Native {
    #[inline(always)]
    unsafe fn dot(acc: V, a: __m512i, b: __m512i) -> V {
        // SAFETY: the processor has AVX512-BF16; the two types are the same 64 bytes.
        unsafe {
            _mm512_dpbf16_ps(
                acc,
                std::mem::transmute::<__m512i, __m512bh>(a),
                std::mem::transmute::<__m512i, __m512bh>(b),
            )
        }
    }
}

const LANES: usize = 16;
type V = __m512;

/// A mask whose first `lanes` lanes are set.
#[inline(always)]
fn mask(lanes: usize) -> __mmask16 {
    ((1u32 << lanes.min(LANES)) - 1) as __mmask16
}

// SAFETY of all blocks: the trait's contract.
impl Simd for Avx512 {
    type V = V;
    type P = __m512i;
    const LANES: usize = LANES;
    const QUERIES: usize = 3;

    #[inline(always)]
    unsafe fn splat(x: f32) -> V {
        // SAFETY: see above.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> V {
        // SAFETY: see above.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: V) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(to, v) }
    }
    #[inline(always)]
    unsafe fn stream(to: *mut f32, v: V) {
        // SAFETY: see above.
        unsafe { _mm512_stream_ps(to, v) }
    }
    #[inline(always)]
    unsafe fn fence() {
        // SAFETY: see above.
        unsafe { _mm_sfence() }
    }
    #[inline(always)]
    fn prefetch(at: *const f32) {
        // SAFETY: it reads nothing that a program could see, and no address faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    #[inline(always)]
    unsafe fn load_part(from: *const f32, lanes: usize) -> V {
        // SAFETY: see above.
        unsafe { _mm512_maskz_loadu_ps(mask(lanes), from) }
    }
    #[inline(always)]
    unsafe fn store_part(to: *mut f32, v: V, lanes: usize) {
        // SAFETY: see above.
        unsafe { _mm512_mask_storeu_ps(to, mask(lanes), v) }
    }
    #[inline(always)]
    unsafe fn add(a: V, b: V) -> V {
        // SAFETY: see above.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: V, b: V) -> V {
        // SAFETY: see above.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: V, b: V) -> V {
        // SAFETY: see above.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: V, b: V) -> V {
        // SAFETY: see above.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: V, b: V, c: V) -> V {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn fnma(a: V, b: V, c: V) -> V {
        // SAFETY: see above.
        unsafe { _mm512_fnmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn reciprocal(x: V) -> V {
        // SAFETY: see above. One Newton step takes the 14 bits of the estimate to all of f32's but the last.
        unsafe {
            let r = _mm512_rcp14_ps(x);
            _mm512_mul_ps(r, _mm512_fnmadd_ps(x, r, _mm512_set1_ps(2.0)))
        }
    }
    #[inline(always)]
    unsafe fn round(x: V) -> V {
        // SAFETY: see above.
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x) }
    }
    #[inline(always)]
    unsafe fn scale(x: V, n: V) -> V {
        // SAFETY: see above.
        unsafe { _mm512_scalef_ps(x, n) }
    }
    #[inline(always)]
    unsafe fn select_less(a: V, b: V, x: V, y: V) -> V {
        // SAFETY: see above.
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y, x) }
    }
    #[inline(always)]
    unsafe fn sum(v: V) -> f32 {
        // SAFETY: see above.
        unsafe {
            let eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v));
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: see above.
        unsafe {
            let mut r = [_mm512_setzero_ps(); 16];
            for (i, r) in r.iter_mut().enumerate() {
                *r = _mm512_loadu_ps(from.add(i * from_stride));
            }
            let mut t = r;
            for i in 0..8 {
                t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
                t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
            }
            // Four rows each: column c of lane group g is in r[4·block + c], lane group g.
            for i in 0..4 {
                r[4 * i] = _mm512_shuffle_ps::<0x44>(t[4 * i], t[4 * i + 2]);
                r[4 * i + 1] = _mm512_shuffle_ps::<0xEE>(t[4 * i], t[4 * i + 2]);
                r[4 * i + 2] = _mm512_shuffle_ps::<0x44>(t[4 * i + 1], t[4 * i + 3]);
                r[4 * i + 3] = _mm512_shuffle_ps::<0xEE>(t[4 * i + 1], t[4 * i + 3]);
            }
            for c in 0..4 {
                let low = _mm512_shuffle_f32x4::<0x88>(r[c], r[4 + c]);
                let high = _mm512_shuffle_f32x4::<0x88>(r[8 + c], r[12 + c]);
                let low_odd = _mm512_shuffle_f32x4::<0xDD>(r[c], r[4 + c]);
                let high_odd = _mm512_shuffle_f32x4::<0xDD>(r[8 + c], r[12 + c]);
                _mm512_storeu_ps(to.add(c * to_stride), _mm512_shuffle_f32x4::<0x88>(low, high));
                _mm512_storeu_ps(
                    to.add((4 + c) * to_stride),
                    _mm512_shuffle_f32x4::<0x88>(low_odd, high_odd),
                );
                _mm512_storeu_ps(to.add((8 + c) * to_stride), _mm512_shuffle_f32x4::<0xDD>(low, high));
                _mm512_storeu_ps(
                    to.add((12 + c) * to_stride),
                    _mm512_shuffle_f32x4::<0xDD>(low_odd, high_odd),
                );
            }
        }
    }
    #[inline(always)]
    unsafe fn load_half(from: *const bf16) -> V {
        // SAFETY: see above.
        unsafe {
            let halves = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(halves))
        }
    }
    #[inline(always)]
    unsafe fn store_half(to: *mut bf16, v: V) {
        // SAFETY: see above.
        unsafe {
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
            let halves = _mm512_srli_epi32::<16>(round_half(v));
            let halves = _mm512_mask_blend_epi32(nan, halves, _mm512_set1_epi32(0x7FC0));
            _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(halves));
        }
    }
    #[inline(always)]
    unsafe fn load_pairs(from: *const bf16) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store_pairs(to: *mut bf16, p: __m512i) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_si512(to.cast(), p) }
    }
    #[inline(always)]
    unsafe fn stream_pairs(to: *mut bf16, p: __m512i) {
        // SAFETY: see above.
        unsafe { _mm512_stream_si512(to.cast(), p) }
    }
    #[inline(always)]
    unsafe fn splat_pair(from: *const bf16) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn low(p: __m512i) -> V {
        // SAFETY: see above.
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(p)) }
    }
    #[inline(always)]
    unsafe fn high(p: __m512i) -> V {
        // SAFETY: see above.
        unsafe { _mm512_castsi512_ps(_mm512_and_si512(p, _mm512_set1_epi32(0xFFFF_0000_u32 as i32))) }
    }
    #[inline(always)]
    unsafe fn join_positive(low: V, high: V) -> __m512i {
        // SAFETY: see above.
        unsafe {
            let half = _mm512_set1_epi32(0x8000);
            let low = _mm512_srli_epi32::<16>(_mm512_add_epi32(_mm512_castps_si512(low), half));
            _mm512_mask_blend_epi16(0xAAAA_AAAA, low, _mm512_add_epi32(_mm512_castps_si512(high), half))
        }
    }
    #[inline(always)]
    unsafe fn join(low: V, high: V) -> __m512i {
        // SAFETY: see above.
        unsafe {
            _mm512_mask_blend_epi16(0xAAAA_AAAA, _mm512_srli_epi32::<16>(round_half(low)), round_half(high))
        }
    }
}

/// Rounded to bf16, in the upper halves.
#[inline(always)]
unsafe fn round_half(v: V) -> __m512i {
    // SAFETY: AVX-512, as for everything here.
    unsafe {
        let bits = _mm512_castps_si512(v);
        let even = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), even)
    }
}
