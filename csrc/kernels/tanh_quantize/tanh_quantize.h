// SPDX-License-Identifier: Apache-2.0
// tanh_quantize: relaxed codes h = tanh(sharpness * z), the mean distance of |h| from 1, packed codes and saturation
// counts in one pass over the logits z (R, K); and its backward pass with the gradient amplifier.
#pragma once

#include <cstdint>

#include "common/dtype.h"

namespace fasthash {

// Sent through operator schemas as integers; the order is part of the interface.
enum class Penalty : int32_t { none, l2, l1, log_cosh, cubic };
enum class Amplifier : int32_t { none, magnitude, wrong_side };

struct AmplifierRule {
  Amplifier gate;        // which saturated elements are amplified
  bool inverse;          // factor min(1 / (1 - h^2), amplification) in place of the constant
  double amplification;  // alpha, or the cap of the inverse factor
  double threshold;      // tau: an element is saturated when |h| > tau
};

struct TanhQuantizeForward {
  const void* logits;   // (R, K), rows `row_stride` elements apart
  void* codes;          // (R, K), contiguous
  double* partials;     // (tanh_quantize_blocks(R, K)) on the CPU: sums of the penalty, one per block of rows
  uint8_t* packed;      // (R, ceil(K / 8)) or null
  int64_t* saturation;  // (K), zeroed by the caller, or null
  int64_t rows, bits, row_stride;
  Dtype dtype;
  Penalty penalty;
  double sharpness;
  const float* sharpness_on_device;  // overrides `sharpness` when not null (CUDA graphs)
  double threshold;
};

struct TanhQuantizeBackward {
  const void* grad_codes;    // (R, K), contiguous, or null
  const void* grad_penalty;  // one float32 (float64 for float64 logits), or null
  const void* logits;        // (R, K), rows `row_stride` elements apart
  void* grad_logits;         // (R, K), contiguous
  int64_t rows, bits, row_stride;
  Dtype dtype;
  Penalty penalty;
  double sharpness;
  const float* sharpness_on_device;
  AmplifierRule rule;
};

// Rows are handled in blocks that depend on the shape alone, so sums do not depend on the number of threads.
int64_t tanh_quantize_block_rows(int64_t bits);
int64_t tanh_quantize_blocks(int64_t rows, int64_t bits);

// One block of rows; blocks are independent but for `saturation`, which is added to atomically.
void tanh_quantize_cpu(const TanhQuantizeForward& args, int64_t block);
void tanh_quantize_backward_cpu(const TanhQuantizeBackward& args, int64_t block);

// Enqueue on `stream` (a cudaStream_t); return a cudaError_t. `penalty_mean` receives the mean over all elements, as
// float64 for float64 logits, else float32; `partials` holds tanh_quantize_cuda_partials doubles.
constexpr int64_t tanh_quantize_cuda_partials = 8192;
int tanh_quantize_cuda(const TanhQuantizeForward& args, void* penalty_mean, void* stream);
int tanh_quantize_backward_cuda(const TanhQuantizeBackward& args, void* stream);

}  // namespace fasthash
