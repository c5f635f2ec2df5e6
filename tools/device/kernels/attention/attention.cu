// Attention forward, softmax(Q K^T * scale) V, for inference: f16 in and out, f32 accumulation and softmax statistics.
//
// Tensors are [B, N, H, D]; element (b, n, h, d) of q lies at q[(b*n_q + n)*q_stride + h*D + d], and so for k, v, o with
// strides of their own, so that q, k, v may be slices of one packed QKV matrix. Pointers and strides must be multiples of
// 16 bytes (8 elements). D is 40, 64, 80 or 160; n_q and n_k are any numbers from 1 on.
//
// One block computes BM = 16*MT*WM query rows of one head. Keys come in tiles of BN by cp.async, STAGES tiles in flight.
// The warps form a grid of WM (query rows) x KS (keys): warp (m, s) takes rows [16*MT*m, 16*MT*(m+1)) and of every tile the
// chunks s, s+KS, ... of KC keys. With KS > 1 the partial results are merged once, at the end, through shared memory. Per
// chunk a warp computes S = Q K^T (m16n8k16), P = exp2(S*c - m), O += P V; S and P live only in registers, since the
// accumulator layout of S is the A-operand layout of P.
//
// Choices that matter for speed:
//  - MT = 2 lets each K and V fragment read from shared memory serve 32 rows; with MT = 1 and D = 40 the reads of shared
//    memory alone would take longer than the tensor cores.
//  - The running maximum is kept lazily: O and l stay relative to an old maximum as long as no score exceeds it by more
//    than TAU = 8 in base 2 (P <= 256, far inside f16). The result is mathematically the same and loses no precision, as P
//    is rounded relatively. Most chunks then need neither shuffles nor a rescale of O, only one warp vote.
//    LATE goes further and drops the maximum of the scores, too: it sees growth in the bits of P.
//  - Rows in shared memory have an odd number of 16-byte units (5, 7, 9, 11, 21), so the eight rows of one ldmatrix phase
//    fall into eight different groups of banks.
//  - D = 40 is 2.5 steps of 16. Either the last half step is one m16n8k8 (FLAGS & K8; nothing is padded), or K is padded to
//    48 with zeros in shared memory.
//
// Every function that is PTX here has a twin in emulator.hpp; g++ compiles this file with that header and tests it on a CPU.
#include <stdint.h>
#ifdef __CUDACC__
#include <cuda_runtime.h>
#define ATTN_DEV static __device__ __forceinline__
typedef uint32_t saddr;  // address in shared memory

extern __shared__ __align__(128) unsigned char attention_smem[];
ATTN_DEV saddr smem_address() { return (saddr)__cvta_generic_to_shared(attention_smem); }
ATTN_DEV float* smem_floats() { return (float*)attention_smem; }
ATTN_DEV uint32_t* smem_words() { return (uint32_t*)attention_smem; }
ATTN_DEV void copy16(void* dst, const void* src) { *(uint4*)dst = *(const uint4*)src; }
ATTN_DEV void warp_sync() { __syncwarp(); }
ATTN_DEV int thread_index_volatile() { int t; asm volatile("mov.u32 %0, %%tid.x;" : "=r"(t)); return t; }  // never hoisted
ATTN_DEV bool any_lane(bool b) { return __any_sync(0xffffffffu, b); }
ATTN_DEV float shuffle_xor(float v, int m) { return __shfl_xor_sync(0xffffffffu, v, m); }
ATTN_DEV float negative_infinity() { return __int_as_float(0xff800000); }
ATTN_DEV float ex2(float x) { float y; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
ATTN_DEV float reciprocal(float x) { float y; asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
ATTN_DEV uint32_t pack_half2(float a, float b) { uint32_t r; asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(b), "f"(a)); return r; }
ATTN_DEV uint32_t ex2_half2(uint32_t x) { uint32_t r; asm("ex2.approx.f16x2 %0, %1;" : "=r"(r) : "r"(x)); return r; }
ATTN_DEV uint32_t load_global_u32(const uint16_t* p) { return __ldg((const unsigned*)p); }
ATTN_DEV void store_shared_zero16(saddr a) { asm volatile("st.shared.v4.b32 [%0], {%1, %1, %1, %1};" ::"r"(a), "r"(0) : "memory"); }
ATTN_DEV void ldmatrix_x4(uint32_t (&r)[4], saddr a) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(a));
}
ATTN_DEV void ldmatrix_x2(uint32_t (&r)[4], saddr a) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(a));
}
ATTN_DEV void ldmatrix_x4_trans(uint32_t (&r)[4], saddr a) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(a));
}
ATTN_DEV void ldmatrix_x2_trans(uint32_t (&r)[4], saddr a) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(a));
}
ATTN_DEV void mma_16816(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
ATTN_DEV void mma_1688(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t b0) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a0), "r"(a1), "r"(b0));
}
// Copies `bytes` (16 or 0) bytes and fills the rest of the 16 with zeros.
ATTN_DEV void cp_async16(saddr dst, const void* src, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(dst), "l"(__cvta_generic_to_global(src)), "r"(bytes) : "memory");
}
ATTN_DEV void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> ATTN_DEV void cp_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }
#else
#include "emulator.hpp"
#endif

