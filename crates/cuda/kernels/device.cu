/* Memory, streams, events and graphs: thin over CUDA's runtime, which is linked statically. */
#include <cstdio>
#include <cstring>

#include "common.h"

namespace {

/* The oldest generation that there are kernels for. */
constexpr int OLDEST = 75;

cudaStream_t of(void *stream) { return static_cast<cudaStream_t>(stream); }

}  // namespace

int generation_of_device() {
  int device, major = 0, minor = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return 0;
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  return 10 * major + minor;
}

extern "C" {

const char *adire_error_text(int result) { return cudaGetErrorString(static_cast<cudaError_t>(result)); }

int adire_device_count(int32_t *count, const char **reason) {
  *count = 0;
  *reason = "";
  int found = 0;
  cudaError_t result = cudaGetDeviceCount(&found);
  if (result != cudaSuccess) {
    cudaGetLastError(); /* it would be reported again by the next launch */
    switch (result) {
      case cudaErrorInsufficientDriver:
        *reason = "no NVIDIA driver, or one older than CUDA 13 needs (version 580)";
        break;
      case cudaErrorNoDevice: *reason = "the NVIDIA driver finds no GPU"; break;
      default: *reason = cudaGetErrorString(result);
    }
    return 0;
  }
  /* Devices are counted until the first that is too old: numbers stay those of CUDA, which sorts the fastest first. */
  for (int i = 0; i < found; i++) {
    int major = 0, minor = 0;
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, i);
    cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, i);
    if (10 * major + minor < OLDEST) break;
    ++*count;
  }
  if (*count == 0) *reason = "the GPU is older than Turing (compute capability 7.5)";
  return 0;
}

int adire_device_properties(int32_t device, adire_properties *properties) {
  *properties = {};
  cudaDeviceProp found;
  if (cudaError_t result = cudaGetDeviceProperties(&found, device)) return result;
  std::snprintf(properties->name, sizeof properties->name, "%s", found.name);
  properties->major = found.major;
  properties->minor = found.minor;
  properties->multiprocessors = found.multiProcessorCount;
  properties->shared_bytes = int32_t(found.sharedMemPerBlockOptin);
  properties->memory_bytes = found.totalGlobalMem;
  properties->l2_bytes = uint64_t(found.l2CacheSize);
  properties->integrated = found.integrated;
  int version = 0;
  cudaDriverGetVersion(&version);
  properties->driver_version = version;
  cudaRuntimeGetVersion(&version);
  properties->runtime_version = version;
  return 0;
}

int adire_set_device(int32_t device) { return cudaSetDevice(device); }

int adire_memory_info(uint64_t *free_bytes, uint64_t *total_bytes) {
  size_t unused = 0, whole = 0;
  cudaError_t result = cudaMemGetInfo(&unused, &whole);
  *free_bytes = unused;
  *total_bytes = whole;
  return result;
}

int adire_device_synchronize(void) { return cudaDeviceSynchronize(); }

int adire_alloc(uint64_t bytes, void **data) {
  *data = nullptr;
  return bytes ? cudaMalloc(data, bytes) : cudaSuccess;
}
int adire_free(void *data) { return cudaFree(data); }
int adire_alloc_host(uint64_t bytes, void **data) {
  *data = nullptr;
  return bytes ? cudaMallocHost(data, bytes) : cudaSuccess;
}
int adire_free_host(void *data) { return data ? cudaFreeHost(data) : cudaSuccess; }

int adire_stream_create(void **stream) {
  cudaStream_t made = nullptr;
  cudaError_t result = cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking);
  *stream = made;
  return result;
}
int adire_stream_destroy(void *stream) { return cudaStreamDestroy(of(stream)); }
int adire_stream_synchronize(void *stream) { return cudaStreamSynchronize(of(stream)); }
int adire_copy(void *stream, void *to, const void *from, uint64_t bytes) {
  return bytes ? cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, of(stream)) : cudaSuccess;
}
int adire_copy_wait(void *stream, void *to, const void *from, uint64_t bytes) {
  int result = adire_copy(stream, to, from, bytes);
  return result ? result : adire_stream_synchronize(stream);
}
int adire_fill(void *stream, void *data, uint8_t value, uint64_t bytes) {
  return bytes ? cudaMemsetAsync(data, value, bytes, of(stream)) : cudaSuccess;
}

int adire_event_create(void **event) {
  cudaEvent_t made = nullptr;
  cudaError_t result = cudaEventCreate(&made);
  *event = made;
  return result;
}
int adire_event_destroy(void *event) { return cudaEventDestroy(static_cast<cudaEvent_t>(event)); }
int adire_event_record(void *stream, void *event) { return cudaEventRecord(static_cast<cudaEvent_t>(event), of(stream)); }
int adire_event_wait(void *stream, void *event) {
  return cudaStreamWaitEvent(of(stream), static_cast<cudaEvent_t>(event), 0);
}
int adire_event_synchronize(void *event) { return cudaEventSynchronize(static_cast<cudaEvent_t>(event)); }
int adire_event_elapsed(void *from, void *to, float *milliseconds) {
  return cudaEventElapsedTime(milliseconds, static_cast<cudaEvent_t>(from), static_cast<cudaEvent_t>(to));
}

int adire_graph_begin(void *stream) { return cudaStreamBeginCapture(of(stream), cudaStreamCaptureModeThreadLocal); }
int adire_graph_end(void *stream, void **graph, uint64_t *nodes) {
  *graph = nullptr;
  cudaGraph_t recorded = nullptr;
  if (cudaError_t result = cudaStreamEndCapture(of(stream), &recorded)) return result;
  size_t count = 0;
  cudaError_t result = cudaGraphGetNodes(recorded, nullptr, &count);
  if (nodes) *nodes = count;
  cudaGraphExec_t ready = nullptr;
  if (result == cudaSuccess) result = cudaGraphInstantiate(&ready, recorded, 0);
  cudaGraphDestroy(recorded);
  *graph = ready;
  return result;
}
int adire_graph_launch(void *stream, void *graph) {
  return cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), of(stream));
}
int adire_graph_destroy(void *graph) {
  return graph ? cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph)) : cudaSuccess;
}
}
