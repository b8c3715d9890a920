// SPDX-License-Identifier: Apache-2.0
#include "bindings/run.h"

#include <dlfcn.h>
#include <pybind11/pybind11.h>
#include <sys/mman.h>

#include <atomic>
#include <exception>
#include <mutex>

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

// Exceptions must not cross parallel_for, which is a C function: the first one is kept, and thrown after it.
class FirstException {
 public:
  void keep() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!first_) first_ = std::current_exception();
    kept_ = true;
  }
  bool kept() const { return kept_; }
  void rethrow() const {
    if (first_) std::rethrow_exception(first_);
  }

 private:
  std::mutex mutex_;
  std::exception_ptr first_;
  std::atomic<bool> kept_{false};
};

void run_in_parallel(int64_t begin, int64_t end, const std::function<void(int64_t)>& block) {
  FirstException exception;
  torch::stable::parallel_for(begin, end, 1, [&](int64_t from, int64_t to) {
    try {
      for (int64_t i = from; i < to && !exception.kept(); ++i) block(i);
    } catch (...) {
      exception.keep();
    }
  });
  exception.rethrow();
}

constexpr std::chrono::milliseconds short_chunk{20}, long_chunk{100};

}  // namespace

void advise_huge_pages(void* output, int64_t bytes) {
  constexpr uintptr_t page = 4096;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(output) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(output) + uintptr_t(bytes)) / page * page;
  // Advice: a system without huge pages refuses it, and nothing is lost.
  (void)madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
}

int BlockRunner::threads() { return int(torch::stable::get_num_threads()); }

// torch, too, turns error_already_set back into the Python exception it carries: it knows the type by its name.
void BlockRunner::look_for_signals() {
  if (Clock::now() - looked_ < long_chunk) return;
  const pybind11::gil_scoped_acquire acquired;
  if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
  looked_ = Clock::now();
}

// A chunk begins with a few blocks for each thread, and grows while chunks stay short.
void BlockRunner::run(int64_t count, const std::function<void(int64_t)>& block) {
  const int64_t smallest = threads();
  int64_t chunk = 4 * smallest;
  for (int64_t begin = 0; begin < count;) {
    const int64_t end = count - begin > chunk ? begin + chunk : count;
    const auto start = Clock::now();
    run_in_parallel(begin, end, block);
    const auto took = Clock::now() - start;
    if (took < short_chunk) chunk *= 4;
    if (took > long_chunk && chunk > smallest) chunk /= 4;
    look_for_signals();
    begin = end;
  }
}

void run_blocks(int64_t count, const std::function<void(int64_t)>& block) { BlockRunner().run(count, block); }

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