enum : int {
  K8 = 1,      // D = 40: last 8 columns of Q K^T by m16n8k8 instead of padding to 48
  MMASUM = 2,  // row sums by an extra mma with a column of ones instead of f32 additions
  EXPH2 = 4,   // P by ex2.approx.f16x2 (needs MMASUM; less exact)
  CAUSAL = 8,  // key j is seen by rows i >= j only
  PIPE = 16,   // start a chunk's Q K^T before the exponentials of the one before it (more registers)
  ROLLED = 32, // do not unroll the loop over the chunks of a tile
  LATE = 64,   // look for a new maximum after the exponentials (for many keys: the first chunk is computed twice)
};

struct AttentionParams {
  const uint16_t *q, *k, *v;
  uint16_t* o;
  int n_q, n_k, q_stride, k_stride, v_stride, o_stride;
  float scale_log2;  // scale * log2(e); must be positive
};

template <int D_, int MT_, int WM_, int KS_, int BN_, int KC_, int STAGES_, int FLAGS_> struct AttentionConfig {
  static constexpr int D = D_, MT = MT_, WM = WM_, KS = KS_, BN = BN_, KC = KC_, STAGES = STAGES_, FLAGS = FLAGS_;
  static constexpr int BM = 16 * MT * WM, THREADS = 32 * WM * KS, UNITS = D / 8;   // a unit is 16 bytes, 8 columns
  static constexpr bool TAIL8 = D % 16 == 8 && (FLAGS & K8);                       // a half step of 8 columns at the end
  static constexpr int KSTEPS = TAIL8 ? D / 16 : (D + 15) / 16;                    // steps of 16 columns in Q K^T
  static constexpr int K_UNITS = KSTEPS * 2 + (TAIL8 ? 1 : 0);
  static constexpr int LDK = K_UNITS | 1, LDV = UNITS | 1;                         // odd row strides, in units
  static constexpr int K_BYTES = BN * LDK * 16, V_BYTES = BN * LDV * 16, STAGE_BYTES = K_BYTES + V_BYTES;
  static constexpr int STATE = MT * (UNITS * 4 + 4);                               // floats a lane hands over when KS > 1
  static constexpr int MERGE_BYTES = (KS - 1) * WM * 32 * STATE * 4;
  static constexpr int OUT_BYTES = BM * LDV * 16;                                  // the results on their way out
  static constexpr int SMEM = STAGES * STAGE_BYTES > MERGE_BYTES + OUT_BYTES ? STAGES * STAGE_BYTES : MERGE_BYTES + OUT_BYTES;
  static constexpr bool IS_CAUSAL = FLAGS & CAUSAL, SUM_BY_MMA = FLAGS & MMASUM, HALF_EXP = FLAGS & EXPH2, IS_PIPE = FLAGS & PIPE, IS_ROLLED = FLAGS & ROLLED, IS_LATE = FLAGS & LATE;
  static constexpr float TAU = HALF_EXP ? 4.0f : 8.0f;   // growth of the maximum that is let pass
  static constexpr float SHIFT = IS_LATE ? 4.0f : 0.0f;  // m is the maximum plus this; LATE lets pass a growth of SHIFT + 1
  static_assert(!IS_PIPE || !IS_ROLLED, "PIPE alternates between two arrays, which takes an unrolled loop");
  static_assert(D % 8 == 0 && BN % KC == 0 && KC % 16 == 0, "tile sizes");
  static_assert(!HALF_EXP || SUM_BY_MMA, "EXPH2 needs MMASUM");
  static_assert(!IS_CAUSAL || KS == 1, "with KS > 1 a warp may see a row none of whose keys is allowed");
};

