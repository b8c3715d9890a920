// SPDX-License-Identifier: Apache-2.0
#include "bindings/run.h"

#include <dlfcn.h>

#include "bindings/torch_door.h"
#if defined(FASTHASH_WITH_CUDA)
#include "common/cuda.h"
#endif

namespace fasthash::bindings {
namespace {

#if defined(FASTHASH_WITH_CUDA) && !defined(FASTHASH_CUDA_ON_CPU)
using CurrentStream = int32_t(int32_t device_index, void** stream);

// libtorch_cuda is looked up among the libraries already loaded, so that one binary serves torch with and without CUDA.
CurrentStream* find_current_stream() {
  void* library = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
  return library ? reinterpret_cast<CurrentStream*>(dlsym(library, "aoti_torch_get_current_cuda_stream")) : nullptr;
}

void* current_stream(const char* op, int device_index) {
  static CurrentStream* const current = find_current_stream();
  void* stream = nullptr;
  if (!current || current(device_index, &stream) != 0)
    throw std::runtime_error(std::string(op) + ": torch's current CUDA stream cannot be found in libtorch_cuda");
  return stream;
}
#endif

}  // namespace

void run_blocks(int64_t count, const std::function<void(int64_t)>& block) {
  const WithoutGil released;
  torch::stable::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) block(i);
  });
}

void run_on_device(const char* op, const Device& device, const std::function<int(void*)>& launch) {
#if defined(FASTHASH_CUDA_ON_CPU)
  (void)device;
  const int error = launch(nullptr);
#elif defined(FASTHASH_WITH_CUDA)
  const torch::stable::accelerator::DeviceGuard guard(device.index);
  const int error = launch(current_stream(op, device.index));
#else
  (void)device, (void)launch;
  throw std::runtime_error(std::string(op) +
                           ": this build of fasthash has no CUDA kernels. Reinstall it where nvcc is on the PATH, or "
                           "with CMAKE_ARGS=-DFASTHASH_CUDA=ON to be told why it is not found.");
#endif
#if defined(FASTHASH_WITH_CUDA)
  if (error != cudaSuccess)
    throw std::runtime_error(std::string(op) + ": CUDA error: " + cudaGetErrorString(cudaError_t(error)));
#endif
}

}  // namespace fasthash::bindings
