// SPDX-License-Identifier: Apache-2.0
// What the instruction-set variants of tanh_quantize implement: one run of elements that lie side by side.
#pragma once

#include <cstdint>

#include "tanh_quantize/tanh_quantize.h"

namespace fasthash {

// codes[i] = tanh(sharpness * logits[i]); returns the sum of the penalty over the run. With `packed`, bit 7 - i % 8 of
// byte i / 8 is logits[i] >= 0, spare bits of the last byte zero. With `saturation`, saturation[i] += |codes[i]| >
// threshold.
struct TanhForwardRun {
  const void* logits;
  void* codes;
  uint8_t* packed;
  int32_t* saturation;
  int64_t count;
  Dtype dtype;
  Penalty penalty;
  double sharpness, threshold;
};
double tanh_forward_run_scalar(const TanhForwardRun& run);
double tanh_forward_run_avx2(const TanhForwardRun& run);
double tanh_forward_run_avx512(const TanhForwardRun& run);
double tanh_forward_run_neon(const TanhForwardRun& run);

struct TanhBackwardRun {
  const void* grad_codes;  // or null
  double grad_penalty;     // already divided by the number of elements
  const void* logits;
  void* grad_logits;
  int64_t count;
  Dtype dtype;
  Penalty penalty;
  double sharpness;
  AmplifierRule rule;
};
void tanh_backward_run_scalar(const TanhBackwardRun& run);
void tanh_backward_run_avx2(const TanhBackwardRun& run);
void tanh_backward_run_avx512(const TanhBackwardRun& run);
void tanh_backward_run_neon(const TanhBackwardRun& run);

}  // namespace fasthash
