// SPDX-License-Identifier: Apache-2.0
// The one header of every .cu file: the CUDA runtime, or its stand-in on the CPU, and the way to launch and to share.
//
//   FH_SHARED(float[8][33], tile);    static shared memory; the type must hold no comma outside brackets
//   FH_DYNAMIC_SHARED(float, rows);   float* rows: the bytes given to launch(), 16-byte aligned; once per kernel
//   return launch(kernel, grid, block, shared_bytes, stream, arguments...);
#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>

#if defined(FASTHASH_CUDA_ON_CPU)
#include "cuda_on_cpu.h"
#else
#include <cuda_runtime.h>
#endif

namespace fasthash {

// Lets a macro declare `float[8][33]` as well as `float`.
template <class T>
using SharedType = T;

#if defined(FASTHASH_CUDA_ON_CPU)
using LaunchStream = cuda_on_cpu::StreamAt;  // a stream that remembers where it was named
#else
using LaunchStream = cudaStream_t;
#define FH_SHARED(type, name) __shared__::fasthash::SharedType<type> name
#define FH_DYNAMIC_SHARED(type, name)                                      \
  extern __shared__ __align__(16) unsigned char fasthash_dynamic_shared[]; \
  type* name = reinterpret_cast<type*>(fasthash_dynamic_shared)
#endif

// A kernel whose static and dynamic shared memory exceed 48 KB together has to ask; the static part is at most 16 KB.
constexpr std::size_t kDefaultSharedBytes = 32 * 1024;

// Enqueues kernel(args...) on `stream` and never waits for it. Arguments are converted to the kernel's parameter types.
// A grid without blocks is a success. An error is returned and taken off the runtime's record, so that the next
// library that asks for the last error is not blamed for it.
template <class... Params, class... Args>
cudaError_t launch(void (*kernel)(Params...), dim3 grid, dim3 block, std::size_t shared_bytes, LaunchStream stream,
                   Args&&... args) {
  static_assert(sizeof...(Params) == sizeof...(Args), "launch() needs one argument per kernel parameter");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return cudaSuccess;
  cudaError_t status = cudaSuccess;
  if (shared_bytes > kDefaultSharedBytes) {
    status = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(shared_bytes));
  }
  if (status == cudaSuccess) {
    std::tuple<Params...> values(std::forward<Args>(args)...);
    const auto enqueue = [&](auto&... value) {
      void* pointers[] = {static_cast<void*>(&value)..., nullptr};
      return cudaLaunchKernel(kernel, grid, block, pointers, shared_bytes, stream);
    };
    status = std::apply(enqueue, values);
  }
  if (status != cudaSuccess) (void)cudaGetLastError();
  return status;
}

}  // namespace fasthash