// Starts the copy of tile t of K and V. A thread copies one 16-byte unit of every ROWS-th row, so that its addresses differ
// from pass to pass by constants only. Rows past the end become zeros (V must: 0 * NaN is NaN); with 0 bytes cp.async reads
// nothing. Everything is computed afresh for each tile: kept over the main loop it would push fragments out of the registers.
template <class C> ATTN_DEV void load_tile(const AttentionParams& p, saddr dst, int t) {
  constexpr int PASS = C::THREADS / C::UNITS * C::UNITS, PASSES = (C::BN * C::UNITS + PASS - 1) / PASS, ROWS = (C::BN + PASSES - 1) / PASSES;
  static_assert(ROWS * C::UNITS <= C::THREADS, "one unit per thread and pass");
  const int tid = thread_index_volatile(), row = tid / C::UNITS, unit = tid - row * C::UNITS;
  if (row < ROWS) {
    const int left = p.n_k - t * C::BN - row, column = blockIdx.y * C::D + unit * 8;  // left: rows from this thread's first one on
    const int64_t first = (int64_t)blockIdx.z * p.n_k + t * C::BN + row;
    const uint16_t* k = p.k + first * p.k_stride + column;
    const saddr kd = dst + (row * C::LDK + unit) * 16;
#pragma unroll
    for (int i = 0; i < PASSES; i++)
      if ((i + 1) * ROWS <= C::BN || row < C::BN - i * ROWS) cp_async16(kd + i * ROWS * C::LDK * 16, k + (int64_t)p.k_stride * (i * ROWS), i * ROWS < left ? 16 : 0);
    const uint16_t* v = p.v + first * p.v_stride + column;
    const saddr vd = dst + C::K_BYTES + (row * C::LDV + unit) * 16;
#pragma unroll
    for (int i = 0; i < PASSES; i++)
      if ((i + 1) * ROWS <= C::BN || row < C::BN - i * ROWS) cp_async16(vd + i * ROWS * C::LDV * 16, v + (int64_t)p.v_stride * (i * ROWS), i * ROWS < left ? 16 : 0);
  }
}

// What a warp keeps in registers over all keys. r = 0, 1 are rows g = lane/4 and g+8 of each group of 16.
template <class C> struct WarpState {
  uint32_t q[C::MT][C::KSTEPS][4];
  uint32_t q_tail[C::MT][2];
  float o[C::MT][C::UNITS][4];
  float m[C::MT][2];                    // the maximum O and l are relative to, times scale_log2
  float l[C::MT][C::SUM_BY_MMA ? 4 : 2];  // sum of P: this lane's part, or (MMASUM) an accumulator whose columns all hold it
};

// S = Q K^T for one chunk of KC keys. k, k_tail: this lane's ldmatrix addresses for the chunk, see the kernel.
template <class C> ATTN_DEV void scores(float (&s)[C::MT][C::KC / 8][4], const WarpState<C>& w, saddr k, saddr k_tail) {
  constexpr int MT = C::MT, NT = C::KC / 8;
#pragma unroll
  for (int i = 0; i < MT; i++)
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) s[i][n][e] = 0.0f;
#pragma unroll
  for (int kk = 0; kk < C::KSTEPS; kk++)
#pragma unroll
    for (int j = 0; j < NT / 2; j++) {
      uint32_t b[4];
      ldmatrix_x4(b, k + (j * 16 * C::LDK + kk * 2) * 16);
#pragma unroll
      for (int i = 0; i < MT; i++) { mma_16816(s[i][2 * j], w.q[i][kk], b[0], b[1]); mma_16816(s[i][2 * j + 1], w.q[i][kk], b[2], b[3]); }
    }
  if (C::TAIL8) {
#pragma unroll
    for (int j = 0; j < NT; j += (NT % 4 ? 2 : 4)) {
      uint32_t b[4];
      if (NT % 4) ldmatrix_x2(b, k_tail + j * 8 * C::LDK * 16); else ldmatrix_x4(b, k_tail + j * 8 * C::LDK * 16);
#pragma unroll
      for (int n = 0; n < (NT % 4 ? 2 : 4); n++)
#pragma unroll
        for (int i = 0; i < MT; i++) mma_1688(s[i][j + n], w.q_tail[i][0], w.q_tail[i][1], b[n]);
    }
  }
}

