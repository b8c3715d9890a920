// SPDX-License-Identifier: Apache-2.0
// How bindings run kernels: CPU kernels over blocks shared out to torch's threads, CUDA launchers on the current
// stream.
#pragma once

#include <Python.h>

#include <chrono>
#include <functional>

#include "bindings/view.h"

namespace fasthash::bindings {

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

// Runs blocks of work on torch's threads without the GIL, in chunks between which Python may handle signals: what a
// handler raises (KeyboardInterrupt) ends the run, and so does what a block throws. A block should take some hundredths
// of a second at most. Keep one runner for all passes of a call, so that it knows when signals were last looked at.
class BlockRunner {
 public:
  static int threads();  // torch.get_num_threads()

  // Calls block(i) for i in [0, count), in any order.
  void run(int64_t count, const std::function<void(int64_t)>& block);

 private:
  using Clock = std::chrono::steady_clock;
  void look_for_signals();

  WithoutGil released_;
  Clock::time_point looked_ = Clock::now();
};

// One pass of a BlockRunner.
void run_blocks(int64_t count, const std::function<void(int64_t)>& block);

// Calls launch(stream) with the current stream of `device`, which is made the current device; raises on an error.
void run_on_device(const char* op, const Device& device, const std::function<int(void* stream)>& launch);

// The launch of one device entry, for run_on_device: FH_LAUNCH(op_cuda(args, stream)). Without CUDA kernels in the
// build there is no such entry to link to, and run_on_device raises before it would be called.
#if defined(FASTHASH_WITH_CUDA)
#define FH_LAUNCH(call) [&](void* stream) -> int { return call; }
#else
#define FH_LAUNCH(call) [&]([[maybe_unused]] void* stream) -> int { return int(sizeof(call)) * 0; }
#endif

}  // namespace fasthash::bindings
