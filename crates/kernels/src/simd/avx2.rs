//! AVX2 and FMA.

use std::arch::x86_64::*;

use half::bf16;

use super::Simd;

#[derive(Clone, Copy)]
pub(crate) struct Avx2;

const LANES: usize = 8;
type V = __m256;

/// A mask whose first `lanes` lanes are set.
#[inline(always)]
unsafe fn mask(lanes: usize) -> __m256i {
    // SAFETY: AVX2, as for everything here.
    unsafe {
        let index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes as i32), index)
    }
}

// SAFETY of all blocks: the trait's contract.
impl Simd for Avx2 {
    type V = V;
    type P = __m256i;
    const LANES: usize = LANES;
    const QUERIES: usize = 2;

    #[inline(always)]
    unsafe fn splat(x: f32) -> V {
        // SAFETY: see above.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> V {
        // SAFETY: see above.
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: V) {
        // SAFETY: see above.
        unsafe { _mm256_storeu_ps(to, v) }
    }
    #[inline(always)]
    unsafe fn stream(to: *mut f32, v: V) {
        // SAFETY: see above.
        unsafe { _mm256_stream_ps(to, v) }
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
        unsafe { _mm256_maskload_ps(from, mask(lanes)) }
    }
    #[inline(always)]
    unsafe fn store_part(to: *mut f32, v: V, lanes: usize) {
        // SAFETY: see above.
        unsafe { _mm256_maskstore_ps(to, mask(lanes), v) }
    }
    #[inline(always)]
    unsafe fn add(a: V, b: V) -> V {
        // SAFETY: see above.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: V, b: V) -> V {
        // SAFETY: see above.
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: V, b: V) -> V {
        // SAFETY: see above.
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: V, b: V) -> V {
        // SAFETY: see above.
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: V, b: V, c: V) -> V {
        // SAFETY: see above.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn fnma(a: V, b: V, c: V) -> V {
        // SAFETY: see above.
        unsafe { _mm256_fnmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn reciprocal(x: V) -> V {
        // SAFETY: see above.
        unsafe { _mm256_div_ps(_mm256_set1_ps(1.0), x) }
    }
    #[inline(always)]
    unsafe fn round(x: V) -> V {
        // SAFETY: see above.
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x) }
    }
    #[inline(always)]
    unsafe fn scale(x: V, n: V) -> V {
        // SAFETY: see above.
        unsafe {
            let n = _mm256_cvtps_epi32(_mm256_max_ps(n, _mm256_set1_ps(-127.0)));
            let power = _mm256_slli_epi32::<23>(_mm256_add_epi32(n, _mm256_set1_epi32(127)));
            _mm256_mul_ps(x, _mm256_castsi256_ps(power))
        }
    }
    #[inline(always)]
    unsafe fn select_less(a: V, b: V, x: V, y: V) -> V {
        // SAFETY: see above.
        unsafe { _mm256_blendv_ps(y, x, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b)) }
    }
    #[inline(always)]
    unsafe fn sum(v: V) -> f32 {
        // SAFETY: see above.
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: see above.
        unsafe {
            let mut r = [_mm256_setzero_ps(); 8];
            for (i, r) in r.iter_mut().enumerate() {
                *r = _mm256_loadu_ps(from.add(i * from_stride));
            }
            let mut t = r;
            for i in 0..4 {
                t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
                t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
            }
            for i in 0..2 {
                r[4 * i] = _mm256_shuffle_ps::<0x44>(t[4 * i], t[4 * i + 2]);
                r[4 * i + 1] = _mm256_shuffle_ps::<0xEE>(t[4 * i], t[4 * i + 2]);
                r[4 * i + 2] = _mm256_shuffle_ps::<0x44>(t[4 * i + 1], t[4 * i + 3]);
                r[4 * i + 3] = _mm256_shuffle_ps::<0xEE>(t[4 * i + 1], t[4 * i + 3]);
            }
            for i in 0..4 {
                _mm256_storeu_ps(to.add(i * to_stride), _mm256_permute2f128_ps::<0x20>(r[i], r[i + 4]));
                _mm256_storeu_ps(to.add((i + 4) * to_stride), _mm256_permute2f128_ps::<0x31>(r[i], r[i + 4]));
            }
        }
    }
    #[inline(always)]
    unsafe fn load_half(from: *const bf16) -> V {
        // SAFETY: see above.
        unsafe {
            let halves = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(halves))
        }
    }
    #[inline(always)]
    unsafe fn store_half(to: *mut bf16, v: V) {
        // SAFETY: see above.
        unsafe {
            let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(v, v));
            let halves = _mm256_srli_epi32::<16>(round_half(v));
            let halves = _mm256_blendv_epi8(halves, _mm256_set1_epi32(0x7FC0), nan);
            let packed =
                _mm_packus_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves));
            _mm_storeu_si128(to.cast(), packed);
        }
    }
    #[inline(always)]
    unsafe fn load_pairs(from: *const bf16) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store_pairs(to: *mut bf16, p: __m256i) {
        // SAFETY: see above.
        unsafe { _mm256_storeu_si256(to.cast(), p) }
    }
    #[inline(always)]
    unsafe fn stream_pairs(to: *mut bf16, p: __m256i) {
        // SAFETY: see above.
        unsafe { _mm256_stream_si256(to.cast(), p) }
    }
    #[inline(always)]
    unsafe fn splat_pair(from: *const bf16) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn low(p: __m256i) -> V {
        // SAFETY: see above.
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(p)) }
    }
    #[inline(always)]
    unsafe fn high(p: __m256i) -> V {
        // SAFETY: see above.
        unsafe { _mm256_castsi256_ps(_mm256_and_si256(p, _mm256_set1_epi32(0xFFFF_0000_u32 as i32))) }
    }
    #[inline(always)]
    unsafe fn join_positive(low: V, high: V) -> __m256i {
        // SAFETY: see above.
        unsafe {
            let half = _mm256_set1_epi32(0x8000);
            let low = _mm256_srli_epi32::<16>(_mm256_add_epi32(_mm256_castps_si256(low), half));
            _mm256_blend_epi16::<0xAA>(low, _mm256_add_epi32(_mm256_castps_si256(high), half))
        }
    }
    #[inline(always)]
    unsafe fn join(low: V, high: V) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_blend_epi16::<0xAA>(_mm256_srli_epi32::<16>(round_half(low)), round_half(high)) }
    }
}

/// Rounded to bf16, in the upper halves.
#[inline(always)]
unsafe fn round_half(v: V) -> __m256i {
    // SAFETY: AVX2, as for everything here.
    unsafe {
        let bits = _mm256_castps_si256(v);
        let even = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7FFF)), even)
    }
}
