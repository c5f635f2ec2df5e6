/* What is done number by number: copies, changes of size, planes, bytes. */
#include "common.h"

namespace {

constexpr int THREADS = 256;

unsigned blocks_for(int64_t items) {
  int64_t blocks = ceil_div(items, THREADS);
  return unsigned(blocks < 1 ? 1 : blocks > 65535 * 16 ? 65535 * 16 : blocks);
}

/* Items are counted in 32 bits, for the sake of divisions, and with room for a step beyond the end. */
int check_items(int64_t items) {
  return items < 0x7fffffff ? 0 : invalid("%lld numbers; fewer than 2^31 can be copied at once", (long long)items);
}

/* Position along one side of the smaller or larger image, as torch's `nearest`. */
__device__ __forceinline__ int nearest(int at, int from, int to) {
  int found = int(floorf(float(at) * (float(from) / float(to))));
  return found < from ? found : from - 1;
}

/* Where the `at`th pixel of y with its border lies; false in the border. */
__device__ __forceinline__ bool place(const adire_view &y, unsigned at, int &image, int &row, int &column) {
  unsigned line = y.width + 2 * y.border, lines = y.height + 2 * y.border, whole = at / line;
  column = int(at - whole * line) - y.border;
  image = int(whole / lines);
  row = int(whole - unsigned(image) * lines) - y.border;
  return row >= 0 && row < y.height && column >= 0 && column < y.width;
}

inline int64_t bordered(const adire_view &y) {
  return int64_t(y.images) * (y.height + 2 * y.border) * (y.width + 2 * y.border);
}

template <class X, class Y, int N> __global__ void __launch_bounds__(THREADS) resize(adire_view x, adire_view y, unsigned all) {
  unsigned items = y.channels / N;
  for (unsigned i = blockIdx.x * THREADS + threadIdx.x; i < all; i += gridDim.x * THREADS) {
    unsigned pixel = i / items;
    int channel = int(i - pixel * items) * N, image, row, column;
    float values[N];
    if (place(y, pixel, image, row, column)) {
      int from_row = nearest(row, x.height, y.height), from_column = nearest(column, x.width, y.width);
      load<N>(static_cast<const X *>(x.data) + image * x.image_stride + from_row * x.row_stride +
                  from_column * x.pixel_stride + channel,
              values);
    } else {
      for (int k = 0; k < N; k++) values[k] = 0.0f;
    }
    store<N>(static_cast<Y *>(y.data) + image * y.image_stride + row * y.row_stride + column * y.pixel_stride + channel, values);
  }
}

template <class X, int N> __global__ void __launch_bounds__(THREADS) repeat(adire_view x, unsigned all) {
  unsigned items = x.channels / N;
  int64_t distance = x.images / 2 * x.image_stride;
  for (unsigned i = blockIdx.x * THREADS + threadIdx.x; i < all; i += gridDim.x * THREADS) {
    unsigned pixel = i / items;
    X *at = static_cast<X *>(x.data) + pixel_offset(x, pixel) + int(i - pixel * items) * N;
    float values[N];
    load<N>(at, values);
    store<N>(at + distance, values); /* f16 → f32 → f16 is exact */
  }
}

__global__ void __launch_bounds__(THREADS) from_planes(const float *planes, adire_view y, unsigned all) {
  unsigned area = unsigned(y.height) * y.width;
  for (unsigned i = blockIdx.x * THREADS + threadIdx.x; i < all; i += gridDim.x * THREADS) {
    unsigned pixel = i / unsigned(y.channels);
    int channel = int(i - pixel * y.channels), image, row, column;
    float value = 0.0f;
    if (place(y, pixel, image, row, column))
      value = planes[(int64_t(image) * y.channels + channel) * area + int64_t(row) * y.width + column];
    write_any(y.data, y.dtype, image * y.image_stride + row * y.row_stride + column * y.pixel_stride + channel, value);
  }
}

__global__ void __launch_bounds__(THREADS) to_planes(adire_view x, float *planes, unsigned all) {
  unsigned area = unsigned(x.height) * x.width;
  for (unsigned i = blockIdx.x * THREADS + threadIdx.x; i < all; i += gridDim.x * THREADS) {
    unsigned plane = i / area, at = i - plane * area;
    int image = int(plane / unsigned(x.channels)), channel = int(plane % unsigned(x.channels));
    planes[i] = read_any(x.data, x.dtype, pixel_offset(x, image * area + at) + channel);
  }
}

__global__ void __launch_bounds__(THREADS) guide(adire_view x, const float *guidance, float *planes, unsigned all) {
  unsigned area = unsigned(x.height) * x.width;
  int64_t distance = x.images / 2 * x.image_stride;
  float by = *guidance;
  for (unsigned i = blockIdx.x * THREADS + threadIdx.x; i < all; i += gridDim.x * THREADS) {
    unsigned plane = i / area, at = i - plane * area;
    int image = int(plane / unsigned(x.channels)), channel = int(plane % unsigned(x.channels));
    int64_t from = pixel_offset(x, image * area + at) + channel;
    float a = read_any(x.data, x.dtype, from), b = read_any(x.data, x.dtype, from + distance);
    planes[i] = a + by * (b - a);
  }
}

__global__ void __launch_bounds__(THREADS)
select_row(const float *table, int64_t stride, int rows, const int32_t *index, float *to, int n) {
  int row = *index;
  row = row < 0 ? 0 : row >= rows ? rows - 1 : row;
  for (int i = blockIdx.x * THREADS + threadIdx.x; i < n; i += gridDim.x * THREADS) to[i] = table[row * stride + i];
}

__global__ void __launch_bounds__(THREADS) to_rgb(adire_view x, uint8_t *rgb, uint32_t *flag, unsigned all) {
  unsigned bad = 0;
  for (unsigned i = blockIdx.x * THREADS + threadIdx.x; i < all; i += gridDim.x * THREADS) {
    unsigned pixel = i / 3;
    float value = read_any(x.data, x.dtype, pixel_offset(x, pixel) + int(i - pixel * 3));
    if (!(fabsf(value) <= 3.402823466e38f)) bad = 1;
    float scaled = value / 2.0f + 0.5f;
    /* Written so that NaN becomes 0. */
    scaled = scaled > 0.0f ? (scaled < 1.0f ? scaled : 1.0f) : 0.0f;
    rgb[i] = uint8_t(rintf(scaled * 255.0f));
  }
  if (bad) atomicOr(flag, 1u);
}

__global__ void __launch_bounds__(THREADS) from_rgb(const uint8_t *rgb, adire_view y, unsigned all) {
  for (unsigned i = blockIdx.x * THREADS + threadIdx.x; i < all; i += gridDim.x * THREADS) {
    unsigned pixel = i / 3;
    int channel = int(i - pixel * 3), image, row, column;
    float value = 0.0f;
    if (place(y, pixel, image, row, column))
      value = float(rgb[((int64_t(image) * y.height + row) * y.width + column) * 3 + channel]) / 127.5f - 1.0f;
    write_any(y.data, y.dtype, image * y.image_stride + row * y.row_stride + column * y.pixel_stride + channel, value);
  }
}

template <class X, class Y> __global__ void __launch_bounds__(THREADS) convert(const X *from, Y *to, int64_t n) {
  for (int64_t i = int64_t(blockIdx.x) * THREADS + threadIdx.x; i < n; i += int64_t(gridDim.x) * THREADS)
    to[i] = from_float<Y>(to_float(from[i]));
}

}  // namespace

