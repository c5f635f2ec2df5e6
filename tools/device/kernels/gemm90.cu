#include "cutlass/cutlass.h"
#include "cutlass/epilogue/collective/collective_builder.hpp"
#include "cutlass/epilogue/fusion/operations.hpp"
#include "cutlass/gemm/collective/collective_builder.hpp"
#include "cutlass/gemm/kernel/gemm_universal.hpp"
#include "cutlass/gemm/device/gemm_universal_adapter.h"
#include "cutlass/util/packed_stride.hpp"
using namespace cute; using El=cutlass::half_t; using Acc=float;
#if PP
using MS=cutlass::gemm::KernelTmaWarpSpecializedPingpong; using ES=cutlass::epilogue::TmaWarpSpecialized;
#else
using MS=cutlass::gemm::KernelTmaWarpSpecializedCooperative; using ES=cutlass::epilogue::TmaWarpSpecializedCooperative;
#endif
 using TileT=Shape<Int<TM>,Int<TN>,Int<TK>>; using Cl=Shape<Int<CM>,_1,_1>;
 using Fus=cutlass::epilogue::fusion::LinCombPerColBias<El,Acc,El,El,Acc>;
 using Epi=typename cutlass::epilogue::collective::CollectiveBuilder<cutlass::arch::Sm90,cutlass::arch::OpClassTensorOp,TileT,Cl,cutlass::epilogue::collective::EpilogueTileAuto,Acc,Acc,El,cutlass::layout::RowMajor,8,El,cutlass::layout::RowMajor,8,ES,Fus>::CollectiveOp;
 using Main=typename cutlass::gemm::collective::CollectiveBuilder<cutlass::arch::Sm90,cutlass::arch::OpClassTensorOp,El,cutlass::layout::RowMajor,8,El,cutlass::layout::ColumnMajor,8,Acc,TileT,Cl,cutlass::gemm::collective::StageCountAutoCarveout<int(sizeof(typename Epi::SharedStorage))>,MS>::CollectiveOp;
 using KernelT=cutlass::gemm::kernel::GemmUniversal<Shape<int,int,int,int>,Main,Epi>;
 using G=cutlass::gemm::device::GemmUniversalAdapter<KernelT>;
extern "C" int NAME(const void*A,const void*B,const void*bias,const void*res,void*y,int m,int n,int k,int slices,void*ws,size_t wsz,cudaStream_t st){
  if(k%8||n%8) return -1; if(slices!=1) return -6;
  int dev=0; cudaError_t e=cudaGetDevice(&dev); if(e!=cudaSuccess) return (int)e;
  static int sms=0; if(!sms){ e=cudaDeviceGetAttribute(&sms,cudaDevAttrMultiProcessorCount,dev); if(e!=cudaSuccess){sms=0;return (int)e;} }
  typename KernelT::Arguments a{}; a.mode=cutlass::gemm::GemmUniversalMode::kGemm; a.problem_shape={m,n,k,1};
  using SA=typename KernelT::StrideA; using SB=typename KernelT::StrideB; using SC=typename KernelT::StrideC; using SD=typename KernelT::StrideD;
  a.mainloop.ptr_A=(El const*)A; a.mainloop.dA=cutlass::make_cute_packed_stride(SA{},{m,k,1});
  a.mainloop.ptr_B=(El const*)B; a.mainloop.dB=cutlass::make_cute_packed_stride(SB{},{n,k,1});
  a.epilogue.thread.alpha=1.f; a.epilogue.thread.beta=res?1.f:0.f; a.epilogue.thread.bias_ptr=(El const*)bias;
  a.epilogue.ptr_C=(El const*)(res?res:y); a.epilogue.dC=cutlass::make_cute_packed_stride(SC{},{m,n,1});
  a.epilogue.ptr_D=(El*)y; a.epilogue.dD=cutlass::make_cute_packed_stride(SD{},{m,n,1});
  a.hw_info.device_id=dev; a.hw_info.sm_count=sms;
  cutlass::Status s=G::can_implement(a); if(s!=cutlass::Status::kSuccess) return -10-(int)s;
  if(G::get_workspace_size(a)>wsz) return -3;
  G g; s=g.initialize(a,ws,st); if(s!=cutlass::Status::kSuccess){ e=cudaGetLastError(); return e!=cudaSuccess?(int)e:-50-(int)s; }
  s=g.run(st); if(s!=cutlass::Status::kSuccess){ e=cudaGetLastError(); return e!=cudaSuccess?(int)e:-80-(int)s; }
  return (int)cudaGetLastError();
}
