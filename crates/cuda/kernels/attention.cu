/* Attention, the plain kernel: softmax(q·kᵀ/√d)·v without ever writing the scores, for every type and d up to 512.
 *
 * A block has 16 queries of one head and walks over the keys in tiles of 64, with a running maximum and sum (Milakov and
 * Gimelshein 2018). Thread (i, j) of 16 × 16 has scores of query i with keys j, j+16, …, and channels j, j+16, … of its result.
 */
#include "attention.h"

namespace {

constexpr int THREADS = 256, QUERIES = 16, KEYS = 64, SLICE = 32;

__device__ __forceinline__ float half_warp_max(float x) {
  for (int other = 8; other; other >>= 1) x = fmaxf(x, __shfl_xor_sync(WHOLE_WARP, x, other));
  return x;
}
__device__ __forceinline__ float half_warp_sum(float x) {
  for (int other = 8; other; other >>= 1) x += __shfl_xor_sync(WHOLE_WARP, x, other);
  return x;
}

/* CHANNELS: most of a head. */
template <class T, int CHANNELS> __global__ void __launch_bounds__(THREADS) plain_attention(AttentionArgs a) {
  __shared__ float qs[QUERIES][SLICE + 1], ks[KEYS][SLICE + 1], ps[QUERIES][KEYS + 1];
  constexpr int OWN = CHANNELS / 16;
  int i = threadIdx.x / 16, j = threadIdx.x % 16, head = blockIdx.y, image = blockIdx.z, d = a.depth;
  int first = blockIdx.x * QUERIES, query = first + i;
  const T *q = static_cast<const T *>(a.q.data) + image * a.q.image_stride + head * d;
  const T *k = static_cast<const T *>(a.k.data) + image * a.k.image_stride + head * d;
  const T *v = static_cast<const T *>(a.v.data) + image * a.v.image_stride + head * d;
  /* 2ˣ is cheaper than eˣ. */
  float scale = 1.4426950408889634f / sqrtf(float(d));
  float out[OWN] = {}, most = -INFINITY, sum = 0.0f;
  int last = first + QUERIES < a.queries ? first + QUERIES : a.queries;
  int keys = a.causal && last < a.keys ? last : a.keys;
  for (int start = 0; start < keys; start += KEYS) {
    float scores[4] = {};
    for (int c = 0; c < d; c += SLICE) {
      __syncthreads();
      for (int at = threadIdx.x; at < (QUERIES + KEYS) * SLICE; at += THREADS) {
        int row = at / SLICE, channel = c + at % SLICE;
        if (row < QUERIES) {
          bool in = first + row < a.queries && channel < d;
          qs[row][at % SLICE] = in ? to_float(q[token_offset(a.q, first + row) + channel]) : 0.0f;
        } else {
          row -= QUERIES;
          bool in = start + row < keys && channel < d;
          ks[row][at % SLICE] = in ? to_float(k[token_offset(a.k, start + row) + channel]) : 0.0f;
        }
      }
      __syncthreads();
#pragma unroll 8
      for (int x = 0; x < SLICE; x++)
#pragma unroll
        for (int n = 0; n < 4; n++) scores[n] = fmaf(qs[i][x], ks[j + 16 * n][x], scores[n]);
    }
    float tile_most = -INFINITY;
#pragma unroll
    for (int n = 0; n < 4; n++) {
      int key = start + j + 16 * n;
      bool seen = key < keys && (!a.causal || key <= query);
      scores[n] = seen ? scores[n] * scale : -INFINITY;
      tile_most = fmaxf(tile_most, scores[n]);
    }
    float now = fmaxf(most, half_warp_max(tile_most));
    /* Before any key is seen both are −∞. */
    float shift = now == -INFINITY ? 0.0f : now, factor = exp2f(most - shift), tile_sum = 0.0f;
#pragma unroll
    for (int n = 0; n < 4; n++) {
      float p = exp2f(scores[n] - shift);
      tile_sum += p;
      ps[i][j + 16 * n] = p;
    }
    sum = sum * factor + half_warp_sum(tile_sum);
    most = now;
#pragma unroll
    for (int n = 0; n < OWN; n++) out[n] *= factor;
#pragma unroll
    for (int c = 0; c < CHANNELS / SLICE; c++) {
      if (c * SLICE < d) { /* the whole block; no way out of the loop, so that results stay in registers */
        __syncthreads();
        for (int at = threadIdx.x; at < KEYS * SLICE; at += THREADS) {
          int row = at / SLICE, channel = c * SLICE + at % SLICE;
          bool in = start + row < keys && channel < d;
          ks[row][at % SLICE] = in ? to_float(v[token_offset(a.v, start + row) + channel]) : 0.0f;
        }
        __syncthreads();
#pragma unroll 8
        for (int key = 0; key < KEYS; key++) {
          float p = ps[i][key];
          out[2 * c] = fmaf(p, ks[key][j], out[2 * c]);
          out[2 * c + 1] = fmaf(p, ks[key][j + 16], out[2 * c + 1]);
        }
      }
    }
  }
  if (query >= a.queries) return;
  T *y = static_cast<T *>(a.y.data) + image * a.y.image_stride + head * d + token_offset(a.y, query);
#pragma unroll
  for (int n = 0; n < OWN; n++)
    if (j + 16 * n < d) y[j + 16 * n] = from_float<T>(out[n] / sum);
}

template <class T> int plain(void *stream, const AttentionArgs &a) {
  dim3 blocks(unsigned(ceil_div(a.queries, QUERIES)), a.heads, a.q.images);
  auto kernel = a.depth <= 64 ? plain_attention<T, 64> : a.depth <= 160 ? plain_attention<T, 160> : plain_attention<T, 512>;
  return launch(stream, blocks, dim3(THREADS), 0, kernel, a);
}

}  // namespace

