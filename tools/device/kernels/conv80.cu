// CUTLASS 2.x implicit GEMM conv: NHWC f16, KRSC f16 weights, f32 accumulate. PAR: f32 partials + own reduction.
#include "cutlass/cutlass.h"
#include "cutlass/conv/kernel/default_conv2d_fprop.h"
#include "cutlass/conv/device/implicit_gemm_convolution.h"
#include "cutlass/epilogue/thread/linear_combination.h"
#include <cuda_fp16.h>
using E=cutlass::half_t;
#if PAR
using O=float; static constexpr int V=4;
#else
using O=E; static constexpr int V=8;
#endif
using K = typename cutlass::conv::kernel::DefaultConv2dFprop<E,cutlass::layout::TensorNHWC,E,cutlass::layout::TensorNHWC,O,cutlass::layout::TensorNHWC,float,
 cutlass::arch::OpClassTensorOp,cutlass::arch::Sm80,cutlass::gemm::GemmShape<TM,TN,TK>,cutlass::gemm::GemmShape<WM,WN,TK>,cutlass::gemm::GemmShape<16,8,16>,
 cutlass::epilogue::thread::LinearCombination<O,V,float,float>,cutlass::gemm::threadblock::GemmIdentityThreadblockSwizzle<4>,ST,cutlass::arch::OpMultiplyAdd,
 cutlass::conv::IteratorAlgorithm::kOptimized,cutlass::conv::StrideSupport::kStrided,8,8>::Kernel;
using D = cutlass::conv::device::ImplicitGemmConvolution<K>;
#if PAR
namespace { __global__ void __launch_bounds__(256) reduce_k(const float4*__restrict__ p,int slices,size_t mn4,int k4,const __half*__restrict__ bias,const __half*__restrict__ res,__half*__restrict__ y){
  for(size_t i=blockIdx.x*(size_t)256+threadIdx.x;i<mn4;i+=(size_t)gridDim.x*256){
    float4 a=p[i]; for(int s=1;s<slices;s++){float4 b=p[s*mn4+i];a.x+=b.x;a.y+=b.y;a.z+=b.z;a.w+=b.w;}
    if(bias){int c=int(i%k4)*4; a.x+=__half2float(bias[c]);a.y+=__half2float(bias[c+1]);a.z+=__half2float(bias[c+2]);a.w+=__half2float(bias[c+3]);}
    if(res){const __half*r=res+i*4;a.x+=__half2float(r[0]);a.y+=__half2float(r[1]);a.z+=__half2float(r[2]);a.w+=__half2float(r[3]);}
    __half2 h[2]={__floats2half2_rn(a.x,a.y),__floats2half2_rn(a.z,a.w)}; *(uint2*)(y+i*4)=*(uint2*)h;
  } } }
#endif
extern "C" int NAME(const void*x,const void*w,const void*bias,const void*res,void*y,int n,int h,int wd,int c,int k,int r,int s,int pad,int stride,int slices,void*ws,size_t wsz,cudaStream_t st){
  if(c%8||k%8||slices<1) return -1;
  int p=(h+2*pad-r)/stride+1,q=(wd+2*pad-s)/stride+1;
  cutlass::conv::Conv2dProblemSize ps({n,h,wd,c},{k,r,s,c},{pad,pad,pad,pad},{stride,stride},{1,1},{n,p,q,k},cutlass::conv::Mode::kCrossCorrelation,slices);
  using L=cutlass::layout::TensorNHWC;
  L la=L::packed({n,h,wd,c}),lw=L::packed({k,r,s,c}),ly=L::packed({n,p,q,k});
  const size_t SEM=1<<20; if(wsz<SEM) return -2;
#if PAR
  size_t mn=(size_t)n*p*q*k; if(wsz<SEM+mn*4*slices) return -3;
  float*part=(float*)((char*)ws+SEM);
  typename K::Arguments a(ps,{(E*)x,la},{(E*)w,lw},{part,ly},{part,ly},{1.f,0.f},cutlass::conv::SplitKMode::kParallel);
#else
  if(bias&&res) return -4;
  L lc=res?ly:L(L::Stride(cutlass::make_Coord(0,0,0))); void*cp=res?(void*)res:(void*)bias;
  typename K::Arguments a(ps,{(E*)x,la},{(E*)w,lw},{(E*)(cp?cp:y),cp?lc:ly},{(E*)y,ly},{1.f,cp?1.f:0.f},cutlass::conv::SplitKMode::kSerial);
#endif
  cutlass::Status cs=D::can_implement(a); if(cs!=cutlass::Status::kSuccess) return -10-(int)cs;
  typename K::Params pr(a,(int*)ws);
  cutlass::gemm::threadblock::GemmIdentityThreadblockSwizzle<4> sw;
  dim3 g=sw.get_grid_shape(pr.grid_tiled_shape); int sm=int(sizeof(typename K::SharedStorage));
  if((size_t)pr.grid_tiled_shape.m()*pr.grid_tiled_shape.n()*4>SEM) return -5;
  static bool done=false; cudaError_t e;
  if(!done){ e=cudaFuncSetAttribute(cutlass::Kernel<K>,cudaFuncAttributeMaxDynamicSharedMemorySize,sm); if(e!=cudaSuccess) return (int)e; done=true; }
  cutlass::Kernel<K><<<g,dim3(32*D::kWarpCount),sm,st>>>(pr);
  e=cudaGetLastError(); if(e!=cudaSuccess) return (int)e;
#if PAR
  size_t mn4=mn/4; int gb=(int)std::min<size_t>((mn4+255)/256,1056);
  reduce_k<<<gb,256,0,st>>>((const float4*)part,slices,mn4,k/4,(const __half*)bias,(const __half*)res,(__half*)y);
  e=cudaGetLastError(); if(e!=cudaSuccess) return (int)e;
#endif
  return 0;
}
