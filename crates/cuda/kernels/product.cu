/* Linear layers and 3×3 convolutions: arguments, choice of algorithm, and the plain kernel, which takes every shape and type.
 *
 * The plain kernel sums in f32 in ascending order of taps and channels: 64 pixels × 64 outputs a block, 4 × 4 a thread.
 */
#include "product.h"

namespace {

constexpr int TILE = 64, DEPTH = 16, THREADS = 256;

template <class X, class W, bool GATED> __global__ void __launch_bounds__(THREADS) plain_product(Product p) {
  constexpr int HALVES = GATED ? 2 : 1;
  __shared__ float xs[DEPTH][TILE + 1], ws[HALVES][DEPTH][TILE + 1];
  __shared__ int64_t offsets[TILE];
  int64_t first_pixel = int64_t(blockIdx.x) * TILE;
  int first_output = blockIdx.y * TILE, ty = threadIdx.x / 16, tx = threadIdx.x % 16;
  const X *x = static_cast<const X *>(p.x.data);
  const W *weight = static_cast<const W *>(p.weight);
  int64_t row_length = int64_t(p.taps) * p.inputs;
  float sum[HALVES][4][4] = {};
  for (int tap = 0; tap < p.taps; tap++) {
    __syncthreads();
    if (threadIdx.x < TILE) {
      int64_t pixel = first_pixel + threadIdx.x;
      offsets[threadIdx.x] = pixel < p.pixels ? input_offset(p, pixel, tap) : 0;
    }
    for (int k = 0; k < p.inputs; k += DEPTH) {
      __syncthreads();
      for (int i = threadIdx.x; i < TILE * DEPTH; i += THREADS) {
        int row = i / DEPTH, channel = k + i % DEPTH;
        bool in = channel < p.inputs && first_pixel + row < p.pixels;
        xs[i % DEPTH][row] = in ? to_float(x[offsets[row] + channel]) : 0.0f;
        for (int h = 0; h < HALVES; h++) {
          int output = first_output + row;
          in = channel < p.inputs && output < p.outputs;
          int64_t at = (int64_t(h) * p.outputs + output) * row_length + int64_t(tap) * p.inputs + channel;
          ws[h][i % DEPTH][row] = in ? to_float(weight[at]) : 0.0f;
        }
      }
      __syncthreads();
#pragma unroll
      for (int d = 0; d < DEPTH; d++)
#pragma unroll
        for (int h = 0; h < HALVES; h++)
#pragma unroll
          for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) sum[h][i][j] = fmaf(xs[d][ty + 16 * i], ws[h][d][tx + 16 * j], sum[h][i][j]);
    }
  }
  /* Unrolled without a way out: sums stay in registers. */
#pragma unroll
  for (int i = 0; i < 4; i++) {
    int64_t pixel = first_pixel + ty + 16 * i;
    bool in = pixel < p.pixels;
    int image = in ? place_of(p.y, pixel).image : 0;
    const float *bias = p.bias ? p.bias + image * p.bias_stride : nullptr;
    int64_t to = in ? pixel_offset(p.y, pixel) : 0, from = in && p.residual.data ? pixel_offset(p.residual, pixel) : 0;
#pragma unroll
    for (int j = 0; j < 4; j++) {
      int output = first_output + tx + 16 * j;
      if (in && output < p.outputs) {
        float value = sum[0][i][j];
        if (bias) value += bias[output];
        if (GATED) {
          float gate = sum[HALVES - 1][i][j];
          if (bias) gate += bias[p.outputs + output];
          value *= gelu(gate);
        } else {
          value = activate(value, p.activation);
        }
        if (p.residual.data) value += read_any(p.residual.data, p.residual.dtype, from + output);
        write_any(p.y.data, p.y.dtype, to + output, value);
      }
    }
  }
}

int plain(void *stream, const Product &p) {
  dim3 blocks(unsigned(ceil_div(p.pixels, TILE)), unsigned(ceil_div(p.outputs, TILE)));
  return by_dtype(p.x.dtype, [&](auto *x) {
    return by_dtype(p.weight_dtype, [&](auto *w) {
      using X = std::remove_pointer_t<decltype(x)>;
      using W = std::remove_pointer_t<decltype(w)>;
      auto kernel = p.gated ? plain_product<X, W, true> : plain_product<X, W, false>;
      return launch(stream, blocks, dim3(THREADS), 0, kernel, p);
    });
  });
}

int check_matrix(const adire_matrix &w) {
  if (w.outputs < 1 || w.inputs < 1) return invalid("weights of %d × %d", w.outputs, w.inputs);
  if (w.dtype & ~1) return invalid("weights of an unknown dtype, %d", w.dtype);
  if (w.gated && w.outputs % 2) return invalid("gated weights of an odd number of outputs, %d", w.outputs);
  return 0;
}

