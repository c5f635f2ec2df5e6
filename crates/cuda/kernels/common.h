/* What all kernels share: types of numbers, views, launches, activations. Compiled by nvcc, and by g++ with ADIRE_EMULATE. */
#ifndef ADIRE_COMMON_H
#define ADIRE_COMMON_H

#include "adire.h"

#ifdef ADIRE_EMULATE
#include "emulate.h"
#else
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#endif

#include <type_traits>

/* ---- errors ------------------------------------------------------------------------------------------------------------ */

/* Keeps the text for adire_message(); returns ADIRE_INVALID_VALUE. */
int invalid(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Returns the result of an argument check from the function that it stands in. */
#define ADIRE_TRY(call)              \
  do {                               \
    if (int adire_result_ = (call)) return adire_result_; \
  } while (0)

/* ---- numbers ----------------------------------------------------------------------------------------------------------- */

#ifdef ADIRE_EMULATE
inline float to_float(half x) {
  uint32_t sign = uint32_t(x.bits & 0x8000) << 16, rest = x.bits & 0x7fff, bits;
  if (rest >= 0x7c00)
    bits = sign | 0x7f800000 | (rest & 0x3ff) << 13;
  else if (rest >= 0x400)
    bits = sign | ((rest << 13) + (112u << 23));
  else {
    float value = float(rest) * (1.0f / 16777216.0f);
    std::memcpy(&bits, &value, 4);
    bits |= sign;
  }
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
inline half to_half(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  uint16_t sign = uint16_t(bits >> 16 & 0x8000);
  bits &= 0x7fffffff;
  if (bits > 0x7f800000) return {0x7fff};
  if (bits >= 0x47800000) return {uint16_t(sign | 0x7c00)}; /* 65536 and more, infinity */
  if (bits < 0x38800000) {
    /* Adding 1/2 leaves the subnormal's bits at the end, rounded to nearest even. */
    float value;
    std::memcpy(&value, &bits, 4);
    value += 0.5f;
    std::memcpy(&bits, &value, 4);
    return {uint16_t(sign | (bits - 0x3f000000))};
  }
  bits += 0xfff + (bits >> 13 & 1) - (112u << 23);
  return {uint16_t(sign | bits >> 13)};
}
inline float2 unpack(uint32_t pair) { return {to_float({uint16_t(pair)}), to_float({uint16_t(pair >> 16)})}; }
inline uint32_t pack(float x, float y) { return uint32_t(to_half(x).bits) | uint32_t(to_half(y).bits) << 16; }
#else
__device__ __forceinline__ float to_float(half x) { return __half2float(x); }
__device__ __forceinline__ half to_half(float x) { return __float2half_rn(x); }
/* Two neighbouring f16 in a register, the first in the low bits. */
__device__ __forceinline__ float2 unpack(uint32_t pair) {
  half2 both;
  memcpy(&both, &pair, 4);
  return __half22float2(both);
}
__device__ __forceinline__ uint32_t pack(float x, float y) {
  half2 both = __floats2half2_rn(x, y);
  uint32_t pair;
  memcpy(&pair, &both, 4);
  return pair;
}
#endif
__device__ __forceinline__ float to_float(float x) { return x; }
template <class T> __device__ __forceinline__ T from_float(float x) {
  if constexpr (std::is_same<T, half>::value)
    return to_half(x);
  else
    return x;
}

/* N neighbouring numbers as f32. N 8 takes 16-byte loads and wants that alignment; N 1 takes anything. */
template <int N, class T> __device__ __forceinline__ void load(const T *from, float *to) {
  static_assert(N == 1 || N == 8, "one number or eight");
  if constexpr (N == 1) {
    to[0] = to_float(from[0]);
  } else if constexpr (std::is_same<T, half>::value) {
    uint4 v = *reinterpret_cast<const uint4 *>(from);
    float2 a = unpack(v.x), b = unpack(v.y), c = unpack(v.z), d = unpack(v.w);
    to[0] = a.x, to[1] = a.y, to[2] = b.x, to[3] = b.y, to[4] = c.x, to[5] = c.y, to[6] = d.x, to[7] = d.y;
  } else {
    float4 a = reinterpret_cast<const float4 *>(from)[0], b = reinterpret_cast<const float4 *>(from)[1];
    to[0] = a.x, to[1] = a.y, to[2] = a.z, to[3] = a.w, to[4] = b.x, to[5] = b.y, to[6] = b.z, to[7] = b.w;
  }
}
template <int N, class T> __device__ __forceinline__ void store(T *to, const float *from) {
  static_assert(N == 1 || N == 8, "one number or eight");
  if constexpr (N == 1) {
    to[0] = from_float<T>(from[0]);
  } else if constexpr (std::is_same<T, half>::value) {
    *reinterpret_cast<uint4 *>(to) =
        make_uint4(pack(from[0], from[1]), pack(from[2], from[3]), pack(from[4], from[5]), pack(from[6], from[7]));
  } else {
    float4 a = {from[0], from[1], from[2], from[3]}, b = {from[4], from[5], from[6], from[7]};
    reinterpret_cast<float4 *>(to)[0] = a;
    reinterpret_cast<float4 *>(to)[1] = b;
  }
}

/* Any number of a view's type. */
__device__ __forceinline__ float read_any(const void *data, int dtype, int64_t at) {
  return dtype == ADIRE_F16 ? to_float(static_cast<const half *>(data)[at]) : static_cast<const float *>(data)[at];
}
__device__ __forceinline__ void write_any(void *data, int dtype, int64_t at, float value) {
  if (dtype == ADIRE_F16)
    static_cast<half *>(data)[at] = to_half(value);
  else
    static_cast<float *>(data)[at] = value;
}

/* Calls `body` with a pointer type for a dtype. */
template <class F> int by_dtype(int dtype, F body) {
  return dtype == ADIRE_F16 ? body(static_cast<half *>(nullptr)) : body(static_cast<float *>(nullptr));
}

/* ---- views ------------------------------------------------------------------------------------------------------------- */

/* Image, row and column of a pixel of a view, counted over rows and images, borders left out. Views have fewer than 2^31
 * pixels (check_view): divisions of 32 bits, which cost a GPU a quarter of those of 64. */
struct Place { int image, row, column; };
__device__ __forceinline__ Place place_of(const adire_view &v, int64_t pixel) {
  unsigned at = unsigned(pixel), line = at / unsigned(v.width), image = line / unsigned(v.height);
  return {int(image), int(line - image * unsigned(v.height)), int(at - line * unsigned(v.width))};
}

/* Offset of that pixel. */
__device__ __forceinline__ int64_t pixel_offset(const adire_view &v, int64_t pixel) {
  if (v.row_stride == v.width * v.pixel_stride && v.image_stride == v.height * v.row_stride) return pixel * v.pixel_stride;
  Place at = place_of(v, pixel);
  return at.image * v.image_stride + at.row * v.row_stride + at.column * v.pixel_stride;
}

inline int64_t pixels_of(const adire_view &v) { return int64_t(v.images) * v.height * v.width; }
inline size_t number_bytes(int dtype) { return dtype == ADIRE_F16 ? 2 : 4; }
inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline uint64_t align256(uint64_t bytes) { return (bytes + 255) / 256 * 256; }

/* Whether groups of eight channels of every pixel can be read at once. */
inline bool by_eight(const adire_view &v) {
  size_t bytes = number_bytes(v.dtype);
  return v.channels % 8 == 0 && v.pixel_stride % 8 == 0 && v.row_stride % 8 == 0 && v.image_stride % 8 == 0 &&
         reinterpret_cast<uintptr_t>(v.data) % 16 == 0 && (bytes == 2 || bytes == 4);
}

int check_view(const adire_view &v, const char *name);
int check_same_size(const adire_view &x, const adire_view &y);
int check_workspace(const adire_workspace &workspace, uint64_t bytes);
inline bool is_activation(int activation) { return activation >= ADIRE_IDENTITY && activation <= ADIRE_QUICK_GELU; }

/* ---- activations ------------------------------------------------------------------------------------------------------- */

__device__ __forceinline__ float silu(float x) { return x / (1.0f + expf(-x)); }
__device__ __forceinline__ float gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f)); }
__device__ __forceinline__ float activate(float x, int activation) {
  switch (activation) {
    case ADIRE_SILU: return silu(x);
    case ADIRE_GELU: return gelu(x);
    case ADIRE_QUICK_GELU: return x / (1.0f + expf(-1.702f * x));
    default: return x;
  }
}

