// CUTLASS 2.x GEMM, serial split-k. A [M,K] row, B [N,K] (column major), C bias with stride 0 or residual.
#include "cutlass/cutlass.h"
#include "cutlass/gemm/device/gemm.h"
#include "cutlass/epilogue/thread/linear_combination.h"
using E=cutlass::half_t;
using SW=cutlass::gemm::threadblock::GemmIdentityThreadblockSwizzle<4>;
using K=typename cutlass::gemm::kernel::DefaultGemm<E,cutlass::layout::RowMajor,8,E,cutlass::layout::ColumnMajor,8,E,cutlass::layout::RowMajor,float,
 cutlass::arch::OpClassTensorOp,cutlass::arch::Sm80,cutlass::gemm::GemmShape<TM,TN,TK>,cutlass::gemm::GemmShape<WM,WN,TK>,cutlass::gemm::GemmShape<16,8,16>,
 cutlass::epilogue::thread::LinearCombination<E,8,float,float>,SW,ST,true,cutlass::arch::OpMultiplyAdd>::GemmKernel;
extern "C" int NAME(const void*A,const void*B,const void*bias,const void*res,void*y,int m,int n,int k,int slices,void*ws,size_t wsz,cudaStream_t st){
  if(k%8||n%8||slices<1) return -1; if(bias&&res) return -4; const size_t SEM=1<<20; if(wsz<SEM) return -2;
  void*cp=res?(void*)res:(void*)bias; int ldc=(!cp||res)?n:0; if(!cp) cp=y;
  cutlass::gemm::GemmCoord ps(m,n,k); SW sw; auto gt=sw.get_tiled_shape(ps,{TM,TN,TK},slices);
  if((size_t)gt.m()*gt.n()*4>SEM) return -5;
  cutlass::TensorRef<E const,cutlass::layout::RowMajor> ra((E const*)A,k); cutlass::TensorRef<E const,cutlass::layout::ColumnMajor> rb((E const*)B,k);
  cutlass::TensorRef<E const,cutlass::layout::RowMajor> rc((E const*)cp,ldc); cutlass::TensorRef<E,cutlass::layout::RowMajor> rd((E*)y,n);
  cutlass::Status cs=K::can_implement(ps,ra.non_const_ref(),rb.non_const_ref(),rc.non_const_ref(),rd); if(cs!=cutlass::Status::kSuccess) return -10-(int)cs;
  typename K::Params pr(ps,gt,ra.non_const_ref(),rb.non_const_ref(),rc.non_const_ref(),rd,{1.f,(bias||res)?1.f:0.f},(int*)ws);
  int sm=int(sizeof(typename K::SharedStorage)); static bool done=false; cudaError_t e;
  if(!done){ e=cudaFuncSetAttribute(cutlass::Kernel<K>,cudaFuncAttributeMaxDynamicSharedMemorySize,sm); if(e!=cudaSuccess) return (int)e; done=true; }
  cutlass::Kernel<K><<<sw.get_grid_shape(gt),dim3(K::kThreadCount),sm,st>>>(pr);
  return (int)cudaGetLastError();
}
