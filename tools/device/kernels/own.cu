// Own GroupNorm(+SiLU), LayerNorm, GEGLU: NHWC f16, f32 statistics, no atomics, 16-byte accesses.
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <stdint.h>
namespace {
struct alignas(16) H8{ __half2 h[4]; };
__device__ __forceinline__ float silu(float x){ return x/(1.f+__expf(-x)); }
// grid (parts, batch); block T threads. Each thread owns a fixed column of 8 channels (c8 columns), rows strided.
// Partial sums per (batch, part, group): shared accumulation per column in fixed order. Requires (c/groups)%? any; handles 8-channel vectors crossing groups via per-channel sums.
// Output part[(b*parts+p)*groups+g] = {sum, sumsq} of (x - shift) with shift = x[b,0,first channel of group].
__global__ void __launch_bounds__(320) gn_stats(const __half*__restrict__ x,float2*__restrict__ part,int hw,int c,int groups,int parts,int rpb){
  extern __shared__ float sh[]; // c*2 floats * nothing else
  int c8=c/8,b=blockIdx.y,p=blockIdx.x,cg=c/groups; const __half*xb=x+(size_t)b*hw*c;
  int r0=p*rpb,r1=min(hw,r0+rpb);
  for(int base=0;base<c8;base+=blockDim.x){          // c8 may exceed the block
    int cols=min((int)blockDim.x,c8-base); int rows=max(1,(int)blockDim.x/cols);
    int col=threadIdx.x%cols,row=threadIdx.x/cols; bool act=row<rows;
    float s[8],q[8],m[8];
    #pragma unroll
    for(int i=0;i<8;i++){s[i]=0;q[i]=0;m[i]=0;}
    if(act){
      int ch=(base+col)*8;
      #pragma unroll
      for(int i=0;i<8;i++) m[i]=__half2float(xb[(ch+i)/cg*cg]);
      for(int r=r0+row;r<r1;r+=rows){
        H8 v=*(const H8*)(xb+(size_t)r*c+ch);
        #pragma unroll
        for(int i=0;i<4;i++){ float2 f=__half22float2(v.h[i]); f.x-=m[2*i];f.y-=m[2*i+1]; s[2*i]+=f.x;q[2*i]+=f.x*f.x;s[2*i+1]+=f.y;q[2*i+1]+=f.y*f.y; }
      }
    }
    // reduce over rows in fixed order through shared memory: rows x cols x 16 floats (<= blockDim*16)
    float*mine=sh+(size_t)threadIdx.x*17;
    if(act){
      #pragma unroll
      for(int i=0;i<8;i++){mine[i]=s[i];mine[8+i]=q[i];} }
    __syncthreads();
    float*acc=sh+(size_t)blockDim.x*17; // c*2 floats
    for(int t=threadIdx.x;t<cols*8;t+=blockDim.x){ int cc=t/8,i=t%8; float a=0,d=0; for(int r=0;r<rows;r++){ const float*o=sh+(size_t)(r*cols+cc)*17; a+=o[i]; d+=o[8+i]; } int ch=(base+cc)*8+i; acc[2*ch]=a; acc[2*ch+1]=d; }
    __syncthreads();
  }
  const float*acc=sh+(size_t)blockDim.x*17;
  for(int g=threadIdx.x;g<groups;g+=blockDim.x){ float a=0,d=0; for(int i=0;i<cg;i++){a+=acc[2*(g*cg+i)];d+=acc[2*(g*cg+i)+1];} part[((size_t)b*parts+p)*groups+g]=make_float2(a,d); }
}
template<bool SILU> __global__ void __launch_bounds__(256) gn_apply(const __half*__restrict__ x,const float2*__restrict__ part,const __half*__restrict__ gm,const __half*__restrict__ bt,__half*__restrict__ y,int hw,int c,int groups,int parts,float eps,int rpb){
  extern __shared__ float sh[]; float*mean=sh,*rstd=sh+groups; float*sc=sh+2*groups,*sf=sc+c;
  int b=blockIdx.y,cg=c/groups; const __half*xb=x+(size_t)b*hw*c; __half*yb=y+(size_t)b*hw*c;
  int lane=threadIdx.x&31,warp=threadIdx.x>>5;
  for(int g=warp;g<groups;g+=8){ float a=0,d=0; for(int p=lane;p<parts;p+=32){ float2 v=part[((size_t)b*parts+p)*groups+g]; a+=v.x;d+=v.y; }
    for(int o=16;o;o>>=1){a+=__shfl_xor_sync(~0u,a,o);d+=__shfl_xor_sync(~0u,d,o);}
    if(!lane){ float n=(float)hw*cg,ms=a/n; float var=fmaxf(d/n-ms*ms,0.f); mean[g]=ms+__half2float(xb[g*cg]); rstd[g]=rsqrtf(var+eps); } }
  __syncthreads();
  for(int i=threadIdx.x;i<c;i+=256){ int g=i/cg; float s=rstd[g]*__half2float(gm[i]); sc[i]=s; sf[i]=__half2float(bt[i])-mean[g]*s; }
  __syncthreads();
  int c8=c/8; size_t i0=(size_t)blockIdx.x*rpb*c8,i1=min((size_t)hw*c8,i0+(size_t)rpb*c8);
  for(size_t i=i0+threadIdx.x;i<i1;i+=256){ int ch=int(i%c8)*8; H8 v=((const H8*)xb)[i];
    #pragma unroll
    for(int j=0;j<4;j++){ float2 f=__half22float2(v.h[j]); f.x=f.x*sc[ch+2*j]+sf[ch+2*j]; f.y=f.y*sc[ch+2*j+1]+sf[ch+2*j+1]; if(SILU){f.x=silu(f.x);f.y=silu(f.y);} v.h[j]=__floats2half2_rn(f.x,f.y); }
    ((H8*)yb)[i]=v; }
}
// one warp per row; c <= 8*32*NV
template<int NV> __global__ void __launch_bounds__(128) ln_k(const __half*__restrict__ x,const __half*__restrict__ gm,const __half*__restrict__ bt,__half*__restrict__ y,int rows,int c,float eps){
  int row=blockIdx.x*4+(threadIdx.x>>5),lane=threadIdx.x&31; if(row>=rows) return; int c8=c/8; const H8*xr=(const H8*)(x+(size_t)row*c); H8*yr=(H8*)(y+(size_t)row*c);
  H8 v[NV]; float s=0;
  #pragma unroll
  for(int j=0;j<NV;j++){ int i=lane+32*j; if(i<c8){ v[j]=xr[i];
      #pragma unroll
      for(int t=0;t<4;t++){float2 f=__half22float2(v[j].h[t]);s+=f.x+f.y;} } }
  for(int o=16;o;o>>=1) s+=__shfl_xor_sync(~0u,s,o);
  float m=s/c,q=0;
  #pragma unroll
  for(int j=0;j<NV;j++){ int i=lane+32*j; if(i<c8){
      #pragma unroll
      for(int t=0;t<4;t++){float2 f=__half22float2(v[j].h[t]);f.x-=m;f.y-=m;q+=f.x*f.x+f.y*f.y;} } }
  for(int o=16;o;o>>=1) q+=__shfl_xor_sync(~0u,q,o);
  float r=rsqrtf(q/c+eps);
  #pragma unroll
  for(int j=0;j<NV;j++){ int i=lane+32*j; if(i<c8){ H8 g=((const H8*)gm)[i],b=((const H8*)bt)[i],o;
      #pragma unroll
      for(int t=0;t<4;t++){float2 f=__half22float2(v[j].h[t]),gg=__half22float2(g.h[t]),bb=__half22float2(b.h[t]); o.h[t]=__floats2half2_rn((f.x-m)*r*gg.x+bb.x,(f.y-m)*r*gg.y+bb.y);} yr[i]=o; } }
}
// x [rows, 2c]: y = x[:, :c] * gelu(x[:, c:])
__global__ void __launch_bounds__(256) geglu_k(const __half*__restrict__ x,__half*__restrict__ y,size_t n8,int c8){
  for(size_t i=blockIdx.x*(size_t)256+threadIdx.x;i<n8;i+=(size_t)gridDim.x*256){ size_t r=i/c8; int k=int(i%c8); H8 a=((const H8*)x)[r*2*c8+k],g=((const H8*)x)[r*2*c8+c8+k];
    #pragma unroll
    for(int t=0;t<4;t++){ float2 u=__half22float2(a.h[t]),v=__half22float2(g.h[t]); u.x*=0.5f*v.x*(1.f+erff(v.x*0.70710678f)); u.y*=0.5f*v.y*(1.f+erff(v.y*0.70710678f)); a.h[t]=__floats2half2_rn(u.x,u.y); }
    ((H8*)y)[i]=a; }
}
}
extern "C" int own_groupnorm(const void*x,const void*gm,const void*bt,void*y,int n,int hw,int c,int groups,float eps,int act,int parts,void*ws,size_t wsz,cudaStream_t st){
  if(c%8||c%groups||parts<1||c>2560) return -1; if(parts>hw) parts=hw; int rpb=(hw+parts-1)/parts; parts=(hw+rpb-1)/rpb;
  const size_t SEM=1<<20; if(wsz<SEM+(size_t)n*parts*groups*8) return -3; float2*pt=(float2*)((char*)ws+SEM);
  int T=320; size_t s1=((size_t)T*17+2*c)*4,s2=(2*(size_t)groups+2*c)*4; if(s1>48*1024) return -4;
  gn_stats<<<dim3(parts,n),T,s1,st>>>((const __half*)x,pt,hw,c,groups,parts,rpb); cudaError_t e=cudaGetLastError(); if(e!=cudaSuccess) return (int)e;
  int ap=(hw*(c/8)+256*8-1)/(256*8); if(ap<1) ap=1; if(ap>hw) ap=hw; if(ap>528) ap=528; int r2=(hw+ap-1)/ap; ap=(hw+r2-1)/r2;
  if(act) gn_apply<true><<<dim3(ap,n),256,s2,st>>>((const __half*)x,pt,(const __half*)gm,(const __half*)bt,(__half*)y,hw,c,groups,parts,eps,r2);
  else gn_apply<false><<<dim3(ap,n),256,s2,st>>>((const __half*)x,pt,(const __half*)gm,(const __half*)bt,(__half*)y,hw,c,groups,parts,eps,r2);
  return (int)cudaGetLastError();
}
extern "C" int own_layernorm(const void*x,const void*gm,const void*bt,void*y,int rows,int c,float eps,cudaStream_t st){
  if(c%8||c>1280||rows<1) return -1; dim3 g((rows+3)/4);
  #define L(N) ln_k<N><<<g,128,0,st>>>((const __half*)x,(const __half*)gm,(const __half*)bt,(__half*)y,rows,c,eps)
  if(c<=512) L(2); else if(c<=768) L(3); else L(5);
  return (int)cudaGetLastError();
}
extern "C" int own_geglu(const void*x,void*y,int rows,int c,cudaStream_t st){
  if(c%8) return -1; size_t n8=(size_t)rows*(c/8); int g=(int)((n8+255)/256); if(g>132*16) g=132*16;
  geglu_k<<<g,256,0,st>>>((const __half*)x,(__half*)y,n8,c/8); return (int)cudaGetLastError();
}
extern "C" int cand_probe(){ int n=0; cudaError_t e=cudaGetDeviceCount(&n); return e!=cudaSuccess?(int)e:0; }
extern "C" const char* cand_errstr(int e){ return cudaGetErrorString((cudaError_t)e); }
