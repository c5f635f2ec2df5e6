/* Instructions of tensor cores and asynchronous copies, and their emulation.
 *
 * Fragments are those of PTX's mma.m16n8k16 with f16 operands and f32 sums. With g = lane / 4 and t = lane % 4:
 *   A, 16 × 16: a[0] row g, a[1] row g+8, columns 2t, 2t+1; a[2], a[3] the same, 8 columns on
 *   B, 16 × 8:  b[0] rows 2t, 2t+1, column g; b[1] 8 rows on
 *   C, 16 × 8:  c[0], c[1] row g, columns 2t, 2t+1; c[2], c[3] row g+8
 * Turing has m16n8k8 only: two of those are one of these.
 */
#ifndef ADIRE_MMA_H
#define ADIRE_MMA_H

#include "common.h"

#ifdef ADIRE_EMULATE

inline void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  struct { uint32_t a[4], b[2]; } own = {{a[0], a[1], a[2], a[3]}, {b0, b1}};
  const unsigned char *all = emulate::exchange(&own, sizeof own);
  auto of = [&](int lane) { return reinterpret_cast<const uint32_t *>(all + lane * ADIRE_LANE_BYTES); };
  int g = emulate::now.lane / 4, t = emulate::now.lane % 4;
  for (int half_tile = 0; half_tile < 2; half_tile++)
    for (int pair = 0; pair < 4; pair++)
      for (int i = 0; i < 2; i++) {
        float2 row = unpack(of(4 * g + pair)[2 * half_tile + i]);
        for (int j = 0; j < 2; j++) {
          float2 column = unpack(of(4 * (2 * t + j) + pair)[4 + half_tile]);
          c[2 * i + j] += row.x * column.x + row.y * column.y;
        }
      }
}

/* Four 8 × 8 matrices of f16: lane 8·i + r gives the address of row r of the i-th one. Lane l gets row l / 4, columns
 * 2 (l % 4) and the next; of a transposed one column l / 4, rows 2 (l % 4) and the next. */
template <bool TRANSPOSED> inline void load_matrices(uint32_t (&to)[4], const half *row) {
  if (reinterpret_cast<uintptr_t>(row) % 16) {
    std::fprintf(stderr, "emulate: ldmatrix of a row that is not aligned\n");
    std::abort();
  }
  const unsigned char *all = emulate::exchange(&row, sizeof row);
  int lane = emulate::now.lane;
  for (int i = 0; i < 4; i++) {
    auto at = [&](int r) {
      const half *from;
      std::memcpy(&from, all + (8 * i + r) * ADIRE_LANE_BYTES, sizeof from);
      return from;
    };
    int r = lane / 4, c = 2 * (lane % 4);
    to[i] = TRANSPOSED ? uint32_t(at(c)[r].bits) | uint32_t(at(c + 1)[r].bits) << 16
                       : uint32_t(at(r)[c].bits) | uint32_t(at(r)[c + 1].bits) << 16;
  }
}

/* 16 bytes to shared memory, or zeros unless `in`; there when copies_wait says so. */
inline void copy_16(half *to, const half *from, bool in) { emulate::async_copy(to, from, in ? 16 : 0); }
inline void copies_commit() { emulate::async_commit(); }
template <int LEFT> inline void copies_wait() { emulate::async_wait(LEFT); }

#else

__device__ __forceinline__ void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(b0));
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[2]), "r"(a[3]), "r"(b1));
#endif
}

template <bool TRANSPOSED> __device__ __forceinline__ void load_matrices(uint32_t (&to)[4], const half *row) {
  unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (TRANSPOSED)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(at)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(at)
                 : "memory");
}

__device__ __forceinline__ void copy_16(half *to, const half *from, bool in) {
#if __CUDA_ARCH__ >= 800
  unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(in ? 16 : 0) : "memory");
#else
  *reinterpret_cast<uint4 *>(to) = in ? *reinterpret_cast<const uint4 *>(from) : make_uint4(0, 0, 0, 0);
#endif
}
__device__ __forceinline__ void copies_commit() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int LEFT> __device__ __forceinline__ void copies_wait() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
#endif
}

#endif

#endif
