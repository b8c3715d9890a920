// SPDX-License-Identifier: Apache-2.0
#include "common/vec_neon.h"
// The vector type comes first.
#include "tanh_quantize/tanh_quantize_vec.h"

namespace fasthash {

double tanh_forward_run_neon(const TanhForwardRun& run) {
  return run.dtype == Dtype::float64 ? tanh_forward_run_scalar(run) : run_dtype<ForwardRun>(run);
}

void tanh_backward_run_neon(const TanhBackwardRun& run) {
  if (run.dtype == Dtype::float64) return tanh_backward_run_scalar(run);
  run_dtype<BackwardRun>(run);
}

}  // namespace fasthash
