/* Runs kernels on the CPU: what nvcc knows and g++ does not.
 *
 * Each CUDA thread is a fiber (a stack of its own) of one thread of the host; blocks run one after the other. A fiber runs
 * until it waits: at __syncthreads(), or at something that a warp does together (shuffles, ldmatrix, mma). Warps run as far
 * apart as barriers allow, in one of several orders (adire_emulate_order), so that a missing barrier gives wrong numbers in
 * at least one of them. cp.async copies only when it is waited for.
 *
 * Shared memory is `static thread_local`; dynamic shared memory is filled with NaN before each block.
 */
#ifndef ADIRE_EMULATE_H
#define ADIRE_EMULATE_H

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __shared__ static thread_local
#define __launch_bounds__(...)
#define __grid_constant__
#define __restrict__ __restrict

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct float2 { float x, y; };
struct uint2 { uint32_t x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) uint4 { uint32_t x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

/* Bits of f16, as __half of CUDA. */
struct half { uint16_t bits; };

/* Bytes that a lane can give to its warp at once. */
constexpr int ADIRE_LANE_BYTES = 32;

namespace emulate {

/* What the running fiber sees. */
struct Now {
  dim3 thread, block, threads, blocks;
  int lane;
  unsigned char *dynamic; /* dynamic shared memory */
};
extern thread_local Now now;

/* Waits for all threads of the block. */
void block_barrier();
/* Gives `bytes` of this lane to its warp, and returns what the 32 lanes gave, ADIRE_LANE_BYTES apart; good until the second
 * next exchange of this warp. */
const unsigned char *exchange(const void *value, size_t bytes);
/* cp.async: copies `bytes` and clears up to 16, when its group is waited for. */
void async_copy(void *to, const void *from, int bytes);
void async_commit();
/* Waits for all groups of this thread but the latest `left`. */
void async_wait(int left);

/* Runs `body` for every thread of every block. */
void run(dim3 blocks, dim3 threads, size_t shared, const std::function<void()> &body);
/* Runs `work`, or records it if the stream is being recorded. */
int submit(void *stream, std::function<void()> work);

template <class T> T shuffle(T value, int from) {
  static_assert(sizeof(T) <= ADIRE_LANE_BYTES, "a lane's value");
  const unsigned char *all = exchange(&value, sizeof(T));
  T result;
  std::memcpy(&result, all + (from & 31) * ADIRE_LANE_BYTES, sizeof(T));
  return result;
}

inline void full(unsigned mask) {
  if (mask != 0xffffffffu) {
    std::fprintf(stderr, "emulate: only whole warps\n");
    std::abort();
  }
}

}  // namespace emulate

#define threadIdx (emulate::now.thread)
#define blockIdx (emulate::now.block)
#define blockDim (emulate::now.threads)
#define gridDim (emulate::now.blocks)

inline void __syncthreads() { emulate::block_barrier(); }
inline void __syncwarp(unsigned mask = 0xffffffffu) {
  emulate::full(mask);
  int nothing = 0;
  emulate::exchange(&nothing, sizeof nothing);
}
template <class T> T __shfl_xor_sync(unsigned mask, T value, int other) {
  emulate::full(mask);
  return emulate::shuffle(value, emulate::now.lane ^ other);
}
template <class T> T __shfl_sync(unsigned mask, T value, int from) {
  emulate::full(mask);
  return emulate::shuffle(value, from);
}
template <class T> T atomicAdd(T *to, T value) {
  T old = *to;
  *to += value;
  return old;
}
inline unsigned atomicOr(unsigned *to, unsigned value) {
  unsigned old = *to;
  *to |= value;
  return old;
}

/* Of the emulated library only. */
extern "C" {
/* Which order warps and lanes run in: 0 ascending, 1 descending, 2 mixed. Of this thread of the host. */
void adire_emulate_order(int32_t order);
/* The generation that the emulated device says it has: 75, 80, 86, 89, 90. Of this thread of the host; 80 at first. */
void adire_emulate_generation(int32_t generation);
/* How many kernels have run. */
uint64_t adire_emulate_launches(void);
}

#endif
