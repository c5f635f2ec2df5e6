/* Attention by tensor cores for wide heads, f16, d a multiple of 8 up to 512: the one of the VAE.
 *
 * As attention_mma.cu, but neither queries nor results of 512 channels fit the registers. A warp's queries stay in shared memory, keys
 * pass by in slices of 64 channels, and a block makes 128 channels of the result: the scores are computed again for each of
 * them (four times for d = 512), which costs 2.5 times the arithmetic and no memory. Slices of keys and values take turns in two
 * places of 64 × 64.
 */
#include "attention.h"
#include "mma.h"

namespace {

constexpr int WARPS = 2, THREADS = 32 * WARPS, QUERIES = 16 * WARPS, KEYS = 64, SLICE = 64, LINE = SLICE + 8, SLAB = 128;

__global__ void __launch_bounds__(THREADS) wide_attention(AttentionArgs a, int slabs) {
  constexpr int TILES = KEYS / 8, OUT = SLICE / 8;
  ADIRE_DYNAMIC_SHARED(memory);
  int thread = threadIdx.x, warp = thread / 32, lane = thread % 32, g = lane / 4, t = lane % 4;
  int head = blockIdx.y / slabs, slab = blockIdx.y % slabs * SLAB, image = blockIdx.z, d = a.depth;
  int first = blockIdx.x * QUERIES, slices = (d + SLICE - 1) / SLICE, line = slices * SLICE + 8;
  half *qs = reinterpret_cast<half *>(memory), *places = qs + QUERIES * line;
  const half *q = static_cast<const half *>(a.q.data) + image * a.q.image_stride + head * d;
  const half *k = static_cast<const half *>(a.k.data) + image * a.k.image_stride + head * d;
  const half *v = static_cast<const half *>(a.v.data) + image * a.v.image_stride + head * d;
  int last = first + QUERIES < a.queries ? first + QUERIES : a.queries;
  int keys = a.causal && last < a.keys ? last : a.keys;

  for (int i = thread; i < QUERIES * slices * 8; i += THREADS) {
    int row = i / (slices * 8), chunk = i % (slices * 8) * 8;
    bool in = first + row < a.queries && chunk < d;
    copy_16(qs + row * line + chunk, q + (in ? token_offset(a.q, first + row) + chunk : 0), in);
  }
  /* Per tile of keys: all slices of the keys, then the slab's two of the values. */
  int per_tile = slices + SLAB / SLICE, items = (keys + KEYS - 1) / KEYS * per_tile;
  auto copy_item = [&](int item) {
    int start = item / per_tile * KEYS, slice = item % per_tile;
    bool of_keys = slice < slices;
    const adire_view &view = of_keys ? a.k : a.v;
    const half *from = of_keys ? k : v;
    int channel = of_keys ? slice * SLICE : slab + (slice - slices) * SLICE;
    half *to = places + item % 2 * KEYS * LINE;
    for (int i = thread; i < KEYS * (SLICE / 8); i += THREADS) {
      int row = i / (SLICE / 8), chunk = i % (SLICE / 8) * 8;
      bool in = start + row < keys && channel + chunk < d;
      copy_16(to + row * LINE + chunk, from + (in ? token_offset(view, start + row) + channel + chunk : 0), in);
    }
  };
  copy_item(0);
  copies_commit();

  float out[2][OUT][4], scores[TILES][4], most[2] = {-INFINITY, -INFINITY}, sum[2] = {0.0f, 0.0f};
  uint32_t weights[TILES][2];
#pragma unroll
  for (int n = 0; n < OUT; n++)
#pragma unroll
    for (int i = 0; i < 4; i++) out[0][n][i] = out[1][n][i] = scores[n][i] = 0.0f;
#pragma unroll
  for (int n = 0; n < TILES; n++) weights[n][0] = weights[n][1] = 0;
  float scale = 1.4426950408889634f / sqrtf(float(d));
  int query = first + warp * 16 + g; /* and 8 on */

  auto multiply_values = [&](float (&to)[OUT][4], const half *vs) {
#pragma unroll
    for (int s = 0; s < KEYS / 16; s++) {
      uint32_t p[4] = {weights[2 * s][0], weights[2 * s][1], weights[2 * s + 1][0], weights[2 * s + 1][1]};
#pragma unroll
      for (int n = 0; n < OUT / 2; n++) {
        uint32_t b[4];
        load_matrices<true>(b, vs + (s * 16 + lane % 16) * LINE + n * 16 + lane / 16 * 8);
        mma(to[2 * n], p, b[0], b[1]);
        mma(to[2 * n + 1], p, b[2], b[3]);
      }
    }
  };

  for (int item = 0; item < items; item++) {
    copies_wait<0>();
    __syncthreads();
    if (item + 1 < items) copy_item(item + 1);
    copies_commit();
    const half *from = places + item % 2 * KEYS * LINE;
    int start = item / per_tile * KEYS, slice = item % per_tile;
    if (slice >= slices) {
      if (slice == slices)
        multiply_values(out[0], from);
      else
        multiply_values(out[1], from);
      continue;
    }
#pragma unroll
    for (int s = 0; s < SLICE / 16; s++) {
      uint32_t p[4];
      load_matrices<false>(p, qs + (warp * 16 + lane % 16) * line + slice * SLICE + s * 16 + lane / 16 * 8);
#pragma unroll
      for (int n = 0; n < TILES / 2; n++) {
        uint32_t b[4];
        load_matrices<false>(b, from + (n * 16 + lane / 16 * 8 + lane % 8) * LINE + s * 16 + lane / 8 % 2 * 8);
        mma(scores[2 * n], p, b[0], b[1]);
        mma(scores[2 * n + 1], p, b[2], b[3]);
      }
    }
    if (slice + 1 < slices) continue;
    /* All channels are in: as in attention_mma.cu. */
    float tile_most[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int n = 0; n < TILES; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        int key = start + n * 8 + 2 * t + i % 2;
        bool seen = key < keys && (!a.causal || key <= query + i / 2 * 8);
        scores[n][i] = seen ? scores[n][i] * scale : -INFINITY;
        tile_most[i / 2] = fmaxf(tile_most[i / 2], scores[n][i]);
      }
    float shift[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float x = tile_most[r];
      x = fmaxf(x, __shfl_xor_sync(WHOLE_WARP, x, 1));
      x = fmaxf(x, __shfl_xor_sync(WHOLE_WARP, x, 2));
      x = fmaxf(x, most[r]);
      shift[r] = x == -INFINITY ? 0.0f : x;
      float factor = exp2f(most[r] - shift[r]);
      most[r] = x;
      sum[r] *= factor;
#pragma unroll
      for (int n = 0; n < OUT; n++) {
        out[0][n][2 * r] *= factor, out[0][n][2 * r + 1] *= factor;
        out[1][n][2 * r] *= factor, out[1][n][2 * r + 1] *= factor;
      }
    }
#pragma unroll
    for (int n = 0; n < TILES; n++) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
        scores[n][i] = exp2f(scores[n][i] - shift[i / 2]);
        sum[i / 2] += scores[n][i];
      }
      weights[n][0] = pack(scores[n][0], scores[n][1]);
      weights[n][1] = pack(scores[n][2], scores[n][3]);
#pragma unroll
      for (int i = 0; i < 4; i++) scores[n][i] = 0.0f;
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
      for (int n = 0; n < 2 * OUT; n++) {
        int channel = slab + n * 8;
        float *from = out[n / OUT][n % OUT] + 2 * r;
        if (channel < d) *reinterpret_cast<uint32_t *>(to + channel + 2 * t) = pack(from[0] / x, from[1] / x);
      }
    }
  }
}

}  // namespace

int wide_mma_attention(void *stream, const AttentionArgs &a) {
  int slices = int(ceil_div(a.depth, SLICE)), slabs = int(ceil_div(a.depth, SLAB));
  size_t shared = (size_t(QUERIES) * (slices * SLICE + 8) + 2 * KEYS * LINE) * sizeof(half);
  dim3 blocks(unsigned(ceil_div(a.queries, QUERIES)), unsigned(a.heads * slabs), a.q.images);
  return launch(stream, blocks, dim3(THREADS), shared, wide_attention, a, slabs);
}
