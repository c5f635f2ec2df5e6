// C interface of libattn.so over the tables of the separately compiled parts of attention.cu.
#include <stdint.h>
#include <cuda_runtime.h>
struct AttentionParams { const uint16_t *q, *k, *v; uint16_t* o; int n_q, n_k, q_stride, k_stride, v_stride, o_stride; float scale_log2; };
struct AttentionEntry { const char* name; int d, bm, bn, threads, smem, flags; int (*run)(const AttentionParams&, int, int, cudaStream_t); };
extern "C" {
const AttentionEntry* attention_part_40(int*);
const AttentionEntry* attention_part_80(int*);
const AttentionEntry* attention_part_160(int*);
const AttentionEntry* attention_part_64(int*);
}
static const AttentionEntry* entry(int i) {
  const AttentionEntry* (*parts[])(int*) = {attention_part_40, attention_part_80, attention_part_160, attention_part_64};
  for (auto part : parts) { int n = 0; const AttentionEntry* t = part(&n); if (i < n) return t + i; i -= n; }
  return nullptr;
}
#define API extern "C" __attribute__((visibility("default")))
API const char* attn_name(int i) { auto e = entry(i); return e ? e->name : nullptr; }  // null past the last one
API int attn_info(int i, int* out) { auto e = entry(i); if (!e) return -1; out[0] = e->d; out[1] = e->bm; out[2] = e->bn; out[3] = e->threads; out[4] = e->smem; out[5] = e->flags; return 0; }
// Strides are rows' distances in elements; returns a CUDA error code, or -1 for arguments the kernel cannot take.
API int attn_run(int i, const void* q, const void* k, const void* v, void* o, int batch, int heads, int n_q, int n_k, int qs, int ks, int vs, int os, float scale, cudaStream_t s) {
  auto e = entry(i);
  if (!e || batch < 1 || heads < 1 || n_q < 1 || n_k < 1 || qs % 8 || ks % 8 || vs % 8 || os % 8 || !(scale > 0) || ((uintptr_t)q | (uintptr_t)k | (uintptr_t)v | (uintptr_t)o) % 16) return -1;
  AttentionParams p{(const uint16_t*)q, (const uint16_t*)k, (const uint16_t*)v, (uint16_t*)o, n_q, n_k, qs, ks, vs, os, scale * 1.4426950408889634f};
  return e->run(p, batch, heads, s);
}
