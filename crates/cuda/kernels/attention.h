/* What both attention kernels share. */
#ifndef ADIRE_ATTENTION_H
#define ADIRE_ATTENTION_H

#include "common.h"

/* adire_attention_args.algorithm of the tensor-core kernel. */
constexpr int ADIRE_ATTENTION_MMA = 2;

struct AttentionArgs {
  adire_view q, k, v, y;
  int32_t queries, keys, heads, depth, causal;
};

/* Numbers from the start of an image to its `token`th pixel. */
__device__ __forceinline__ int64_t token_offset(const adire_view &v, int token) {
  int row = token / v.width;
  return row * v.row_stride + (token - row * v.width) * v.pixel_stride;
}

/* Whether tensor cores can compute it. */
bool fits_mma(const AttentionArgs &a);
/* d up to 160: attention_mma.cu. */
int mma_attention(void *stream, const AttentionArgs &a);
/* d up to 512: attention_wide_mma.cu. */
int wide_mma_attention(void *stream, const AttentionArgs &a);

#endif