extern "C" int adire_attention(void *stream, const adire_attention_args *args) {
  const adire_attention_args &given = *args;
  ADIRE_TRY(check_view(given.q, "q"));
  ADIRE_TRY(check_view(given.k, "k"));
  ADIRE_TRY(check_view(given.v, "v"));
  ADIRE_TRY(check_view(given.y, "y"));
  AttentionArgs a = {};
  a.q = given.q, a.k = given.k, a.v = given.v, a.y = given.y;
  a.queries = given.q.height * given.q.width, a.keys = given.k.height * given.k.width;
  a.heads = given.heads, a.causal = given.causal;
  if (a.heads < 1 || a.q.channels % a.heads) return invalid("%d heads do not share %d channels", a.heads, a.q.channels);
  a.depth = a.q.channels / a.heads;
  if (a.depth > 512) return invalid("heads of %d channels; at most 512", a.depth);
  if (a.k.channels != a.q.channels || a.v.channels != a.q.channels || a.y.channels != a.q.channels)
    return invalid("q, k, v and y have the same channels");
  if (a.k.images != a.q.images || a.v.images != a.q.images || a.y.images != a.q.images)
    return invalid("q, k, v and y have the same images");
  if (a.v.height * a.v.width != a.keys || a.y.height * a.y.width != a.queries)
    return invalid("keys and values, and queries and results, have the same number");
  if (a.k.dtype != a.q.dtype || a.v.dtype != a.q.dtype || a.y.dtype != a.q.dtype)
    return invalid("q, k, v and y have one type");
  bool cores = fits_mma(a);
  if (given.algorithm == ADIRE_ATTENTION_MMA && !cores)
    return invalid("attention by tensor cores takes f16, and d a multiple of 8, of aligned views");
  if (given.algorithm != ADIRE_PLAIN && cores) return mma_attention(stream, a);
  return by_dtype(a.q.dtype, [&](auto *t) { return plain<std::remove_pointer_t<decltype(t)>>(stream, a); });
}
