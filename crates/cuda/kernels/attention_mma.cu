/* Attention by tensor cores, f16, d a multiple of 8 up to 160: softmax(q·kᵀ/√d)·v as FlashAttention-2 (Dao 2023) does it.
 *
 * A warp has 16 queries, held as fragments; a block of 4 warps walks over the keys in tiles of 64. Scores are f32 fragments; the
 * weights 2^(score − maximum), rounded to f16, are the next product's fragments as they lie. Sums of weights are f32 and
 * unrounded. d is filled up with zeros to a multiple of 16 for q·kᵀ, and not at all for weights·v: d = 40 costs 48 and 40.
 *
 * Keys are copied while values are multiplied, and the other way round. Rows in shared memory are 16 bytes longer than an even
 * number of chunks, so that ldmatrix meets no bank twice.
 */
#include "attention.h"
#include "mma.h"

namespace {

constexpr int WARPS = 4, THREADS = 32 * WARPS, QUERIES = 16 * WARPS, KEYS = 64;

/* D: channels of a head, of which `depth` are there. */
template <int D> struct Shape {
  static constexpr int PADDED = (D + 15) / 16 * 16, LINE = PADDED + 8;
  static constexpr size_t SHARED = size_t(2) * KEYS * LINE * sizeof(half);
  static_assert(D % 8 == 0, "whole fragments");
};

/* 64 tokens of a head to shared memory, those from `limit` on and channels from `depth` on as zeros. */
template <int LINE, int CHUNKS>
__device__ __forceinline__ void copy_rows(half *to, const half *from, const adire_view &view, int start, int limit, int depth) {
  for (int i = threadIdx.x; i < KEYS * CHUNKS; i += THREADS) {
    int row = i / CHUNKS, chunk = i % CHUNKS * 8;
    bool in = start + row < limit && chunk < depth;
    copy_16(to + row * LINE + chunk, from + (in ? token_offset(view, start + row) + chunk : 0), in);
  }
}

template <int D> __global__ void __launch_bounds__(THREADS) attention_kernel(AttentionArgs a) {
  using S = Shape<D>;
  constexpr int LINE = S::LINE, STEPS = S::PADDED / 16, CHUNKS = S::PADDED / 8, OUT = D / 8, TILES = KEYS / 8;
  ADIRE_DYNAMIC_SHARED(memory);
  half *ks = reinterpret_cast<half *>(memory), *vs = ks + KEYS * LINE;
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  int head = blockIdx.y, image = blockIdx.z, d = a.depth, first = blockIdx.x * QUERIES;
  const half *q = static_cast<const half *>(a.q.data) + image * a.q.image_stride + head * d;
  const half *k = static_cast<const half *>(a.k.data) + image * a.k.image_stride + head * d;
  const half *v = static_cast<const half *>(a.v.data) + image * a.v.image_stride + head * d;
  int last = first + QUERIES < a.queries ? first + QUERIES : a.queries;
  int keys = a.causal && last < a.keys ? last : a.keys;

  static_assert(QUERIES == KEYS, "queries pass through the memory of the keys");

  /* Queries to fragments. */
  uint32_t qs[STEPS][4];
  copy_rows<LINE, CHUNKS>(ks, q, a.q, first, a.queries, d);
  copies_commit();
  copies_wait<0>();
  __syncthreads();
#pragma unroll
  for (int s = 0; s < STEPS; s++)
    load_matrices<false>(qs[s], ks + (warp * 16 + lane % 16) * LINE + s * 16 + lane / 16 * 8);
  __syncthreads();
  copy_rows<LINE, CHUNKS>(ks, k, a.k, 0, keys, d);
  copies_commit();

  float out[OUT][4], most[2] = {-INFINITY, -INFINITY}, sum[2] = {0.0f, 0.0f};
#pragma unroll
  for (int n = 0; n < OUT; n++)
#pragma unroll
    for (int i = 0; i < 4; i++) out[n][i] = 0.0f;
  float scale = 1.4426950408889634f / sqrtf(float(d));
  int query = first + warp * 16 + g; /* and 8 on */

  for (int start = 0; start < keys; start += KEYS) {
    copies_wait<0>();
    __syncthreads();
    copy_rows<LINE, CHUNKS>(vs, v, a.v, start, keys, d);
    copies_commit();
    float scores[TILES][4];
#pragma unroll
    for (int n = 0; n < TILES; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) scores[n][i] = 0.0f;
#pragma unroll
    for (int s = 0; s < STEPS; s++)
#pragma unroll
      for (int n = 0; n < TILES / 2; n++) {
        uint32_t b[4];
        load_matrices<false>(b, ks + (n * 16 + lane / 16 * 8 + lane % 8) * LINE + s * 16 + lane / 8 % 2 * 8);
        mma(scores[2 * n], qs[s], b[0], b[1]);
        mma(scores[2 * n + 1], qs[s], b[2], b[3]);
      }
    /* Rows g and g + 8; four lanes share a row. */
    bool whole = start + KEYS <= keys && (!a.causal || start + KEYS <= first + warp * 16 + 1);
    float tile_most[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int n = 0; n < TILES; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        int key = start + n * 8 + 2 * t + i % 2;
        bool seen = whole || (key < keys && (!a.causal || key <= query + i / 2 * 8));
        scores[n][i] = seen ? scores[n][i] * scale : -INFINITY;
        tile_most[i / 2] = fmaxf(tile_most[i / 2], scores[n][i]);
      }
    float shift[2], tile_sum[2] = {0.0f, 0.0f};
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float x = tile_most[r];
      x = fmaxf(x, __shfl_xor_sync(WHOLE_WARP, x, 1));
      x = fmaxf(x, __shfl_xor_sync(WHOLE_WARP, x, 2));
      x = fmaxf(x, most[r]);
      /* Rows that have seen no key yet, or lie behind the last query. */
      shift[r] = x == -INFINITY ? 0.0f : x;
      float factor = exp2f(most[r] - shift[r]);
      most[r] = x;
      sum[r] *= factor;
#pragma unroll
      for (int n = 0; n < OUT; n++) out[n][2 * r] *= factor, out[n][2 * r + 1] *= factor;
    }
    uint32_t weights[TILES][2];
#pragma unroll
    for (int n = 0; n < TILES; n++) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
        scores[n][i] = exp2f(scores[n][i] - shift[i / 2]);
        tile_sum[i / 2] += scores[n][i];
      }
      weights[n][0] = pack(scores[n][0], scores[n][1]);
      weights[n][1] = pack(scores[n][2], scores[n][3]);
    }
    sum[0] += tile_sum[0], sum[1] += tile_sum[1]; /* of this lane; joined at the end */
    copies_wait<0>();
    __syncthreads();
    if (start + KEYS < keys) copy_rows<LINE, CHUNKS>(ks, k, a.k, start + KEYS, keys, d);
    copies_commit();