/* ---- launches ---------------------------------------------------------------------------------------------------------- */

/* Compute capability of this thread's device, 80 for 8.0; 0 without one. */
int generation_of_device();

constexpr unsigned WHOLE_WARP = 0xffffffffu;

#ifdef ADIRE_EMULATE
#define ADIRE_DYNAMIC_SHARED(name) unsigned char *name = emulate::now.dynamic

template <class... P, class... A>
int launch(void *stream, dim3 blocks, dim3 threads, size_t shared, void (*kernel)(P...), A... args) {
  std::tuple<std::remove_cv_t<P>...> all{static_cast<P>(args)...};
  return emulate::submit(
      stream, [=] { emulate::run(blocks, threads, shared, [&] { std::apply(kernel, all); }); });
}
#else
#define ADIRE_DYNAMIC_SHARED(name) extern __shared__ __align__(128) unsigned char name[]

/* Puts a kernel onto the stream; more than 48 KiB of dynamic shared memory are asked for first. */
template <class... P, class... A>
int launch(void *stream, dim3 blocks, dim3 threads, size_t shared, void (*kernel)(P...), A... args) {
  if (shared > 48 * 1024) {
    auto wanted = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared));
    if (wanted != cudaSuccess) return wanted;
  }
  kernel<<<blocks, threads, shared, static_cast<cudaStream_t>(stream)>>>(static_cast<P>(args)...);
  return cudaGetLastError();
}
#endif

/* Sum and maximum over a warp; every lane gets the result. */
__device__ __forceinline__ float warp_sum(float x) {
  for (int other = 16; other; other >>= 1) x += __shfl_xor_sync(WHOLE_WARP, x, other);
  return x;
}
__device__ __forceinline__ float warp_max(float x) {
  for (int other = 16; other; other >>= 1) x = fmaxf(x, __shfl_xor_sync(WHOLE_WARP, x, other));
  return x;
}

#endif