// Scores of keys that a row must not see become -infinity. key0: the chunk's first key; row0: this lane's first row g.
template <class C> ATTN_DEV void mask(float (&s)[C::MT][C::KC / 8][4], int key0, int row0, int n_k) {
  const int lane2 = 2 * (threadIdx.x & 3);
#pragma unroll
  for (int i = 0; i < C::MT; i++)
#pragma unroll
    for (int n = 0; n < C::KC / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        int key = key0 + n * 8 + lane2 + (e & 1);
        if (key >= n_k || (C::IS_CAUSAL && key > row0 + i * 16 + (e >> 1) * 8)) s[i][n][e] = negative_infinity();
      }
}

// This lane's part of each row's maximum.
template <class C> ATTN_DEV void maxima(float (&top)[C::MT][2], const float (&s)[C::MT][C::KC / 8][4]) {
#pragma unroll
  for (int i = 0; i < C::MT; i++)
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float x = fmaxf(s[i][0][2 * r], s[i][0][2 * r + 1]);
#pragma unroll
      for (int n = 1; n < C::KC / 8; n++) x = fmaxf(x, fmaxf(s[i][n][2 * r], s[i][n][2 * r + 1]));
      top[i][r] = x;
    }
}

// Makes every row's m at least its new maximum + SHIFT and rescales l and O to it.
template <class C> ATTN_DEV void raise_maximum(WarpState<C>& w, const float (&top)[C::MT][2], float c) {
#pragma unroll
  for (int i = 0; i < C::MT; i++)
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float x = top[i][r];
      x = fmaxf(x, shuffle_xor(x, 1));
      x = fmaxf(x, shuffle_xor(x, 2));
      x = fmaxf(w.m[i][r], fmaf(x, c, C::SHIFT));
      float a = ex2(w.m[i][r] - x);  // 0 at first
      w.m[i][r] = x;
      if (C::SUM_BY_MMA) { w.l[i][2 * r] *= a; w.l[i][C::SUM_BY_MMA ? 2 * r + 1 : 0] *= a; } else w.l[i][r] *= a;
#pragma unroll
      for (int n = 0; n < C::UNITS; n++) { w.o[i][n][2 * r] *= a; w.o[i][n][2 * r + 1] *= a; }
    }
}

// P = exp2(S*c - m), packed to f16 as the A operand of P V; part: this lane's part of the row sums (not with MMASUM).
template <class C>
ATTN_DEV void exponentials(uint32_t (&p)[C::MT][C::KC / 16][4], float (&part)[C::MT][2], const float (&s)[C::MT][C::KC / 8][4], const WarpState<C>& w, float c) {
#pragma unroll
  for (int i = 0; i < C::MT; i++) {
    part[i][0] = part[i][1] = 0.0f;
#pragma unroll
    for (int n = 0; n < C::KC / 8; n++)
#pragma unroll
      for (int r = 0; r < 2; r++) {
        float x0 = fmaf(s[i][n][2 * r], c, -w.m[i][r]), x1 = fmaf(s[i][n][2 * r + 1], c, -w.m[i][r]);
        uint32_t& out = p[i][n / 2][(n & 1) * 2 + r];
        if (C::HALF_EXP) out = ex2_half2(pack_half2(x0, x1));
        else {
          x0 = ex2(x0);
          x1 = ex2(x1);
          if (!C::SUM_BY_MMA) part[i][r] = n ? part[i][r] + (x0 + x1) : x0 + x1;
          out = pack_half2(x0, x1);
        }
      }
  }
}

