// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <cstring>
#include <map>

#include "cuda_on_cpu.h"
#include "shared_memory.h"

namespace {

cudaError_t last_error = cudaSuccess;

cudaError_t record(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

const std::map<cudaDeviceAttr, int> kAttributes = {
    {cudaDevAttrMaxThreadsPerBlock, 1024},
    {cudaDevAttrMaxSharedMemoryPerBlock, int(fasthash::cuda_on_cpu::kStaticSharedBytes)},
    {cudaDevAttrWarpSize, warpSize},
    {cudaDevAttrMultiProcessorCount, 4},  // few, so that small grids take the loops of a large one
    {cudaDevAttrL2CacheSize, 4 << 20},
    {cudaDevAttrMaxThreadsPerMultiProcessor, 1536},
    {cudaDevAttrComputeCapabilityMajor, 8},
    {cudaDevAttrComputeCapabilityMinor, 0},
    {cudaDevAttrMaxSharedMemoryPerMultiprocessor, 100 << 10},
    {cudaDevAttrMaxSharedMemoryPerBlockOptin, int(fasthash::cuda_on_cpu::kDynamicSharedBytesAtMost)},
};

struct ErrorText {
  const char *name, *text;
};
const std::map<cudaError_t, ErrorText> kErrors = {
    {cudaSuccess, {"cudaSuccess", "no error"}},
    {cudaErrorInvalidValue, {"cudaErrorInvalidValue", "invalid argument"}},
    {cudaErrorMemoryAllocation, {"cudaErrorMemoryAllocation", "out of memory"}},
    {cudaErrorInvalidConfiguration, {"cudaErrorInvalidConfiguration", "invalid configuration argument"}},
    {cudaErrorInvalidDeviceFunction, {"cudaErrorInvalidDeviceFunction", "invalid device function"}},
    {cudaErrorInvalidDevice, {"cudaErrorInvalidDevice", "invalid device ordinal"}},
    {cudaErrorNotSupported, {"cudaErrorNotSupported", "operation not supported"}},
};

ErrorText error_text(cudaError_t error) {
  const auto found = kErrors.find(error);
  return found == kErrors.end() ? ErrorText{"unrecognized error code", "unrecognized error code"} : found->second;
}

// The dynamic shared memory that each kernel asked for.
std::map<const void*, std::size_t>& shared_limits() {
  static std::map<const void*, std::size_t> limits;
  return limits;
}

bool too_large(dim3 v, std::uint64_t x, std::uint64_t y, std::uint64_t z) { return v.x > x || v.y > y || v.z > z; }

}  // namespace

namespace fasthash::cuda_on_cpu {

std::size_t shared_bytes_at_most(const void* kernel) {
  return shared_limits().count(kernel) == 0 ? kStaticSharedBytes : kDynamicSharedBytesAtMost;
}

cudaError_t check_launch(const Launch& launch) {
  const dim3 grid = launch.grid, block = launch.block;
  if (launch.kernel == nullptr) return record(cudaErrorInvalidDeviceFunction);
  const std::uint64_t threads = std::uint64_t(block.x) * block.y * block.z;
  const bool empty = threads == 0 || grid.x == 0 || grid.y == 0 || grid.z == 0;
  if (empty || too_large(block, 1024, 1024, 64) || threads > 1024 || too_large(grid, 0x7fffffff, 65535, 65535)) {
    return record(cudaErrorInvalidValue);  // as a device with CUDA 13 says
  }
  const auto asked = shared_limits().find(launch.kernel);
  const std::size_t limit = asked == shared_limits().end() ? kStaticSharedBytes : asked->second;
  return record(launch.shared_bytes > limit ? cudaErrorInvalidValue : cudaSuccess);
}

}  // namespace fasthash::cuda_on_cpu

const char* cudaGetErrorName(cudaError_t error) { return error_text(error).name; }
const char* cudaGetErrorString(cudaError_t error) { return error_text(error).text; }
cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return record(device == 0 ? cudaSuccess : cudaErrorInvalidDevice); }
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device != 0) return record(cudaErrorInvalidDevice);
  const auto found = kAttributes.find(attribute);
  if (value == nullptr || found == kAttributes.end()) return record(cudaErrorInvalidValue);
  *value = found->second;
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  if (memory == nullptr) return record(cudaErrorInvalidValue);
  *memory = bytes == 0 ? nullptr : std::malloc(bytes);
  if (*memory == nullptr) return bytes == 0 ? cudaSuccess : record(cudaErrorMemoryAllocation);
  std::memset(*memory, int(fasthash::cuda_on_cpu::garbage() & 0xffu), bytes);
  return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* target, int value, std::size_t bytes, cudaStream_t) {
  if (bytes == 0) return cudaSuccess;
  if (target == nullptr) return record(cudaErrorInvalidValue);
  std::memset(target, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemset(void* target, int value, std::size_t bytes) { return cudaMemsetAsync(target, value, bytes); }

cudaError_t cudaMemcpyAsync(void* target, const void* source, std::size_t bytes, cudaMemcpyKind, cudaStream_t) {
  if (bytes == 0) return cudaSuccess;
  if (target == nullptr || source == nullptr) return record(cudaErrorInvalidValue);
  std::memmove(target, source, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* target, const void* source, std::size_t bytes, cudaMemcpyKind kind) {
  return cudaMemcpyAsync(target, source, bytes, kind);
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (kernel == nullptr) return record(cudaErrorInvalidDeviceFunction);
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || std::size_t(value) > fasthash::cuda_on_cpu::kDynamicSharedBytesAtMost) {
    return record(cudaErrorInvalidValue);
  }
  shared_limits()[kernel] = std::size_t(value);
  return cudaSuccess;
}