Product of(const adire_linear_args &a) {
  Product p = {};
  p.x = a.x, p.y = a.y, p.residual = a.residual;
  p.weight = a.weight.data, p.bias = a.bias;
  p.pixels = pixels_of(a.y);
  p.outputs = a.weight.gated ? a.weight.outputs / 2 : a.weight.outputs;
  p.inputs = a.weight.inputs, p.taps = 1;
  p.activation = a.activation, p.weight_dtype = a.weight.dtype, p.gated = a.weight.gated;
  return p;
}

Product of(const adire_conv_args &a) {
  Product p = {};
  p.x = a.x, p.y = a.y, p.residual = a.residual;
  p.weight = a.weight.data, p.bias = a.offset, p.bias_stride = a.offset_stride;
  p.pixels = pixels_of(a.y);
  p.outputs = a.weight.outputs, p.inputs = a.weight.inputs, p.taps = 9;
  p.sampling = a.sampling, p.weight_dtype = a.weight.dtype;
  return p;
}

int check(const Product &p, const adire_matrix &weight) {
  ADIRE_TRY(check_view(p.x, "x"));
  ADIRE_TRY(check_view(p.y, "y"));
  ADIRE_TRY(check_matrix(weight));
  if (!weight.data) return invalid("no weights");
  if (p.x.channels != p.inputs || p.y.channels != p.outputs)
    return invalid("weights of %d × %d%s for %d channels in, %d out", weight.outputs, weight.inputs, p.gated ? " (gated)" : "",
                   p.x.channels, p.y.channels);
  if (p.residual.data) {
    ADIRE_TRY(check_view(p.residual, "residual"));
    if (pixels_of(p.residual) != p.pixels || p.residual.channels != p.outputs)
      return invalid("the residual has another shape than y");
  }
  return 0;
}

int run(void *stream, const Product &p, int algorithm, const adire_workspace &workspace) {
  if (algorithm == ADIRE_AUTO) algorithm = table_algorithm(p);
  if (algorithm == ADIRE_PLAIN) return plain(stream, p);
  if (algorithm < 1 || algorithm > adire_algorithm_count()) return invalid("unknown algorithm %d", algorithm);
  if (!fits_mma(p)) return invalid("algorithm %d takes f16, channels in eights and aligned views", algorithm);
  ADIRE_TRY(check_workspace(workspace, mma_workspace(p, algorithm)));
  return mma_product(stream, p, algorithm, workspace);
}

int chosen(const Product &p, int algorithm) { return algorithm == ADIRE_AUTO ? table_algorithm(p) : algorithm; }

uint64_t workspace_of(const Product &p, int algorithm) {
  algorithm = chosen(p, algorithm);
  return algorithm > ADIRE_PLAIN && algorithm <= adire_algorithm_count() ? mma_workspace(p, algorithm) : 0;
}

}  // namespace

extern "C" {

int adire_linear(void *stream, const adire_linear_args *args) {
  Product p = of(*args);
  ADIRE_TRY(check(p, args->weight));
  if (pixels_of(args->x) != p.pixels)
    return invalid("%lld pixels in, %lld out", (long long)pixels_of(args->x), (long long)p.pixels);
  if (!is_activation(p.activation) || (p.gated && p.activation))
    return invalid("activation %d%s", p.activation, p.gated ? " of gated weights" : "");
  return run(stream, p, args->algorithm, args->workspace);
}
uint64_t adire_linear_workspace(const adire_linear_args *args) { return workspace_of(of(*args), args->algorithm); }
int32_t adire_linear_algorithm(const adire_linear_args *args) { return chosen(of(*args), args->algorithm); }

int adire_conv(void *stream, const adire_conv_args *args) {
  Product p = of(*args);
  ADIRE_TRY(check(p, args->weight));
  if (args->weight.gated) return invalid("convolutions have no gates");
  if (p.x.border != 1) return invalid("x of a convolution has a border of 1");
  if (p.x.images != p.y.images) return invalid("%d images in, %d out", p.x.images, p.y.images);
  int h = p.x.height, w = p.x.width;
  switch (p.sampling) {
    case ADIRE_SAME: break;
    case ADIRE_HALF: h = (h + 1) / 2, w = (w + 1) / 2; break;
    case ADIRE_HALF_BOTTOM_RIGHT: h /= 2, w /= 2; break;
    case ADIRE_DOUBLE: h *= 2, w *= 2; break;
    default: return invalid("unknown sampling %d", p.sampling);
  }
  if (p.y.height != h || p.y.width != w)
    return invalid("a convolution to %d × %d pixels; %d × %d is right", p.y.height, p.y.width, h, w);
  return run(stream, p, args->algorithm, args->workspace);
}
uint64_t adire_conv_workspace(const adire_conv_args *args) { return workspace_of(of(*args), args->algorithm); }
int32_t adire_conv_algorithm(const adire_conv_args *args) { return chosen(of(*args), args->algorithm); }
}
