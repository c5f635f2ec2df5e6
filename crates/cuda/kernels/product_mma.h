/* The tensor-core kernel of products, for f16 operands and any epilogue; instantiated by product_mma_*.cu.
 *
 * A block computes BM pixels × BN columns, a warp WM × WN of them, over k in steps of BK: neighbouring channels of one tap.
 * Pixels' rows and weights' rows go to shared memory in 16-byte chunks, STAGES − 1 steps ahead (cp.async); a row's chunks are
 * permuted so that ldmatrix meets no bank twice. Turing has no cp.async: there the next step waits in registers (two stages).
 *
 * The border of x makes a tap of a 3×3 convolution an offset; nothing is compared with the sides of the image.
 *
 * Gated weights: columns of a tile are taken in eights, values and gates in turn, so that a thread holds value and gate of
 * one output, and multiplies them in registers.
 *
 * Sums: k ascends within mma's own order of 16 (8 on Turing); with split k, `splits` blocks sum neighbouring ranges of k into
 * the workspace, which a second kernel adds in ascending order. No atomics.
 */
#ifndef ADIRE_PRODUCT_MMA_H
#define ADIRE_PRODUCT_MMA_H

#include "mma.h"
#include "product.h"

/* What the host knows beforehand. */
struct Layout {
  int32_t column_tiles;
  int32_t steps_per_tap; /* ⌈inputs / BK⌉ */
  int32_t steps_per_split;
  bool wide_y, wide_residual; /* whether eight channels are stored or read at once */
  float *parts; /* [splits, pixels, outputs], or NULL */
};

/* How a kernel is instantiated. */
template <int BM_, int BN_, int BK_, int WM_, int WN_, int STAGES_> struct Tile {
  static constexpr int BM = BM_, BN = BN_, BK = BK_, WM = WM_, WN = WN_, STAGES = STAGES_;
  static constexpr int WARPS = (BM / WM) * (BN / WN), THREADS = 32 * WARPS;
  static constexpr int CHUNKS = BK / 8; /* of a row */
  static constexpr size_t STAGE = size_t(BM + BN) * BK * sizeof(half);
  /* A warp's 16 rows on the way out; rows a chunk longer against bank conflicts. */
  static constexpr size_t STAGING = size_t(WARPS) * 16 * (WN + 4) * sizeof(float);
  static constexpr size_t shared(bool async) {
    size_t stages = STAGE * (async ? STAGES : 2);
    return stages > STAGING ? stages : STAGING;
  }
  static_assert(BK == 32 || BK == 64, "a row of 64 or 128 bytes");
  static_assert(WM % 16 == 0 && WN % 8 == 0 && BM % WM == 0 && BN % WN == 0, "whole fragments");
  static_assert(BM * CHUNKS % THREADS == 0, "threads share the rows of x");
};

/* Where chunk `chunk` of row `row` lies in a tile with BK channels, in numbers. */
template <int BK> __device__ __forceinline__ int swizzled(int row, int chunk) {
  if constexpr (BK == 64)
    return row * BK + ((chunk ^ (row & 7)) * 8);
  else
    return row * BK + ((chunk ^ ((row >> 1) & 3)) * 8);
}

/* Adds what follows a product to eight neighbouring sums of a pixel and stores them; `bias` points to the image's row. */
__device__ __forceinline__ void finish(const Product &p, const Layout &l, int64_t to, int64_t from, const float *bias, int column,
                                       float *values) {
  bool whole = column + 8 <= p.outputs;
  if (!p.gated) {
#pragma unroll
    for (int i = 0; i < 8; i++) {
      if (bias && column + i < p.outputs) values[i] += bias[column + i];
      values[i] = activate(values[i], p.activation);
    }
  }
  if (p.residual.data) {
    if (whole && l.wide_residual) {
      float others[8];
      if (p.residual.dtype == ADIRE_F16)
        load<8>(static_cast<const half *>(p.residual.data) + from + column, others);
      else
        load<8>(static_cast<const float *>(p.residual.data) + from + column, others);
#pragma unroll
      for (int i = 0; i < 8; i++) values[i] += others[i];
    } else {
#pragma unroll
      for (int i = 0; i < 8; i++)
        if (column + i < p.outputs) values[i] += read_any(p.residual.data, p.residual.dtype, from + column + i);
    }
  }
  if (whole && l.wide_y) {
    if (p.y.dtype == ADIRE_F16)
      store<8>(static_cast<half *>(p.y.data) + to + column, values);
    else
      store<8>(static_cast<float *>(p.y.data) + to + column, values);
  } else {
#pragma unroll
    for (int i = 0; i < 8; i++)
      if (column + i < p.outputs) write_any(p.y.data, p.y.dtype, to + column + i, values[i]);
  }
}

