#include "cutlass/cutlass.h"
#include "cutlass/epilogue/collective/collective_builder.hpp"
#include "cutlass/epilogue/fusion/operations.hpp"
#include "cutlass/conv/collective/collective_builder.hpp"
#include "cutlass/conv/kernel/conv_universal.hpp"
#include "cutlass/conv/device/conv_universal_adapter.hpp"
using namespace cute; using El=cutlass::half_t; using Acc=float;
#if COOP
using ES=cutlass::epilogue::TmaWarpSpecializedCooperative; using MS=cutlass::conv::KernelImplicitTmaWarpSpecializedSm90Cooperative;
#else
using ES=cutlass::epilogue::TmaWarpSpecialized; using MS=cutlass::conv::KernelImplicitTmaWarpSpecializedSm90;
#endif
  using TileT=Shape<Int<TM>,Int<TN>,Shape<Int<TK>>>; using Cl=Shape<Int<CM>,_1,_1>;
  using Fus=cutlass::epilogue::fusion::LinCombPerColBias<El,Acc,El,El,Acc>;
  using Epi=typename cutlass::epilogue::collective::CollectiveBuilder<cutlass::arch::Sm90,cutlass::arch::OpClassTensorOp,
     Shape<Int<TM>,Int<TN>,Int<TK>>,Cl,cutlass::epilogue::collective::EpilogueTileAuto,Acc,Acc,
     El,cutlass::layout::TensorNHWC,8,El,cutlass::layout::TensorNHWC,8,ES,Fus>::CollectiveOp;
  using Main=typename cutlass::conv::collective::CollectiveBuilder<cutlass::arch::Sm90,cutlass::arch::OpClassTensorOp,
     cutlass::conv::Operator::kFprop,El,cutlass::layout::TensorNHWC,8,El,cutlass::layout::TensorNHWC,8,Acc,TileT,Cl,
     cutlass::conv::collective::StageCountAutoCarveout<int(sizeof(typename Epi::SharedStorage))>,MS>::CollectiveOp;
  using PS=cutlass::conv::ConvProblemShape<cutlass::conv::Operator::kFprop,2>;
  using KernelT=cutlass::conv::kernel::ConvUniversal<PS,Main,Epi>;
  using G=cutlass::conv::device::ConvUniversalAdapter<KernelT>;
extern "C" int NAME(const void*x,const void*w,const void*bias,const void*res,void*y,int n,int h,int wd,int c,int k,int r,int s,int pad,int stride,int slices,void*ws,size_t wsz,cudaStream_t st){
  if(c%8||k%8) return -1; if(slices!=1) return -6;
  int dev=0; cudaError_t e=cudaGetDevice(&dev); if(e!=cudaSuccess) return (int)e;
  static int sms=0; if(!sms){ e=cudaDeviceGetAttribute(&sms,cudaDevAttrMultiProcessorCount,dev); if(e!=cudaSuccess){sms=0;return (int)e;} }
  PS ps(cutlass::conv::Mode::kCrossCorrelation,{n,h,wd,c},{k,r,s,c},{pad,pad},{pad,pad},{stride,stride},{1,1},1);
  typename KernelT::StrideC dc{}; typename KernelT::StrideD dd{};
  cute::for_each(cute::make_seq<cute::rank<0>(typename KernelT::StrideC{})>{},[&](auto i){ cute::get<0,i>(dc)=ps.stride_C[PS::RankT-2-i]; });
  cute::for_each(cute::make_seq<cute::rank<0>(typename KernelT::StrideD{})>{},[&](auto i){ cute::get<0,i>(dd)=ps.stride_C[PS::RankT-2-i]; });
  typename KernelT::Arguments a{ps,{(El const*)x,(El const*)w},{{},(El const*)(res?res:y),dc,(El*)y,dd}};
  a.epilogue.thread.alpha=1.f; a.epilogue.thread.beta=res?1.f:0.f; a.epilogue.thread.bias_ptr=(El const*)bias;
  a.hw_info.device_id=dev; a.hw_info.sm_count=sms;
  cutlass::Status s2=G::can_implement(a); if(s2!=cutlass::Status::kSuccess) return -10-(int)s2;
  if(G::get_workspace_size(a)>wsz) return -3;
  G g; s2=g.initialize(a,ws,st); if(s2!=cutlass::Status::kSuccess){ e=cudaGetLastError(); return e!=cudaSuccess?(int)e:-50-(int)s2; }
  s2=g.run(st); if(s2!=cutlass::Status::kSuccess){ e=cudaGetLastError(); return e!=cudaSuccess?(int)e:-80-(int)s2; }
  return (int)cudaGetLastError();
}