// Softmax of one chunk's scores and O += P V. k, k_tail, v, v_tail: this lane's ldmatrix addresses of the chunk. next() starts
// the scores of the following chunk (PIPE): it stands behind the vote's branch, so that its tensor work can overlap with the
// exponentials.
template <class C, bool MASK, class NEXT>
ATTN_DEV void softmax_pv(WarpState<C>& w, float (&s)[C::MT][C::KC / 8][4], saddr k, saddr k_tail, saddr v, saddr v_tail, float c, int key0, int row0, int n_k, NEXT next) {
  constexpr int MT = C::MT, NT = C::KC / 8;
  uint32_t p[MT][NT / 2][4];
  float part[MT][2];
  if (MASK) mask<C>(s, key0, row0, n_k);
  if (C::IS_LATE) {
    // Exponentiate first. P is at most 2^-SHIFT unless a score outgrew the maximum in use; 2.0 and more (infinity and NaN, too)
    // has bit 14 of its f16 set. That is rare, so the scores are then simply computed again.
    exponentials<C>(p, part, s, w, c);
    uint32_t bits = 0;
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
      for (int j = 0; j < NT / 2; j++) bits |= p[i][j][0] | p[i][j][1] | p[i][j][2] | p[i][j][3];
    if (any_lane(bits & 0x40004000u)) {
      float again[MT][NT][4], top[MT][2];
      scores<C>(again, w, k, k_tail);
      if (MASK) mask<C>(again, key0, row0, n_k);
      maxima<C>(top, again);
      raise_maximum<C>(w, top, c);
      exponentials<C>(p, part, again, w, c);
    }
    next();
  } else {
    float top[MT][2];
    bool grow = false;
    maxima<C>(top, s);
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
      for (int r = 0; r < 2; r++) grow |= fmaf(top[i][r], c, -w.m[i][r]) > C::TAU;  // at first m is -infinity: true
    if (any_lane(grow)) raise_maximum<C>(w, top, c);
    next();
    exponentials<C>(p, part, s, w, c);
  }
  if (!C::SUM_BY_MMA)
#pragma unroll
    for (int i = 0; i < MT; i++) { w.l[i][0] += part[i][0]; w.l[i][1] += part[i][1]; }
  // O += P V
#pragma unroll
  for (int j = 0; j < NT / 2; j++) {
#pragma unroll
    for (int u = 0; u + 1 < C::UNITS; u += 2) {
      uint32_t b[4];
      ldmatrix_x4_trans(b, v + (j * 16 * C::LDV + u) * 16);
#pragma unroll
      for (int i = 0; i < MT; i++) { mma_16816(w.o[i][u], p[i][j], b[0], b[1]); mma_16816(w.o[i][u + 1], p[i][j], b[2], b[3]); }
    }
    if (C::SUM_BY_MMA)
#pragma unroll
      for (int i = 0; i < MT; i++) mma_16816(reinterpret_cast<float(&)[4]>(w.l[i]), p[i][j], 0x3c003c00u, 0x3c003c00u);
  }
  if (C::UNITS % 2) {  // the last 8 columns
#pragma unroll
    for (int j = 0; j < NT / 2; j += (NT % 4 ? 1 : 2)) {
      uint32_t b[4];
      if (NT % 4) ldmatrix_x2_trans(b, v_tail + j * 16 * C::LDV * 16); else ldmatrix_x4_trans(b, v_tail + j * 16 * C::LDV * 16);
#pragma unroll
      for (int i = 0; i < MT; i++) {
        mma_16816(w.o[i][C::UNITS - 1], p[i][j], b[0], b[1]);
        if (NT % 4 == 0) mma_16816(w.o[i][C::UNITS - 1], p[i][j + 1 < NT / 2 ? j + 1 : j], b[2], b[3]);
      }
    }
  }
}

