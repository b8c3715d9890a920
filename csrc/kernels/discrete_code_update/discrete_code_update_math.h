// SPDX-License-Identifier: Apache-2.0
// The descent of one row, host and device.
#pragma once

#include <math.h>

#include "common/platform.h"
#include "discrete_code_update/discrete_code_update.h"

namespace fasthash {

// A sum of K + 1 float32 terms is off by at most K units of 2^-24 of their magnitudes' sum; two more for the rounding
// of the terms themselves, the rest is slack. A power of two, so that products with it are exact.
FH_HD inline float relative_bound(int64_t bits) {
  float bound = 1.0f / float(1 << 24);
  for (int64_t terms = 1; terms < bits + 8; terms *= 2) bound *= 2.0f;
  return bound;
}

// The numbers of Descent, wherever they lie.
struct DescentView {
  const Four* gram;
  const float* bound;
  int64_t bits, padded;
  float relative;
};

// Codes is an array of ±1.0f with at(l) and set(l, value). The order of the additions is part of the interface: for a
// block of four bits all bits before it, then all behind it, then, for each of the four, the other three.
template <class Codes>
FH_HD inline void descend_block(Codes& codes, const DescentView& descent, const float* target, int64_t first) {
  float sum[bits_together], start[bits_together];
  for (int i = 0; i < bits_together; ++i) sum[i] = start[i] = first + i < descent.bits ? target[first + i] : 0.0f;
  const Four* gram = descent.gram + first / bits_together * descent.padded;
  for (int64_t l = 0; l < descent.padded; ++l) {
    if (l == first) l += bits_together;
    if (l >= descent.padded) break;
    const Four g = gram[l];
    const float v = codes.at(l);
    for (int i = 0; i < bits_together; ++i) sum[i] += g.at[i] * v;
  }
  for (int i = 0; i < bits_together; ++i) {
    for (int j = 0; j < bits_together; ++j)
      if (j != i) sum[i] += gram[first + j].at[i] * codes.at(first + j);
    const float bound = descent.bound[first + i] + descent.relative * fabsf(start[i]);
    if (fabsf(sum[i]) > bound) codes.set(first + i, sum[i] < 0.0f ? -1.0f : 1.0f);
  }
}

template <class Codes>
FH_HD inline void descend_row(Codes& codes, const DescentView& descent, const float* target, int64_t sweeps) {
  for (int64_t sweep = 0; sweep < sweeps; ++sweep)
    for (int64_t first = 0; first < descent.padded; first += bits_together)
      descend_block(codes, descent, target, first);
}

}  // namespace fasthash
