/* Group norm and layer norm.
 *
 * Group norm takes two launches. The first sums (x − k) and (x − k)² for each channel of a slab (neighbouring groups, about 80
 * to 120 channels) over a chunk of pixels, relative to k, the channel's first number of the image, so that nothing cancels
 * where the mean is large; and leaves mean and Σ(x − mean)² for each group of the chunk. The second joins the chunks (Chan's
 * formula), normalises, applies the activation, and writes zeros into the border. Chunks depend on the shape alone: bits do
 * not depend on the number of multiprocessors.
 */
#include "common.h"

namespace {

constexpr int THREADS = 256;
/* Channels of a slab that are wanted at least. */
constexpr int SLAB = 64;
/* Most channels of a slab, for shared memory. */
constexpr int MAX_SLAB = 1024;

/* How the work is cut. */
struct Cut {
  int groups_per_slab, slabs, chunks;
  int chunk; /* pixels */
};

Cut cut(const adire_view &x, int groups, int step) {
  int width = x.channels / groups;
  Cut result{groups, 1, 1, 0};
  for (int g = 1; g < groups; g++)
    if (groups % g == 0 && g * width >= SLAB && g * width % step == 0) {
      result.groups_per_slab = g;
      break;
    }
  result.slabs = groups / result.groups_per_slab;
  int64_t pixels = int64_t(x.height) * x.width, most = pixels >= 65536 ? 128 : 32;
  int64_t chunk = ceil_div(pixels, most);
  result.chunk = chunk < 64 ? 64 : int(chunk);
  result.chunks = int(ceil_div(pixels, result.chunk));
  return result;
}

/* (mean, Σ(x − mean)²) of n numbers each, over a group of a chunk. */
struct Moments { float mean, square; };

template <class X, int N>
__global__ void __launch_bounds__(THREADS)
group_norm_sums(adire_view x, int groups, int groups_per_slab, int chunk, Moments *moments) {
  __shared__ float sums[THREADS * 8], squares[THREADS * 8];
  int slab = blockIdx.y, image = blockIdx.z, width = x.channels / groups;
  int channels = groups_per_slab * width, first = slab * channels, items = channels / N;
  int lanes = THREADS / items, item = threadIdx.x % items, lane = threadIdx.x / items;
  int pixels = x.height * x.width, begin = int(blockIdx.x) * chunk;
  int end = begin + chunk < pixels ? begin + chunk : pixels;
  const X *base = static_cast<const X *>(x.data) + image * x.image_stride + first;
  float shift[N], sum[N], square[N];
  if (lane < lanes) {
    load<N>(base + item * N, shift);
    for (int i = 0; i < N; i++) sum[i] = square[i] = 0.0f;
    for (int pixel = begin + lane; pixel < end; pixel += lanes) {
      int row = int(unsigned(pixel) / unsigned(x.width)), column = pixel - row * x.width;
      float values[N];
      load<N>(base + row * x.row_stride + column * x.pixel_stride + item * N, values);
      for (int i = 0; i < N; i++) {
        float value = values[i] - shift[i];
        sum[i] += value;
        square[i] += value * value;
      }
    }
    for (int i = 0; i < N; i++) {
      sums[lane * channels + item * N + i] = sum[i];
      squares[lane * channels + item * N + i] = square[i];
    }
  }
  __syncthreads();
  /* Lanes of a channel, always in the same order. */
  for (int c = threadIdx.x; c < channels; c += THREADS) {
    float s = 0.0f, q = 0.0f;
    for (int l = 0; l < lanes; l++) s += sums[l * channels + c], q += squares[l * channels + c];
    float count = float(end - begin), mean = s / count;
    /* The channel's own mean, and its squares around that. */
    sums[c] = mean + to_float(base[c]);
    squares[c] = fmaxf(q - s * mean, 0.0f);
  }
  __syncthreads();
  for (int g = threadIdx.x; g < groups_per_slab; g += THREADS) {
    float count = float(end - begin), mean = 0.0f, square = 0.0f;
    for (int c = 0; c < width; c++) mean += sums[g * width + c];
    mean /= float(width);
    for (int c = 0; c < width; c++) {
      float away = sums[g * width + c] - mean;
      square += squares[g * width + c] + count * away * away;
    }
    Moments result = {mean, square};
    moments[(int64_t(image) * groups + slab * groups_per_slab + g) * gridDim.x + blockIdx.x] = result;
  }
}

template <class X, class Y, int N>
__global__ void __launch_bounds__(THREADS)
group_norm_apply(adire_view x, adire_view y, const float *weight, const float *bias, float epsilon, int activation, int groups,
                 int groups_per_slab, int chunk, int chunks, const Moments *moments, int part) {
  __shared__ float factors[MAX_SLAB], terms[MAX_SLAB];
  int slab = blockIdx.y, image = blockIdx.z, width = x.channels / groups;
  int channels = groups_per_slab * width, first = slab * channels, items = channels / N;
  int pixels = x.height * x.width;
  /* One warp joins the chunks of a group. */
  int warp = threadIdx.x / 32, lane_of_warp = threadIdx.x % 32;
  for (int g = warp; g < groups_per_slab; g += THREADS / 32) {
    const Moments *of = moments + (int64_t(image) * groups + slab * groups_per_slab + g) * chunks;
    float mean = 0.0f;
    for (int i = lane_of_warp; i < chunks; i += 32) {
      int count = i + 1 < chunks ? chunk : pixels - i * chunk;
      mean += of[i].mean * (float(count) / float(pixels));
    }
    mean = warp_sum(mean);
    float square = 0.0f;
    for (int i = lane_of_warp; i < chunks; i += 32) {
      int count = i + 1 < chunks ? chunk : pixels - i * chunk;
      float away = of[i].mean - mean;
      square += of[i].square + float(count) * float(width) * away * away;
    }
    square = warp_sum(square);
    float scale = rsqrtf(square / (float(pixels) * float(width)) + epsilon);
    for (int c = lane_of_warp; c < width; c += 32) {
      int channel = g * width + c;
      float factor = scale * weight[first + channel];
      factors[channel] = factor;
      terms[channel] = bias[first + channel] - mean * factor;
    }
  }
  __syncthreads();
  int lanes = THREADS / items, item = threadIdx.x % items, lane = threadIdx.x / items;
  if (lane >= lanes) return;
  float factor[N], term[N];
  for (int i = 0; i < N; i++) factor[i] = factors[item * N + i], term[i] = terms[item * N + i];
  const X *from = static_cast<const X *>(x.data) + image * x.image_stride + first + item * N;
  Y *to = static_cast<Y *>(y.data) + image * y.image_stride + first + item * N;
  /* Pixels of y with its border. */
  int line = y.width + 2 * y.border;
  int all = (y.height + 2 * y.border) * line, begin = int(blockIdx.x) * part;
  int end = begin + part < all ? begin + part : all;
  for (int pixel = begin + lane; pixel < end; pixel += lanes) {
    int whole = int(unsigned(pixel) / unsigned(line)), row = whole - y.border, column = pixel - whole * line - y.border;
    float values[N];
    if (row >= 0 && row < y.height && column >= 0 && column < y.width) {
      load<N>(from + row * x.row_stride + column * x.pixel_stride, values);
      for (int i = 0; i < N; i++) values[i] = activate(values[i] * factor[i] + term[i], activation);
    } else {
      for (int i = 0; i < N; i++) values[i] = 0.0f;
    }
    store<N>(to + row * y.row_stride + column * y.pixel_stride, values);
  }
}

template <class X, class Y, int N> int group_norm(void *stream, const adire_group_norm_args &a) {
  Cut c = cut(a.x, a.groups, N);
  int channels = c.groups_per_slab * (a.x.channels / a.groups);
  if (channels > MAX_SLAB || channels / N > THREADS)
    return invalid("a group norm of %d channels in %d groups; groups have at most %d channels", a.x.channels, a.groups, THREADS);
  Moments *moments = static_cast<Moments *>(a.workspace.data);
  dim3 blocks(c.chunks, c.slabs, a.x.images);
  ADIRE_TRY(launch(stream, blocks, dim3(THREADS), 0, group_norm_sums<X, N>, a.x, a.groups, c.groups_per_slab, c.chunk, moments));
  int64_t all = int64_t(a.y.height + 2 * a.y.border) * (a.y.width + 2 * a.y.border);
  int part = c.chunk > 128 ? 128 : c.chunk;
  blocks.x = unsigned(ceil_div(all, part));
  return launch(stream, blocks, dim3(THREADS), 0, group_norm_apply<X, Y, N>, a.x, a.y, a.weight, a.bias, a.epsilon, a.activation,
                a.groups, c.groups_per_slab, c.chunk, c.chunks, moments, part);
}

/* ---- layer norm -------------------------------------------------------------------------------------------------------- */

constexpr int ROWS = 4;

/* One warp for each pixel, whose numbers stay in registers: at most VECTORS · 32 · N of them; with VECTORS 0 any number, read
 * three times. */
template <class X, class Y, int N, int VECTORS>
__global__ void __launch_bounds__(32 * ROWS)
layer_norm_rows(adire_view x, adire_view y, const float *weight, const float *bias, float epsilon, int64_t pixels) {
  int64_t pixel = int64_t(blockIdx.x) * ROWS + threadIdx.x / 32;
  int lane = threadIdx.x % 32, items = x.channels / N;
  if (pixel >= pixels) return; /* whole warps */
  const X *from = static_cast<const X *>(x.data) + pixel_offset(x, pixel);
  Y *to = static_cast<Y *>(y.data) + pixel_offset(y, pixel);
  float held[VECTORS ? VECTORS : 1][N];
  float sum = 0.0f;
  if constexpr (VECTORS > 0) {
#pragma unroll
    for (int v = 0; v < VECTORS; v++) {
      int item = v * 32 + lane;
      if (item < items) {
        load<N>(from + item * N, held[v]);
        for (int i = 0; i < N; i++) sum += held[v][i];
      }
    }
  } else {
    for (int item = lane; item < items; item += 32) {
      load<N>(from + item * N, held[0]);
      for (int i = 0; i < N; i++) sum += held[0][i];
    }
  }
  float mean = warp_sum(sum) / float(x.channels), square = 0.0f;
  if constexpr (VECTORS > 0) {
#pragma unroll
    for (int v = 0; v < VECTORS; v++)
      if (v * 32 + lane < items)
        for (int i = 0; i < N; i++) square += (held[v][i] - mean) * (held[v][i] - mean);
  } else {
    for (int item = lane; item < items; item += 32) {
      load<N>(from + item * N, held[0]);
      for (int i = 0; i < N; i++) square += (held[0][i] - mean) * (held[0][i] - mean);
    }
  }
  float scale = rsqrtf(warp_sum(square) / float(x.channels) + epsilon);
  auto finish = [&](int item, float *values) {
    float gain[N], offset[N];
    load<N>(weight + item * N, gain);
    load<N>(bias + item * N, offset);
    for (int i = 0; i < N; i++) values[i] = (values[i] - mean) * scale * gain[i] + offset[i];
    store<N>(to + item * N, values);
  };
  if constexpr (VECTORS > 0) {
#pragma unroll
    for (int v = 0; v < VECTORS; v++)
      if (v * 32 + lane < items) finish(v * 32 + lane, held[v]);
  } else {
    for (int item = lane; item < items; item += 32) {
      load<N>(from + item * N, held[0]);
      finish(item, held[0]);
    }
  }
}

template <class X, class Y> int layer_norm(void *stream, const adire_layer_norm_args &a) {
  int64_t pixels = pixels_of(a.x);
  dim3 blocks(unsigned(ceil_div(pixels, ROWS)));
  auto go = [&](auto kernel) {
    return launch(stream, blocks, dim3(32 * ROWS), 0, kernel, a.x, a.y, a.weight, a.bias, a.epsilon, pixels);
  };
  bool aligned = reinterpret_cast<uintptr_t>(a.weight) % 16 == 0 && reinterpret_cast<uintptr_t>(a.bias) % 16 == 0;
  if (!aligned || !by_eight(a.x) || !by_eight(a.y)) return go(layer_norm_rows<X, Y, 1, 0>);
  if (a.x.channels <= 512) return go(layer_norm_rows<X, Y, 8, 2>);
  if (a.x.channels <= 768) return go(layer_norm_rows<X, Y, 8, 3>);
  if (a.x.channels <= 1280) return go(layer_norm_rows<X, Y, 8, 5>);
  return go(layer_norm_rows<X, Y, 8, 0>);
}

}  // namespace