// Grid: (ceil(n_q / BM), heads, batch).
template <class C, int MIN_BLOCKS> __global__ void __launch_bounds__(C::THREADS, MIN_BLOCKS) attention_kernel(const AttentionParams p) {
  constexpr int D = C::D, MT = C::MT, BN = C::BN, KC = C::KC, STAGES = C::STAGES, UNITS = C::UNITS;
  const int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5, wm = C::KS == 1 ? warp : warp % C::WM, ks = C::KS == 1 ? 0 : warp / C::WM;
  const int head = blockIdx.y, batch = blockIdx.z;
  const int block_row = blockIdx.x * C::BM, warp_row = block_row + wm * 16 * MT, row0 = warp_row + (lane >> 2);
  const saddr base = smem_address();
  int tiles = (p.n_k + BN - 1) / BN;
  if (C::IS_CAUSAL) { int last = (block_row + C::BM - 1) / BN + 1; tiles = tiles < last ? tiles : last; }

  auto load = [&](int t) {  // tile t into its stage; always commits a group, so that the groups can be counted
    if (t < tiles) load_tile<C>(p, base + (STAGES == 1 ? 0 : t % STAGES) * C::STAGE_BYTES, t);
    cp_async_commit();
  };
#pragma unroll
  for (int t = 0; t < (STAGES == 1 ? 1 : STAGES - 1); t++) load(t);
  if (C::K_UNITS > UNITS)  // the columns that pad K to a multiple of 16: written once, never overwritten
    for (int i = tid; i < STAGES * BN; i += C::THREADS) store_shared_zero16(base + i / BN * C::STAGE_BYTES + (i % BN * C::LDK + UNITS) * 16);

  // Q goes from global memory straight into A fragments; it is read once, so staging it would only cost a barrier.
  WarpState<C> w;
  const uint16_t* q_src = p.q + (int64_t)batch * p.n_q * p.q_stride + head * D + 2 * (lane & 3);
#pragma unroll
  for (int i = 0; i < MT; i++)
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const int row = row0 + i * 16 + r * 8;
      const bool ok = row < p.n_q;
      const uint16_t* src = q_src + (int64_t)(ok ? row : 0) * p.q_stride;
#pragma unroll
      for (int kk = 0; kk < C::KSTEPS; kk++)
#pragma unroll
        for (int x = 0; x < 2; x++) w.q[i][kk][2 * x + r] = ok && kk * 16 + x * 8 < D ? load_global_u32(src + kk * 16 + x * 8) : 0u;
      w.q_tail[i][r] = C::TAIL8 && ok ? load_global_u32(src + D - 8) : 0u;
      w.m[i][r] = negative_infinity();
      w.l[i][r] = 0.0f;
      if (C::SUM_BY_MMA) w.l[i][r + (C::SUM_BY_MMA ? 2 : 0)] = 0.0f;
    }
#pragma unroll
  for (int i = 0; i < MT; i++)
#pragma unroll
    for (int n = 0; n < UNITS; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) w.o[i][n][e] = 0.0f;

  // Offsets of the lane's ldmatrix row. K: 16 keys x 16 columns, matrices (keys 0-7, columns 0-7), (0-7, 8-15), (8-15, 0-7),
  // (8-15, 8-15). V: (keys 0-7, columns 0-7), (8-15, 0-7), (0-7, 8-15), (8-15, 8-15). Tails: one column unit, 32 keys.
  const saddr k_off = (((lane & 7) + ((lane >> 4) << 3)) * C::LDK + ((lane >> 3) & 1)) * 16;
  const saddr v_off = ((lane & 15) * C::LDV + (lane >> 4)) * 16;
  const int tail_row = KC % 32 ? lane & 15 : lane;  // ldmatrix.x2 reads the addresses of lanes 0-15 only
  const saddr k_tail = (tail_row * C::LDK + UNITS - 1) * 16, v_tail = (tail_row * C::LDV + UNITS - 1) * 16;