#pragma unroll
    for (int s = 0; s < KEYS / 16; s++) {
      uint32_t p[4] = {weights[2 * s][0], weights[2 * s][1], weights[2 * s + 1][0], weights[2 * s + 1][1]};
#pragma unroll
      for (int n = 0; n < (OUT + 1) / 2; n++) {
        uint32_t b[4];
        /* Keys are the rows of v: transposed. The last of an odd number reads its own channels twice. */
        int channel = n * 16 + (2 * n + 1 < OUT ? lane / 16 * 8 : 0);
        load_matrices<true>(b, vs + (s * 16 + lane % 16) * LINE + channel);
        mma(out[2 * n], p, b[0], b[1]);
        if (2 * n + 1 < OUT) mma(out[2 * n + 1 < OUT ? 2 * n + 1 : 0], p, b[2], b[3]);
      }
    }
  }
  copies_wait<0>();
  half *y = static_cast<half *>(a.y.data) + image * a.y.image_stride + head * d;
#pragma unroll
  for (int r = 0; r < 2; r++) {
    float x = sum[r];
    x += __shfl_xor_sync(WHOLE_WARP, x, 1);
    x += __shfl_xor_sync(WHOLE_WARP, x, 2);
    int row = query + 8 * r;
    if (row < a.queries) {
      half *to = y + token_offset(a.y, row);
#pragma unroll
      for (int n = 0; n < OUT; n++)
        if (n * 8 < d)
          *reinterpret_cast<uint32_t *>(to + n * 8 + 2 * t) = pack(out[n][2 * r] / x, out[n][2 * r + 1] / x);
    }
  }
}

template <int D> int go(void *stream, const AttentionArgs &a) {
  dim3 blocks(unsigned(ceil_div(a.queries, QUERIES)), a.heads, a.q.images);
  return launch(stream, blocks, dim3(THREADS), Shape<D>::SHARED, attention_kernel<D>, a);
}

}  // namespace

bool fits_mma(const AttentionArgs &a) {
  return a.q.dtype == ADIRE_F16 && a.depth % 8 == 0 && a.depth <= 512 && by_eight(a.q) && by_eight(a.k) && by_eight(a.v) &&
         by_eight(a.y) && generation_of_device() >= 75;
}

int mma_attention(void *stream, const AttentionArgs &a) {
  if (a.depth <= 40) return go<40>(stream, a);
  if (a.depth <= 64) return go<64>(stream, a);
  if (a.depth <= 80) return go<80>(stream, a);
  if (a.depth <= 160) return go<160>(stream, a);
  return wide_mma_attention(stream, a);
}
