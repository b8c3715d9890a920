// SPDX-License-Identifier: Apache-2.0
// How bindings run kernels: CPU kernels over blocks shared out to torch's threads, CUDA launchers on the current
// stream.
#pragma once

#include <Python.h>

#include <functional>

#include "bindings/view.h"

namespace fasthash::bindings {

// Calls block(i) for i in [0, count) on torch's threads. `block` must not throw.
void run_blocks(int64_t count, const std::function<void(int64_t)>& block);

// Calls launch(stream) with the current stream of `device`, which is made the current device; raises on an error.
void run_on_device(const char* op, const Device& device, const std::function<int(void* stream)>& launch);

// The launch of one device entry, for run_on_device: FH_LAUNCH(op_cuda(args, stream)). Without CUDA kernels in the
// build there is no such entry to link to, and run_on_device raises before it would be called.
#if defined(FASTHASH_WITH_CUDA)
#define FH_LAUNCH(call) [&](void* stream) -> int { return call; }
#else
#define FH_LAUNCH(call) [](void*) -> int { return 0; }
#endif

// Gives the GIL back for the life of the object when this thread holds it (NumPy door), else does nothing.
class WithoutGil {
 public:
  WithoutGil() : state_(PyGILState_Check() ? PyEval_SaveThread() : nullptr) {}
  ~WithoutGil() {
    if (state_) PyEval_RestoreThread(state_);
  }
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  PyThreadState* state_;
};

}  // namespace fasthash::bindings