#pragma unroll 1
  for (int t = 0; t < tiles; t++) {
    if (STAGES == 1 && t > 0) { __syncthreads(); load(t); }
    cp_async_wait<(STAGES > 2 ? STAGES - 2 : 0)>();
    __syncthreads();  // tile t has arrived for everybody, and nobody reads tile t-1 any more
    if (STAGES > 1) load(t + STAGES - 1);
    const saddr ka = base + (STAGES == 1 ? 0 : t % STAGES) * C::STAGE_BYTES, va = ka + C::K_BYTES;
    const int key0 = t * BN;
    if (key0 + BN <= p.n_k && (!C::IS_CAUSAL || key0 + BN - 1 <= warp_row)) {
      constexpr int CHUNKS = (BN / KC + C::KS - 1) / C::KS;
      float sc[C::IS_PIPE ? 2 : 1][MT][KC / 8][4];
      auto at = [&](int j) { return (j * C::KS + ks) * KC; };
      auto inside = [&](int j) { return j < CHUNKS && (BN / KC % C::KS == 0 || at(j) < BN); };
      auto k_at = [&](int j) { return ka + k_off + at(j) * C::LDK * 16; };
      auto k_tail_at = [&](int j) { return ka + k_tail + at(j) * C::LDK * 16; };
      if (C::IS_PIPE && inside(0)) scores<C>(sc[0], w, k_at(0), k_tail_at(0));
#pragma unroll(C::IS_ROLLED ? 1 : CHUNKS)
      for (int j = 0; j < CHUNKS; j++)
        if (inside(j)) {
          if (!C::IS_PIPE) scores<C>(sc[0], w, k_at(j), k_tail_at(j));
          softmax_pv<C, false>(w, sc[C::IS_PIPE ? j & 1 : 0], k_at(j), k_tail_at(j), va + v_off + at(j) * C::LDV * 16, va + v_tail + at(j) * C::LDV * 16, p.scale_log2, 0, 0, 0, [&] {
            if (C::IS_PIPE && inside(j + 1)) scores<C>(sc[C::IS_PIPE ? (j + 1) & 1 : 0], w, k_at(j + 1), k_tail_at(j + 1));
          });
        }
    } else {
#pragma unroll 1
      for (int x = ks * KC; x < BN && key0 + x < p.n_k && (!C::IS_CAUSAL || key0 + x < warp_row + 16 * MT); x += C::KS * KC) {
        float sc[MT][KC / 8][4];
        const saddr kx = ka + k_off + x * C::LDK * 16, kt = ka + k_tail + x * C::LDK * 16;
        scores<C>(sc, w, kx, kt);
        softmax_pv<C, true>(w, sc, kx, kt, va + v_off + x * C::LDV * 16, va + v_tail + x * C::LDV * 16, p.scale_log2, key0 + x, row0, p.n_k, [] {});
      }
    }
  }

  // Row sums of the whole row in every lane
  float l[MT][2];
#pragma unroll
  for (int i = 0; i < MT; i++)
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float x = w.l[i][C::SUM_BY_MMA ? 2 * r : r];
      if (!C::SUM_BY_MMA) { x += shuffle_xor(x, 1); x += shuffle_xor(x, 2); }
      l[i][r] = x;
    }

  if (C::KS > 1) {  // hand over to warp (wm, 0), which always has key 0 and so a finite maximum
    cp_async_wait<0>();
    __syncthreads();
    float* area = smem_floats() + lane;
    if (ks > 0) {
      float* f = area + ((ks - 1) * C::WM + wm) * C::STATE * 32;
#pragma unroll
      for (int i = 0; i < MT; i++) {
#pragma unroll
        for (int r = 0; r < 2; r++) { f[(i * 4 + r) * 32] = w.m[i][r]; f[(i * 4 + 2 + r) * 32] = l[i][r]; }
#pragma unroll
        for (int n = 0; n < UNITS; n++)
#pragma unroll
          for (int e = 0; e < 4; e++) f[(MT * 4 + (i * UNITS + n) * 4 + e) * 32] = w.o[i][n][e];
      }
    }
    __syncthreads();
    if (ks > 0) return;
#pragma unroll 1
    for (int s = 0; s < C::KS - 1; s++) {
      const float* f = area + (s * C::WM + wm) * C::STATE * 32;
#pragma unroll
      for (int i = 0; i < MT; i++) {
#pragma unroll
        for (int r = 0; r < 2; r++) {
          const float m2 = f[(i * 4 + r) * 32], l2 = f[(i * 4 + 2 + r) * 32], m = fmaxf(w.m[i][r], m2), a = ex2(w.m[i][r] - m), b = ex2(m2 - m);
          w.m[i][r] = m;
          l[i][r] = l[i][r] * a + l2 * b;
#pragma unroll
          for (int n = 0; n < UNITS; n++)
#pragma unroll
            for (int e = 2 * r; e < 2 * r + 2; e++) w.o[i][n][e] = w.o[i][n][e] * a + f[(MT * 4 + (i * UNITS + n) * 4 + e) * 32] * b;
        }
      }
    }
  }

  // The warp's rows go through shared memory, so that whole 16-byte units and sectors are written. With KS > 1 the barriers
  // above have freed the tiles already, and the area lies behind the one of the merge. The indices are computed afresh, so
  // that none of them occupies registers during the main loop.
  if (C::KS == 1) __syncthreads();
  const int last_tid = thread_index_volatile(), last_lane = last_tid & 31, last_wm = C::KS == 1 ? last_tid >> 5 : (last_tid >> 5) % C::WM;
  uint32_t* out = smem_words() + (C::MERGE_BYTES + last_wm * 16 * MT * C::LDV * 16) / 4;