extern "C" {

int adire_resize(void *stream, const adire_view *from, const adire_view *to) {
  const adire_view &x = *from, &y = *to;
  ADIRE_TRY(check_view(x, "x"));
  ADIRE_TRY(check_view(y, "y"));
  if (x.images != y.images || x.channels != y.channels)
    return invalid("resizing %d images of %d channels to %d of %d", x.images, x.channels, y.images, y.channels);
  bool eight = by_eight(x) && by_eight(y);
  return by_dtype(x.dtype, [&](auto *of) {
    return by_dtype(y.dtype, [&](auto *into) {
      using X = std::remove_pointer_t<decltype(of)>;
      using Y = std::remove_pointer_t<decltype(into)>;
      int64_t all = bordered(y) * (eight ? y.channels / 8 : y.channels);
      ADIRE_TRY(check_items(all));
      auto kernel = eight ? resize<X, Y, 8> : resize<X, Y, 1>;
      return launch(stream, dim3(blocks_for(all)), dim3(THREADS), 0, kernel, x, y, all);
    });
  });
}

int adire_repeat(void *stream, const adire_view *view) {
  const adire_view &x = *view;
  ADIRE_TRY(check_view(x, "x"));
  if (x.images % 2) return invalid("%d images have no halves", x.images);
  bool eight = by_eight(x);
  return by_dtype(x.dtype, [&](auto *of) {
    using X = std::remove_pointer_t<decltype(of)>;
    int64_t all = pixels_of(x) / 2 * (eight ? x.channels / 8 : x.channels);
    ADIRE_TRY(check_items(all));
    auto kernel = eight ? repeat<X, 8> : repeat<X, 1>;
    return launch(stream, dim3(blocks_for(all)), dim3(THREADS), 0, kernel, x, all);
  });
}

int adire_from_planes(void *stream, const float *planes, const adire_view *y) {
  ADIRE_TRY(check_view(*y, "y"));
  if (!planes) return invalid("no planes");
  int64_t all = bordered(*y) * y->channels;
  ADIRE_TRY(check_items(all));
  return launch(stream, dim3(blocks_for(all)), dim3(THREADS), 0, from_planes, planes, *y, all);
}

int adire_to_planes(void *stream, const adire_view *x, float *planes) {
  ADIRE_TRY(check_view(*x, "x"));
  if (!planes) return invalid("no planes");
  int64_t all = pixels_of(*x) * x->channels;
  ADIRE_TRY(check_items(all));
  return launch(stream, dim3(blocks_for(all)), dim3(THREADS), 0, to_planes, *x, planes, all);
}

int adire_guide(void *stream, const adire_view *x, const float *guidance, float *planes) {
  ADIRE_TRY(check_view(*x, "x"));
  if (x->images % 2) return invalid("%d images have no halves", x->images);
  if (!planes || !guidance) return invalid("no planes or no guidance");
  int64_t all = pixels_of(*x) / 2 * x->channels;
  ADIRE_TRY(check_items(all));
  return launch(stream, dim3(blocks_for(all)), dim3(THREADS), 0, guide, *x, guidance, planes, all);
}

int adire_select_row(void *stream, const float *table, int64_t stride, int32_t rows, const int32_t *index, float *to, int32_t n) {
  if (!table || !index || !to || rows < 1 || n < 1 || stride < n) return invalid("a row of %d numbers from a table of %d", n, rows);
  return launch(stream, dim3(blocks_for(n)), dim3(THREADS), 0, select_row, table, stride, rows, index, to, n);
}

int adire_to_rgb(void *stream, const adire_view *x, uint8_t *rgb, uint32_t *flag) {
  ADIRE_TRY(check_view(*x, "x"));
  if (x->channels < 3) return invalid("%d channels are not three colours", x->channels);
  if (!rgb || !flag) return invalid("no bytes or no flag");
  int64_t all = pixels_of(*x) * 3;
  ADIRE_TRY(check_items(all));
  return launch(stream, dim3(blocks_for(all)), dim3(THREADS), 0, to_rgb, *x, rgb, flag, all);
}

int adire_from_rgb(void *stream, const uint8_t *rgb, const adire_view *y) {
  ADIRE_TRY(check_view(*y, "y"));
  if (y->channels != 3 || !rgb) return invalid("%d channels are not three colours", y->channels);
  int64_t all = bordered(*y) * 3;
  ADIRE_TRY(check_items(all));
  return launch(stream, dim3(blocks_for(all)), dim3(THREADS), 0, from_rgb, rgb, *y, all);
}

int adire_convert(void *stream, const void *from, int32_t from_dtype, void *to, int32_t to_dtype, uint64_t n) {
  if (n == 0) return 0;
  if (!from || !to) return invalid("nothing to convert");
  if ((from_dtype | to_dtype) & ~1) return invalid("unknown dtypes %d, %d", from_dtype, to_dtype);
  return by_dtype(from_dtype, [&](auto *of) {
    return by_dtype(to_dtype, [&](auto *into) {
      using X = std::remove_pointer_t<decltype(of)>;
      using Y = std::remove_pointer_t<decltype(into)>;
      return launch(stream, dim3(blocks_for(int64_t(n))), dim3(THREADS), 0, convert<X, Y>, static_cast<const X *>(from),
                    static_cast<Y *>(to), int64_t(n));
    });
  });
}
}
