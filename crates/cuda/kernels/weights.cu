/* Adapters merged into weights, sums of squares, fingerprints. */
#include "common.h"

namespace {

/* ---- merge ------------------------------------------------------------------------------------------------------------- */

constexpr int TILE = 64, DEPTH = 16, MERGE_THREADS = 256;

struct Changes {
  adire_change of[ADIRE_MAX_CHANGES];
  int count;
};

/* A tile of 64 × 64 weights; each thread has 4 × 4, 16 apart. The product of a change is whole before it is added: bits do not
 * depend on how ranks are cut. */
template <class W>
__global__ void __launch_bounds__(MERGE_THREADS) merge(const W *pristine, W *effective, int rows, int columns, Changes changes) {
  __shared__ float ups[DEPTH][TILE + 1], downs[DEPTH][TILE + 1];
  int first_row = blockIdx.y * TILE, first_column = blockIdx.x * TILE;
  int ty = threadIdx.x / 16, tx = threadIdx.x % 16;
  float sum[4][4];
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++) {
      int row = first_row + ty + 16 * i, column = first_column + tx + 16 * j;
      sum[i][j] = row < rows && column < columns ? to_float(pristine[int64_t(row) * columns + column]) : 0.0f;
    }
  for (int n = 0; n < changes.count; n++) {
    const adire_change &change = changes.of[n];
    int end = change.first + change.rows;
    if (first_row >= end || first_row + TILE <= change.first) continue; /* the whole block */
    float product[4][4] = {};
    if (change.dense) {
      for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
          int row = first_row + ty + 16 * i, column = first_column + tx + 16 * j;
          if (row >= change.first && row < end && column < columns)
            product[i][j] = change.dense[int64_t(row - change.first) * columns + column];
        }
    } else {
      for (int r = 0; r < change.rank; r += DEPTH) {
        __syncthreads();
        for (int i = threadIdx.x; i < DEPTH * TILE; i += MERGE_THREADS) {
          int at = i / DEPTH, k = r + i % DEPTH, row = first_row + at;
          bool in = k < change.rank && row >= change.first && row < end;
          ups[i % DEPTH][at] = in ? change.up[int64_t(row - change.first) * change.rank + k] : 0.0f;
          at = i % TILE, k = r + i / TILE;
          int column = first_column + at;
          downs[i / TILE][at] = k < change.rank && column < columns ? change.down[int64_t(k) * columns + column] : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < DEPTH; k++)
#pragma unroll
          for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) product[i][j] = fmaf(ups[k][ty + 16 * i], downs[k][tx + 16 * j], product[i][j]);
      }
    }
    for (int i = 0; i < 4; i++) {
      int row = first_row + ty + 16 * i;
      if (row < change.first || row >= end) continue;
      for (int j = 0; j < 4; j++) sum[i][j] = fmaf(change.strength, product[i][j], sum[i][j]);
    }
  }
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++) {
      int row = first_row + ty + 16 * i, column = first_column + tx + 16 * j;
      if (row < rows && column < columns) effective[int64_t(row) * columns + column] = from_float<W>(sum[i][j]);
    }
}

/* ---- sums -------------------------------------------------------------------------------------------------------------- */

constexpr int SUM_BLOCKS = ADIRE_SQUARE_SUM_WORKSPACE / sizeof(double), SUM_THREADS = 256;

/* Sum over the block in a fixed order; thread 0 has it. */
__device__ double block_sum(double value) {
  __shared__ double sums[SUM_THREADS / 32];
  for (int other = 16; other; other >>= 1) value += __shfl_xor_sync(WHOLE_WARP, value, other);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = value;
  __syncthreads();
  double sum = 0.0;
  if (threadIdx.x == 0)
    for (int i = 0; i < SUM_THREADS / 32; i++) sum += sums[i];
  return sum;
}

