// Runs a CUDA kernel source on the CPU, one ucontext fiber per CUDA thread, so that g++ can test it without a GPU.
//
// What is emulated: threadIdx/blockIdx, __syncthreads, warp shuffles and votes, ldmatrix (.trans), mma.m16n8k16 and
// mma.m16n8k8 with f16 inputs and f32 accumulators, cp.async with zero-fill and commit/wait groups, ex2.approx.
// Two things are deliberately harsher than a device:
//  - cp.async overwrites its target with NaN when it is issued and copies only when the thread waits for the group, so
//    that a tile read too early, or a buffer refilled while somebody still reads it, becomes NaN in the result;
//  - shared memory is full of NaN when a block starts.
// A warp operation is done by the last lane that arrives, for all 32 lanes. A deadlock ends the program.
#pragma once
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <functional>
#include <vector>

struct dim3 { unsigned x, y, z; dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {} };
static dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emu {
inline float h2f(uint16_t b) { _Float16 h; memcpy(&h, &b, 2); return (float)h; }
inline uint16_t f2h(float f) { _Float16 h = (_Float16)f; uint16_t b; memcpy(&b, &h, 2); return b; }
inline float lo(uint32_t v) { return h2f((uint16_t)v); }
inline float hi(uint32_t v) { return h2f((uint16_t)(v >> 16)); }
inline uint32_t pack(float a, float b) { return f2h(a) | (uint32_t)f2h(b) << 16; }

struct Copy { uint32_t dst; const void* src; int bytes; };
struct Fiber { ucontext_t c; bool done = false; std::vector<std::vector<Copy>> groups; };
static std::vector<Fiber> fibers;
static std::vector<char> stacks;
static ucontext_t main_ctx;
static int cur, block_count;
static long block_gen, progress;
static int warp_count[32]; static long warp_gen[32];
static std::vector<unsigned char> smem;
struct Lane { uint32_t in[12]; uint32_t out[4]; };
static Lane lanes[1024];
static std::function<void()>* body;

inline void yield_() { int me = cur; swapcontext(&fibers[me].c, &main_ctx); }
inline void block_sync() {
  progress++;
  if (++block_count == (int)fibers.size()) { block_count = 0; block_gen++; return; }
  long g = block_gen; while (block_gen == g) yield_();
}
// Runs op(first lane of the warp) once, when all 32 lanes have arrived.
template <class F> inline void warp_op(F op) {
  progress++;
  int w = cur / 32;
  if (++warp_count[w] == 32) { warp_count[w] = 0; op(lanes + w * 32); warp_gen[w]++; return; }
  long g = warp_gen[w]; while (warp_gen[w] == g) yield_();
}
inline void tramp() { (*body)(); progress++; fibers[cur].done = true; swapcontext(&fibers[cur].c, &main_ctx); }
inline void launch(dim3 g, int threads, size_t shared, std::function<void()> k) {
  const size_t ST = 1 << 16;
  body = &k; gridDim = g; blockDim = dim3(threads); stacks.resize(ST * threads);
  for (unsigned z = 0; z < g.z; z++) for (unsigned y = 0; y < g.y; y++) for (unsigned x = 0; x < g.x; x++) {
    blockIdx = dim3(x, y, z); smem.assign(shared + 16, 0xff); fibers.assign(threads, Fiber()); block_count = 0;
    memset(warp_count, 0, sizeof warp_count);
    for (int i = 0; i < threads; i++) {
      auto& f = fibers[i]; getcontext(&f.c); f.c.uc_stack.ss_sp = &stacks[ST * i]; f.c.uc_stack.ss_size = ST; f.c.uc_link = &main_ctx;
      makecontext(&f.c, tramp, 0);
    }
    for (bool live = true; live;) {
      live = false; long p = progress;
      for (cur = 0; cur < threads; cur++) if (!fibers[cur].done) { threadIdx = dim3(cur); swapcontext(&main_ctx, &fibers[cur].c); live = true; }
      if (live && p == progress) { printf("emulator: deadlock\n"); exit(2); }
    }
  }
}
inline void check(uint32_t a, int n) { if (a % 16 || a + n > smem.size() - 16) { printf("emulator: bad shared address %u\n", a); exit(2); } }
}  // namespace emu

#define __global__ static
#define __launch_bounds__(...)
#define ATTN_DEV static inline
typedef uint32_t saddr;
inline void __syncthreads() { emu::block_sync(); }
inline saddr smem_address() { return 0; }
inline uint32_t* smem_words() { return (uint32_t*)emu::smem.data(); }
inline void copy16(void* dst, const void* src) {
  if ((uintptr_t)dst % 16) { printf("emulator: unaligned store\n"); exit(2); }
  memcpy(dst, src, 16);
}
inline void warp_sync() { emu::warp_op([](emu::Lane*) {}); }
inline float* smem_floats() { return (float*)emu::smem.data(); }

