/* What linear layers and 3×3 convolutions have in common: y[pixel][n] = Σ over taps and channels, and what follows. */
#ifndef ADIRE_PRODUCT_H
#define ADIRE_PRODUCT_H

#include "common.h"

struct Product {
  adire_view x, y, residual;
  const void *weight; /* [rows, taps, inputs], rows = outputs, or 2·outputs if gated */
  const float *bias;  /* NULL for none */
  int64_t bias_stride; /* from one image's row to the next */
  int64_t pixels;      /* of y */
  int32_t outputs;     /* channels of y */
  int32_t inputs;
  int32_t taps; /* 1 or 9 */
  int32_t sampling;
  int32_t activation;
  int32_t weight_dtype;
  int32_t gated;
};

/* Where one side of a 3×3 window lies, for position `at` of y and tap 0 … 2; −1 and the size are the border. */
__device__ __forceinline__ int source(int sampling, int at, int tap) {
  switch (sampling) {
    case ADIRE_HALF: return 2 * at + tap - 1;
    case ADIRE_HALF_BOTTOM_RIGHT: return 2 * at + tap;
    case ADIRE_DOUBLE: return (at + tap + 1) / 2 - 1;
    default: return at + tap - 1;
  }
}

/* Numbers from the start of x to the first channel under `tap` of a pixel of y. */
__device__ __forceinline__ int64_t tap_offset(const Product &p, int image, int row, int column, int tap) {
  if (p.taps == 9) {
    row = source(p.sampling, row, tap / 3);
    column = source(p.sampling, column, tap % 3);
  }
  return image * p.x.image_stride + row * p.x.row_stride + column * p.x.pixel_stride;
}

/* As tap_offset; pixels of linear layers are counted, since x and y may have other heights and widths. */
__device__ __forceinline__ int64_t input_offset(const Product &p, int64_t pixel, int tap) {
  if (p.taps == 1) return pixel_offset(p.x, pixel);
  Place at = place_of(p.y, pixel);
  return tap_offset(p, at.image, at.row, at.column, tap);
}

/* Whether tensor-core kernels can compute it. */
bool fits_mma(const Product &p);
int mma_product(void *stream, const Product &p, int algorithm, const adire_workspace &workspace);
uint64_t mma_workspace(const Product &p, int algorithm);
/* The algorithm of the device's table. */
int table_algorithm(const Product &p);

#endif