template <class T> __global__ void __launch_bounds__(SUM_THREADS) square_sums(const T *a, const T *b, int64_t n, double *parts) {
  double sum = 0.0;
  for (int64_t i = int64_t(blockIdx.x) * SUM_THREADS + threadIdx.x; i < n; i += int64_t(SUM_BLOCKS) * SUM_THREADS) {
    double value = double(to_float(a[i])) - (b ? double(to_float(b[i])) : 0.0);
    sum += value * value;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(SUM_THREADS) join_sums(const double *parts, double *to) {
  double sum = 0.0;
  for (int i = threadIdx.x; i < SUM_BLOCKS; i += SUM_THREADS) sum += parts[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *to = sum;
}

/* ---- fingerprint ------------------------------------------------------------------------------------------------------- */

constexpr int PRINT_THREADS = 256;

__device__ __forceinline__ uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

__global__ void __launch_bounds__(PRINT_THREADS)
fingerprint(const uint32_t *words, int64_t n, uint64_t first, unsigned long long *lanes) {
  unsigned long long sums[2] = {0, 0};
  for (int64_t i = int64_t(blockIdx.x) * PRINT_THREADS + threadIdx.x; i < n; i += int64_t(gridDim.x) * PRINT_THREADS) {
    uint64_t start = uint64_t(words[i]) + 0x9E3779B97F4A7C15ull * (first + uint64_t(i) + 1);
    sums[0] += mix(start);
    sums[1] += mix(start + (1ull << 32));
  }
  for (int k = 0; k < 2; k++) {
    for (int other = 16; other; other >>= 1) sums[k] += __shfl_xor_sync(WHOLE_WARP, sums[k], other);
    /* Integers: no order of addition changes them. */
    if (threadIdx.x % 32 == 0) atomicAdd(lanes + k, sums[k]);
  }
}

}  // namespace

extern "C" {

int adire_merge(void *stream, const adire_merge_args *args) {
  const adire_merge_args &a = *args;
  if (a.rows < 1 || a.columns < 1) return invalid("a matrix of %d × %d", a.rows, a.columns);
  if (a.changes < 0 || a.changes > ADIRE_MAX_CHANGES)
    return invalid("%d changes; at most %d at once", a.changes, ADIRE_MAX_CHANGES);
  if (!a.pristine || !a.effective || a.pristine == a.effective) return invalid("weights are merged from one matrix into another");
  if (a.dtype & ~1) return invalid("unknown dtype %d", a.dtype);
  Changes changes = {};
  changes.count = a.changes;
  for (int i = 0; i < a.changes; i++) {
    const adire_change &change = changes.of[i] = a.change[i];
    if (change.first < 0 || change.rows < 1 || int64_t(change.first) + change.rows > a.rows)
      return invalid("a change of rows %d to %d of %d", change.first, change.first + change.rows, a.rows);
    if (!change.dense && (!change.up || !change.down || change.rank < 1))
      return invalid("a change that is neither dense nor of low rank");
  }
  dim3 blocks(unsigned(ceil_div(a.columns, TILE)), unsigned(ceil_div(a.rows, TILE)));
  return by_dtype(a.dtype, [&](auto *of) {
    using W = std::remove_pointer_t<decltype(of)>;
    return launch(stream, blocks, dim3(MERGE_THREADS), 0, merge<W>, static_cast<const W *>(a.pristine),
                  static_cast<W *>(a.effective), a.rows, a.columns, changes);
  });
}

int adire_square_sum(void *stream, const void *a, const void *b, int32_t dtype, uint64_t n, double *sum, adire_workspace workspace) {
  if (!a || !sum) return invalid("nothing to sum");
  if (dtype & ~1) return invalid("unknown dtype %d", dtype);
  ADIRE_TRY(check_workspace(workspace, ADIRE_SQUARE_SUM_WORKSPACE));
  double *parts = static_cast<double *>(workspace.data);
  ADIRE_TRY(by_dtype(dtype, [&](auto *of) {
    using T = std::remove_pointer_t<decltype(of)>;
    return launch(stream, dim3(SUM_BLOCKS), dim3(SUM_THREADS), 0, square_sums<T>, static_cast<const T *>(a),
                  static_cast<const T *>(b), int64_t(n), parts);
  }));
  return launch(stream, dim3(1), dim3(SUM_THREADS), 0, join_sums, parts, sum);
}

int adire_fingerprint(void *stream, const void *data, uint64_t bytes, uint64_t first, uint64_t *lanes) {
  if (bytes == 0) return 0;
  if (!data || !lanes || bytes % 4 || reinterpret_cast<uintptr_t>(data) % 4)
    return invalid("a fingerprint of %llu bytes; whole aligned words of 4 are needed", (unsigned long long)bytes);
  int64_t words = int64_t(bytes / 4), blocks = ceil_div(words, PRINT_THREADS * 8);
  return launch(stream, dim3(unsigned(blocks > 2048 ? 2048 : blocks)), dim3(PRINT_THREADS), 0, fingerprint,
                static_cast<const uint32_t *>(data), words, first, reinterpret_cast<unsigned long long *>(lanes));
}
}