inline int thread_index_volatile() { return threadIdx.x; }
inline bool any_lane(bool b) {
  emu::lanes[emu::cur].in[0] = b; emu::warp_op([](emu::Lane* l) { uint32_t r = 0; for (int i = 0; i < 32; i++) r |= l[i].in[0]; for (int i = 0; i < 32; i++) l[i].out[0] = r; });
  return emu::lanes[emu::cur].out[0];
}
inline float shuffle_xor(float v, int m) {
  memcpy(&emu::lanes[emu::cur].in[0], &v, 4); emu::warp_op([m](emu::Lane* l) { for (int i = 0; i < 32; i++) l[i].out[0] = l[i ^ m].in[0]; });
  memcpy(&v, &emu::lanes[emu::cur].out[0], 4); return v;
}
inline float ex2(float x) { return exp2f(x); }
inline float reciprocal(float x) { return 1.0f / x; }
inline uint32_t pack_half2(float a, float b) { return emu::pack(a, b); }
inline uint32_t ex2_half2(uint32_t x) { return emu::pack(exp2f(emu::lo(x)), exp2f(emu::hi(x))); }
inline float negative_infinity() { return -INFINITY; }
inline uint32_t load_global_u32(const uint16_t* p) { uint32_t v; memcpy(&v, p, 4); return v; }
inline void store_shared_zero16(saddr a) { emu::check(a, 16); memset(&emu::smem[a], 0, 16); }

// Lane 8i+r gives the address of row r of matrix i. Without .trans lane T receives elements (T/4, 2(T%4)), (T/4, 2(T%4)+1);
// with .trans the roles of row and column are exchanged.
template <int N, bool TRANS> inline void ldmatrix_emulated(uint32_t* r, saddr a) {
  emu::lanes[emu::cur].in[0] = a;
  emu::warp_op([](emu::Lane* l) {
    for (int m = 0; m < N; m++) for (int t = 0; t < 32; t++) {
      uint16_t e[2];
      for (int k = 0; k < 2; k++) {
        int row = TRANS ? 2 * (t % 4) + k : t / 4, col = TRANS ? t / 4 : 2 * (t % 4) + k;
        uint32_t p = l[8 * m + row].in[0]; emu::check(p, 16); memcpy(&e[k], &emu::smem[p + 2 * col], 2);
      }
      l[t].out[m] = e[0] | (uint32_t)e[1] << 16;
    }
  });
  for (int m = 0; m < N; m++) r[m] = emu::lanes[emu::cur].out[m];
}
inline void ldmatrix_x4(uint32_t (&r)[4], saddr a) { ldmatrix_emulated<4, false>(r, a); }
inline void ldmatrix_x2(uint32_t (&r)[4], saddr a) { ldmatrix_emulated<2, false>(r, a); }
inline void ldmatrix_x4_trans(uint32_t (&r)[4], saddr a) { ldmatrix_emulated<4, true>(r, a); }
inline void ldmatrix_x2_trans(uint32_t (&r)[4], saddr a) { ldmatrix_emulated<2, true>(r, a); }

// Fragment layouts from the PTX manual, g = lane/4, t = lane%4. A: a0 (g, 2t), a1 (g+8, 2t), a2 (g, 2t+8), a3 (g+8, 2t+8);
// B: b0 (k = 2t, n = g), b1 (k = 2t+8, n = g); C: c0, c1 (g, 2t), (g, 2t+1), c2, c3 the same in row g+8.
template <int K> inline void mma_emulated(float (&d)[4], const uint32_t* a, const uint32_t* b) {
  emu::Lane& me = emu::lanes[emu::cur];
  for (int i = 0; i < K / 4; i++) me.in[i] = a[i];
  for (int i = 0; i < K / 8; i++) me.in[4 + i] = b[i];
  memcpy(me.in + 6, d, 16);
  emu::warp_op([](emu::Lane* l) {
    float A[16][K], B[K][8];
    for (int t = 0; t < 32; t++) {
      int g = t / 4, q = 2 * (t % 4);
      for (int i = 0; i < K / 4; i++) { int r = g + 8 * (i & 1), c = q + 8 * (i >> 1); A[r][c] = emu::lo(l[t].in[i]); A[r][c + 1] = emu::hi(l[t].in[i]); }
      for (int i = 0; i < K / 8; i++) { B[q + 8 * i][g] = emu::lo(l[t].in[4 + i]); B[q + 8 * i + 1][g] = emu::hi(l[t].in[4 + i]); }
    }
    for (int t = 0; t < 32; t++) for (int i = 0; i < 4; i++) {
      int r = t / 4 + 8 * (i >> 1), c = 2 * (t % 4) + (i & 1); float s; memcpy(&s, &l[t].in[6 + i], 4);
      for (int k = 0; k < K; k++) s += A[r][k] * B[k][c];
      memcpy(&l[t].out[i], &s, 4);
    }
  });
  memcpy(d, me.out, 16);
}
inline void mma_16816(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) { uint32_t b[2] = {b0, b1}; mma_emulated<16>(d, a, b); }
inline void mma_1688(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t b0) { uint32_t a[2] = {a0, a1}; mma_emulated<8>(d, a, &b0); }

inline void cp_async16(saddr dst, const void* src, int bytes) {
  emu::check(dst, 16); auto& g = emu::fibers[emu::cur].groups; if (g.empty()) g.emplace_back();
  if ((uintptr_t)src % 16) { printf("emulator: unaligned cp.async source\n"); exit(2); }
  memset(&emu::smem[dst], 0xff, 16); g.back().push_back({dst, src, bytes});
}
inline void cp_async_commit() { auto& g = emu::fibers[emu::cur].groups; if (g.empty()) g.emplace_back(); g.emplace_back(); }
template <int N> inline void cp_async_wait() {
  auto& g = emu::fibers[emu::cur].groups;
  while ((int)g.size() > N + 1) {
    for (auto& c : g.front()) { unsigned char b[16] = {0}; memcpy(b, c.src, c.bytes); memcpy(&emu::smem[c.dst], b, 16); }
    g.erase(g.begin());
  }
}
