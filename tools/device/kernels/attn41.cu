// CUTLASS example 41 forward attention, [B,N,H,D] f16, Arch Sm80
#include "kernel_forward.h"
using AK=AttentionKernel<cutlass::half_t,cutlass::arch::Sm80,true,QB,KB,MK,false,false>;
static constexpr int TH=AK::kNumThreads, MB=AK::kMinBlocksPerSm;
__global__ void __launch_bounds__(TH,MB) attn_k(typename AK::Params p){ if(!p.advance_to_block()) return; AK::attention_kernel(p); }
// qs,ks,vs: row (token) strides in elements, so packed QKV works; output is [B,N,H*D]
extern "C" int NAME(const void*q,const void*k,const void*v,void*o,int b,int h,int nq,int nk,int d,int qs,int ks,int vs,float scale,void*ws,size_t wsz,cudaStream_t st){
  if(d%8||d>MK) return -1;
  typename AK::Params p; p.query_ptr=(cutlass::half_t*)q;p.key_ptr=(cutlass::half_t*)k;p.value_ptr=(cutlass::half_t*)v;p.output_ptr=(cutlass::half_t*)o;
  p.logsumexp_ptr=nullptr;p.output_accum_ptr=nullptr;
  if(AK::kNeedsOutputAccumulatorBuffer){ size_t need=(size_t)b*nq*h*d*4,SEM=1<<20; if(wsz<SEM+need) return -3; p.output_accum_ptr=(float*)((char*)ws+SEM); }
  p.scale=scale;p.num_heads=h;p.num_batches=b;p.head_dim=d;p.head_dim_value=d;p.num_queries=nq;p.num_keys=nk;p.custom_mask_type=AK::NoCustomMask;
  p.q_strideH=p.k_strideH=p.v_strideH=d;p.q_strideM=qs;p.k_strideM=ks;p.v_strideM=vs;
  p.q_strideB=(int64_t)qs*nq;p.k_strideB=(int64_t)ks*nk;p.v_strideB=(int64_t)vs*nk;p.o_strideM=h*d;
  if(!AK::check_supported(p)) return -10;
  int sm=sizeof(typename AK::SharedStorage); static bool done=false; cudaError_t e;
  if(!done){ e=cudaFuncSetAttribute(attn_k,cudaFuncAttributeMaxDynamicSharedMemorySize,sm); if(e!=cudaSuccess) return (int)e; done=true; }
  attn_k<<<p.getBlocksGrid(),p.getThreadsGrid(),sm,st>>>(p);
  return (int)cudaGetLastError();
}