extern "C" {

uint64_t adire_group_norm_workspace(const adire_group_norm_args *args) {
  if (args->groups < 1) return 0;
  /* The number of chunks does not depend on how channels are read. */
  return align256(uint64_t(args->x.images) * args->groups * cut(args->x, args->groups, 1).chunks * sizeof(Moments));
}

int adire_group_norm(void *stream, const adire_group_norm_args *args) {
  const adire_group_norm_args &a = *args;
  ADIRE_TRY(check_view(a.x, "x"));
  ADIRE_TRY(check_view(a.y, "y"));
  ADIRE_TRY(check_same_size(a.x, a.y));
  if (a.groups < 1 || a.x.channels % a.groups)
    return invalid("%d groups do not share %d channels evenly", a.groups, a.x.channels);
  if (!a.weight || !a.bias) return invalid("a norm without weight or bias");
  if (!is_activation(a.activation)) return invalid("unknown activation %d", a.activation);
  ADIRE_TRY(check_workspace(a.workspace, adire_group_norm_workspace(args)));
  bool eight = by_eight(a.x) && by_eight(a.y);
  return by_dtype(a.x.dtype, [&](auto *x) {
    return by_dtype(a.y.dtype, [&](auto *y) {
      using X = std::remove_pointer_t<decltype(x)>;
      using Y = std::remove_pointer_t<decltype(y)>;
      return eight ? group_norm<X, Y, 8>(stream, a) : group_norm<X, Y, 1>(stream, a);
    });
  });
}

int adire_layer_norm(void *stream, const adire_layer_norm_args *args) {
  const adire_layer_norm_args &a = *args;
  ADIRE_TRY(check_view(a.x, "x"));
  ADIRE_TRY(check_view(a.y, "y"));
  ADIRE_TRY(check_same_size(a.x, a.y));
  if (!a.weight || !a.bias) return invalid("a norm without weight or bias");
  return by_dtype(a.x.dtype, [&](auto *x) {
    return by_dtype(a.y.dtype, [&](auto *y) {
      return layer_norm<std::remove_pointer_t<decltype(x)>, std::remove_pointer_t<decltype(y)>>(stream, a);
    });
  });
}
}
