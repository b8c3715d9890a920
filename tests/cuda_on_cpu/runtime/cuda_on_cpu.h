// SPDX-License-Identifier: Apache-2.0
// Stands in for <cuda_runtime.h> when a .cu file is compiled by g++ (-x c++ -DFASTHASH_CUDA_ON_CPU). See ../README.md.
// Memory is the host's, streams run at once, and a launch returns when the kernel has ended. What the real runtime
// would return as an error is returned; what a device would hang on or leave undefined throws KernelFault.
#pragma once

#include <cstddef>
#include <tuple>
#include <utility>

#include "device_types.h"
#include "intrinsics.h"
#include "scheduler.h"
#include "warp.h"

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInvalidDeviceFunction = 98,
  cudaErrorInvalidDevice = 101,
  cudaErrorNotSupported = 801,
};
enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault,
};
enum cudaDeviceAttr {
  cudaDevAttrMaxThreadsPerBlock = 1,
  cudaDevAttrMaxSharedMemoryPerBlock = 8,
  cudaDevAttrWarpSize = 10,
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrL2CacheSize = 38,
  cudaDevAttrMaxThreadsPerMultiProcessor = 39,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrMaxSharedMemoryPerMultiprocessor = 81,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
};
enum cudaFuncAttribute {
  cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
  cudaFuncAttributePreferredSharedMemoryCarveout = 9,
};
struct CUstream_st;
using cudaStream_t = CUstream_st*;

const char* cudaGetErrorName(cudaError_t error);
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaMalloc(void** memory, std::size_t bytes);  // exact size, filled with garbage
cudaError_t cudaFree(void* memory);
cudaError_t cudaMemset(void* target, int value, std::size_t bytes);
cudaError_t cudaMemsetAsync(void* target, int value, std::size_t bytes, cudaStream_t stream = nullptr);
cudaError_t cudaMemcpy(void* target, const void* source, std::size_t bytes, cudaMemcpyKind kind);
cudaError_t cudaMemcpyAsync(void* target, const void* source, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream = nullptr);
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value);

template <class T>
cudaError_t cudaMalloc(T** memory, std::size_t bytes) {
  return cudaMalloc(reinterpret_cast<void**>(memory), bytes);
}

namespace fasthash::cuda_on_cpu {

struct StreamAt {
  cudaStream_t stream;
  Site site;
  StreamAt(cudaStream_t stream_, Site site_ = Site::here()) : stream(stream_), site(site_) {}
};

cudaError_t check_launch(const Launch& launch);

template <class... Params, std::size_t... I>
void call(void (*kernel)(Params...), void** arguments, std::index_sequence<I...>) {
  kernel(*static_cast<std::remove_const_t<Params>*>(arguments[I])...);
}

}  // namespace fasthash::cuda_on_cpu

template <class... Params>
cudaError_t cudaLaunchKernel(void (*kernel)(Params...), dim3 grid, dim3 block, [[maybe_unused]] void** arguments,
                             std::size_t shared_bytes, fasthash::cuda_on_cpu::StreamAt stream) {
  using namespace fasthash::cuda_on_cpu;
  const Launch launch{reinterpret_cast<const void*>(kernel), grid, block, shared_bytes, stream.site};
  const cudaError_t status = check_launch(launch);
  if (status == cudaSuccess) run(launch, [&] { call(kernel, arguments, std::index_sequence_for<Params...>{}); });
  return status;
}
