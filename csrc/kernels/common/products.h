// SPDX-License-Identifier: Apache-2.0
// Products of small matrices: what common/products_vec.h computes.
#pragma once

#include <cstdint>

namespace fasthash {

// Lanes come in multiples of this.
constexpr int64_t lane_padding = 16;

inline int64_t padded_lanes(int64_t count) { return (count + lane_padding - 1) / lane_padding * lane_padding; }

// sums(r, lane) = [sums(r, lane) +] sum over steps t of factors[r row_stride + t step_stride] lanes[t lane_stride +
// lane]
template <class T>
struct MatrixProducts {
  const T *factors, *lanes;
  T* sums;
  int64_t rows, steps, width;  // of the sums, and of what is added up; width is a multiple of lane_padding
  int64_t row_stride, step_stride, lane_stride, sum_stride;
  bool add;
};

}  // namespace fasthash