#pragma unroll
  for (int i = 0; i < MT; i++)
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const float inv = reciprocal(l[i][r]);
      uint32_t* row = out + (i * 16 + r * 8 + (last_lane >> 2)) * C::LDV * 4 + (last_lane & 3);
#pragma unroll
      for (int n = 0; n < UNITS; n++) row[n * 4] = pack_half2(w.o[i][n][2 * r] * inv, w.o[i][n][2 * r + 1] * inv);
    }
  warp_sync();
  const int first_row = blockIdx.x * C::BM + last_wm * 16 * MT;
  uint16_t* dst = p.o + ((int64_t)blockIdx.z * p.n_q + first_row) * p.o_stride + blockIdx.y * D;
#pragma unroll
  for (int i = 0; i < 16 * MT * UNITS; i += 32) {
    const int x = i + last_lane, row = x / UNITS, unit = x - row * UNITS;
    if (row < 16 * MT && first_row + row < p.n_q) copy16(dst + (int64_t)row * p.o_stride + unit * 8, out + (row * C::LDV + unit) * 4);
  }
}

// ---------------------------------------------------------------- launch
#ifdef __CUDACC__
typedef cudaStream_t attention_stream;
#else
typedef void* attention_stream;
#endif
struct AttentionEntry {
  const char* name;
  int d, bm, bn, threads, smem, flags;
  int (*run)(const AttentionParams&, int batch, int heads, attention_stream);
};
template <class C, int MIN_BLOCKS> static int run_attention(const AttentionParams& p, int batch, int heads, attention_stream stream) {
  dim3 grid((p.n_q + C::BM - 1) / C::BM, heads, batch);
#ifdef __CUDACC__
  auto kernel = attention_kernel<C, MIN_BLOCKS>;
  static bool done = false;  // one device per process; setting it twice does no harm
  if (!done && C::SMEM > 48 * 1024) {
    cudaError_t e = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, C::SMEM);
    if (e != cudaSuccess) return (int)e;
  }
  done = true;
  kernel<<<grid, C::THREADS, C::SMEM, stream>>>(p);
  return (int)cudaGetLastError();
#else
  (void)stream;
  emu::launch(grid, C::THREADS, C::SMEM, [&] { attention_kernel<C, MIN_BLOCKS>(p); });
  return 0;
#endif
}
#define ATTENTION(NAME, D, MT, WM, KS, BN, KC, STAGES, FLAGS, MINB)                                                          \
  {NAME, D, 16 * MT * WM, BN, 32 * WM * KS, AttentionConfig<D, MT, WM, KS, BN, KC, STAGES, FLAGS>::SMEM, FLAGS, \
   &run_attention<AttentionConfig<D, MT, WM, KS, BN, KC, STAGES, FLAGS>, MINB>},
// Name: head dim, BM x BN, m(MT) w(WM) k(KS) c(KC) s(STAGES) b(MIN_BLOCKS), flags
#define E(D, MT, WM, KS, BN, KC, ST, FLAGS, MINB) \
  ATTENTION("d" #D "_m" #MT "w" #WM "k" #KS "_n" #BN "c" #KC "s" #ST "_b" #MINB "_f" #FLAGS, D, MT, WM, KS, BN, KC, ST, FLAGS, MINB)
#ifndef ATTENTION_PART
#define ATTENTION_PART 0  // 0: all; else one head dim, to compile in pieces
#endif
#define HAS(D) (ATTENTION_PART == 0 || ATTENTION_PART == D)
static const AttentionEntry attention_table[] = {
#include "configs.inc"
};
static const int attention_count = sizeof attention_table / sizeof attention_table[0];
#define CAT2(a, b) a##b
#define CAT(a, b) CAT2(a, b)
#ifdef __CUDACC__
extern "C" const AttentionEntry* CAT(attention_part_, ATTENTION_PART)(int* n) { *n = attention_count; return attention_table; }
#endif