template <class T, bool GATED, bool ASYNC>
__global__ void __launch_bounds__(T::THREADS) mma_kernel(Product p, Layout l) {
  /* Each generation has the one of both that it can run. */
#if !defined(ADIRE_EMULATE) && defined(__CUDA_ARCH__)
  if constexpr (ASYNC != (__CUDA_ARCH__ >= 800)) return;
#endif
  ADIRE_DYNAMIC_SHARED(memory);
  constexpr int BM = T::BM, BN = T::BN, BK = T::BK, STAGES = ASYNC ? T::STAGES : 2, CHUNKS = T::CHUNKS;
  constexpr int MS = T::WM / 16, NS = T::WN / 8; /* fragments of a warp */
  constexpr int XS = BM * CHUNKS / T::THREADS, WS = (BN * CHUNKS + T::THREADS - 1) / T::THREADS; /* chunks of a thread */
  constexpr int ROWS = T::THREADS / CHUNKS; /* rows between a thread's chunks */
  half *stages = reinterpret_cast<half *>(memory);
  int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
  int row_tile = blockIdx.x / l.column_tiles, column_tile = blockIdx.x % l.column_tiles;
  int64_t first_pixel = int64_t(row_tile) * BM;
  int first_column = column_tile * (GATED ? BN / 2 : BN);

  /* What this thread copies: chunk `chunk` of rows thread / CHUNKS, + ROWS, … */
  int chunk = thread % CHUNKS, first_row = thread / CHUNKS;
  const half *x = static_cast<const half *>(p.x.data), *weight = static_cast<const half *>(p.weight);
  int64_t row_length = int64_t(p.taps) * p.inputs;
  int64_t x_at[XS];
  const half *weight_at[WS];
  unsigned x_in = 0, weight_in = 0;
#pragma unroll
  for (int i = 0; i < XS; i++) {
    x_at[i] = 0;
    if (first_pixel + first_row + i * ROWS < p.pixels) x_in |= 1u << i;
  }
#pragma unroll
  for (int i = 0; i < WS; i++) {
    int row = first_row + i * ROWS;
    int output = GATED ? first_column + row / 16 * 8 + row % 8 : first_column + row;
    bool in = row < BN && output < p.outputs;
    if (in) weight_in |= 1u << i;
    if (GATED && (row & 8)) output += p.outputs;
    weight_at[i] = weight + (in ? output : 0) * row_length;
  }
  /* The step that is copied next. */
  int begin = blockIdx.y * l.steps_per_split, steps = p.taps * l.steps_per_tap;
  int end = begin + l.steps_per_split < steps ? begin + l.steps_per_split : steps;
  int next = begin, tap = begin / l.steps_per_tap, in_tap = begin - tap * l.steps_per_tap;
  auto enter_tap = [&]() {
#pragma unroll
    for (int i = 0; i < XS; i++)
      if (x_in >> i & 1) x_at[i] = input_offset(p, first_pixel + first_row + i * ROWS, tap);
  };
  enter_tap();
  auto advance = [&]() {
    ++next;
    if (++in_tap == l.steps_per_tap) {
      in_tap = 0;
      ++tap;
      if (next < end) enter_tap();
    }
  };

  auto copy_step = [&](int stage) {
    half *to_x = stages + stage * (BM + BN) * BK, *to_w = to_x + BM * BK;
    int channel = in_tap * BK + chunk * 8;
    bool in = channel < p.inputs;
#pragma unroll
    for (int i = 0; i < XS; i++)
      copy_16(to_x + swizzled<BK>(first_row + i * ROWS, chunk), x + x_at[i] + (in ? channel : 0), in && (x_in >> i & 1));
    int64_t at = int64_t(tap) * p.inputs + (in ? channel : 0);
#pragma unroll
    for (int i = 0; i < WS; i++)
      if (BN * CHUNKS % T::THREADS == 0 || first_row + i * ROWS < BN)
        copy_16(to_w + swizzled<BK>(first_row + i * ROWS, chunk), weight_at[i] + at, in && (weight_in >> i & 1));
  };
  /* The same by way of registers. */
  uint4 held_x[ASYNC ? 1 : XS], held_w[ASYNC ? 1 : WS];
  auto fetch_step = [&]() {
    if constexpr (!ASYNC) {
      int channel = in_tap * BK + chunk * 8;
      bool in = channel < p.inputs;
      uint4 zero = make_uint4(0, 0, 0, 0);
#pragma unroll
      for (int i = 0; i < XS; i++)
        held_x[i] = in && (x_in >> i & 1) ? *reinterpret_cast<const uint4 *>(x + x_at[i] + channel) : zero;
      int64_t at = int64_t(tap) * p.inputs + channel;
#pragma unroll
      for (int i = 0; i < WS; i++)
        held_w[i] = in && (weight_in >> i & 1) ? *reinterpret_cast<const uint4 *>(weight_at[i] + at) : zero;
    }
  };
  auto keep_step = [&](int stage) {
    if constexpr (!ASYNC) {
      half *to_x = stages + stage * (BM + BN) * BK, *to_w = to_x + BM * BK;
#pragma unroll
      for (int i = 0; i < XS; i++)
        *reinterpret_cast<uint4 *>(to_x + swizzled<BK>(first_row + i * ROWS, chunk)) = held_x[i];
#pragma unroll
      for (int i = 0; i < WS; i++)
        if (BN * CHUNKS % T::THREADS == 0 || first_row + i * ROWS < BN)
          *reinterpret_cast<uint4 *>(to_w + swizzled<BK>(first_row + i * ROWS, chunk)) = held_w[i];
    }
  };

  float sums[MS][NS][4];
#pragma unroll
  for (int m = 0; m < MS; m++)
#pragma unroll
    for (int n = 0; n < NS; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) sums[m][n][i] = 0.0f;

  int warp_row = warp / (BN / T::WN) * T::WM, warp_column = warp % (BN / T::WN) * T::WN;
  auto multiply = [&](int stage) {
    const half *from_x = stages + stage * (BM + BN) * BK, *from_w = from_x + BM * BK;
#pragma unroll
    for (int k = 0; k < CHUNKS; k += 2) {
      uint32_t a[MS][4], b[(NS + 1) / 2][4];
#pragma unroll
      for (int m = 0; m < MS; m++)
        load_matrices<false>(a[m], from_x + swizzled<BK>(warp_row + m * 16 + lane % 16, k + lane / 16));
#pragma unroll
      for (int n = 0; n < (NS + 1) / 2; n++) {
        int row = warp_column + n * 16 + lane / 16 * 8 + lane % 8;
        /* An odd number of fragments: the last pair's second half is read within the tile and left unused. */
        if (NS % 2 && n == NS / 2) row = warp_column + n * 16 + lane % 8;
        load_matrices<false>(b[n], from_w + swizzled<BK>(row, k + lane / 8 % 2));
      }
#pragma unroll
      for (int m = 0; m < MS; m++)
#pragma unroll
        for (int n = 0; n < NS; n++) mma(sums[m][n], a[m], b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
    }
  };

  if constexpr (ASYNC) {
#pragma unroll
    for (int i = 0; i < STAGES - 1; i++) {
      if (next < end) {
        copy_step(i);
        advance();
      }
      copies_commit();
    }
    int stage = 0, free_stage = STAGES - 1;
    for (int step = begin; step < end; step++) {
      copies_wait<STAGES - 2>();
      __syncthreads();
      if (next < end) {
        copy_step(free_stage);
        advance();
      }
      copies_commit();
      multiply(stage);
      stage = stage + 1 == STAGES ? 0 : stage + 1;
      free_stage = free_stage + 1 == STAGES ? 0 : free_stage + 1;
    }
    copies_wait<0>();
  } else {
    fetch_step();
    advance();
    keep_step(0);
    int stage = 0;
    for (int step = begin; step < end; step++) {
      __syncthreads();
      bool more = next < end;
      if (more) {
        fetch_step();
        advance();
      }
      multiply(stage);
      stage ^= 1;
      if (more) keep_step(stage);
    }
  }
  __syncthreads();

  /* Out, 16 rows of a warp at a time, by way of shared memory: a lane then has eight neighbouring columns. */
  constexpr int OUT = GATED ? T::WN / 2 : T::WN, LINE = OUT + 4;
  float *staging = reinterpret_cast<float *>(memory) + warp * 16 * LINE;
  int out_column = first_column + (GATED ? warp_column / 2 : warp_column);
  int g = lane / 4, t = lane % 4;
#pragma unroll
  for (int m = 0; m < MS; m++) {
#pragma unroll
    for (int n = 0; n < (GATED ? NS / 2 : NS); n++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        int column = n * 8 + 2 * t + i % 2;
        float value = sums[m][GATED ? 2 * n : n][i];
        if (GATED) {
          float gate = sums[m][2 * n + 1 < NS ? 2 * n + 1 : 0][i];
          if (p.bias && out_column + column < p.outputs) {
            value += p.bias[out_column + column];
            gate += p.bias[p.outputs + out_column + column];
          }
          value *= gelu(gate);
        }
        staging[(g + i / 2 * 8) * LINE + column] = value;
      }
    __syncwarp();
    for (int item = lane; item < 16 * (OUT / 8); item += 32) {
      int row = item / (OUT / 8), part = item % (OUT / 8) * 8, column = out_column + part;
      int64_t pixel = first_pixel + warp_row + m * 16 + row;
      if (pixel < p.pixels && column < p.outputs) {
        float values[8];
        load<8>(staging + row * LINE + part, values);
        if (l.parts) {
          float *to = l.parts + (int64_t(blockIdx.y) * p.pixels + pixel) * p.outputs + column;
          for (int i = 0; i < 8; i++)
            if (column + i < p.outputs) to[i] = values[i];
        } else {
          const float *bias = p.bias ? p.bias + (p.bias_stride ? place_of(p.y, pixel).image * p.bias_stride : 0) : nullptr;
          finish(p, l, pixel_offset(p.y, pixel), p.residual.data ? pixel_offset(p.residual, pixel) : 0, bias, column, values);
        }
      }
    }
    __syncwarp();
  }
}

/* What the table of algorithms holds. */
struct Algorithm {
  const char *name;
  int bm, bn, bk, stages, threads, splits;
  int (*go)(void *stream, const Product &p, const Algorithm &algorithm, const Layout &layout);
};

template <class T> int run_tile(void *stream, const Product &p, const Algorithm &algorithm, const Layout &layout) {
  int64_t rows = ceil_div(p.pixels, T::BM);
  dim3 blocks(unsigned(rows * layout.column_tiles), unsigned(algorithm.splits));
  bool async = generation_of_device() >= 80;
  /* Without cp.async the largest tile does not fit the registers. */
  constexpr bool TURING = T::BM < 256;
  if (!TURING && !async) return invalid("%s is not for Turing", algorithm.name);
  auto go = [&](auto kernel) { return launch(stream, blocks, dim3(T::THREADS), T::shared(async), kernel, p, layout); };
  if constexpr (T::WN % 16 == 0) {
    if (p.gated) return async ? go(mma_kernel<T, true, true>) : go(mma_kernel<T, true, !TURING>);
  }
  return async ? go(mma_kernel<T, false, true>) : go(mma_kernel<T, false, !TURING>);
}

/* Each in a file of its own: nvcc takes its time. */
int run_128x128(void *, const Product &, const Algorithm &, const Layout &);
int run_128x64(void *, const Product &, const Algorithm &, const Layout &);
int run_64x64(void *, const Product &, const Algorithm &, const Layout &);
int run_128x160(void *, const Product &, const Algorithm &, const Layout &);
int run_64x160(void *, const Product &, const Algorithm &, const Layout &);
int run_256x128(void *, const Product &, const Algorithm &, const Layout &);

#endif
