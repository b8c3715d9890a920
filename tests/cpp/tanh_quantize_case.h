// SPDX-License-Identifier: Apache-2.0
// Inputs of tanh_quantize in buffers of exactly their size, and its definition in float64, element by element.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "check.h"
#include "common/dispatch.h"
#include "tanh_quantize/tanh_quantize.h"
#include "tanh_quantize/tanh_quantize_math.h"

namespace fasthash {

inline double element_of(const std::vector<char>& buffer, int64_t i, Dtype dtype) {
  return for_float_dtype(dtype, [&](auto x) {
    std::memcpy(&x, &buffer[size_t(i) * sizeof(x)], sizeof(x));
    return double(load(x));
  });
}

inline void set_element(std::vector<char>& buffer, int64_t i, Dtype dtype, double value) {
  for_float_dtype(dtype, [&](auto x) {
    using T = decltype(x);
    x = Store<T>::from(Compute<T>(value));
    std::memcpy(&buffer[size_t(i) * sizeof(x)], &x, sizeof(x));
  });
}

// Relative and absolute bounds of codes and gradients: a few ulp of the computation, plus half an ulp of the rounding
// to a half precision. The slope's relative error is that of exp, whose argument is 2 * sharpness * |z|.
struct TanhBounds {
  double codes, gradient, absolute, borderline;
};
inline TanhBounds tanh_bounds(Dtype dtype) {
  switch (dtype) {
    case Dtype::float64: return {1e-13, 1e-12, 1e-15, 1e-12};
    case Dtype::bfloat16: return {8e-3, 8e-3, 1e-6, 1e-6};
    case Dtype::float16: return {1e-3, 1e-3, 1e-6, 1e-6};
    default: return {2e-6, 2e-5, 2e-7, 1e-6};
  }
}

struct TanhCase {
  int64_t rows, bits, row_stride;
  Dtype dtype;
  Penalty penalty = Penalty::l2;
  double sharpness = 1.3, threshold = 0.9, grad_penalty = 50;
  AmplifierRule rule{Amplifier::wrong_side, false, 10.0, 0.9};
  bool pack = true, count = true, with_grad_codes = true;
  std::vector<char> logits, grad_codes;  // (R, K) with row_stride; (R, K)

  TanhCase(int64_t r, int64_t k, int64_t stride, Dtype type) : rows(r), bits(k), row_stride(stride), dtype(type) {
    const int64_t size = dtype_size(dtype);
    logits.resize(size_t(((rows - 1) * row_stride + bits) * size));
    grad_codes.resize(size_t(rows * bits * size));
  }

  int64_t elements() const { return rows * bits; }
  double logit(int64_t i) const { return element_of(logits, i / bits * row_stride + i % bits, dtype); }
  double code(int64_t i) const { return std::tanh(sharpness * logit(i)); }
  double grad_code(int64_t i) const { return with_grad_codes ? element_of(grad_codes, i, dtype) : 0.0; }
  // |h| so near to a threshold that rounding decides on which side of it h falls
  bool borderline(int64_t i, double at) const {
    return std::fabs(std::fabs(code(i)) - at) < tanh_bounds(dtype).borderline;
  }
};

inline void expect_near(double got, double want, double relative, double absolute) {
  CHECK_NEAR(got, want, relative * std::fabs(want) + absolute);
}

inline void expect_packed(const TanhCase& input, const std::vector<uint8_t>& packed) {
  std::vector<uint8_t> want(packed.size(), 0);
  const int64_t row_bytes = (input.bits + 7) / 8;
  for (int64_t i = 0; i < input.elements(); ++i) {
    const int64_t row = i / input.bits, j = i % input.bits;
    if (input.logit(i) >= 0) want[size_t(row * row_bytes + j / 8)] |= uint8_t(0x80 >> (j % 8));
  }
  CHECK_EQ(packed, want);
}

inline void expect_saturation(const TanhCase& input, const std::vector<int64_t>& saturation) {
  for (int64_t j = 0; j < input.bits; ++j) {
    int64_t least = 0, most = 0;
    for (int64_t i = j; i < input.elements(); i += input.bits) {
      const bool near = input.borderline(i, input.threshold), above = std::fabs(input.code(i)) > input.threshold;
      least += above && !near;
      most += above || near;
    }
    CHECK(saturation[size_t(j)] >= least && saturation[size_t(j)] <= most);
  }
}

// Runs every block of the forward pass and checks every output.
inline void expect_forward(const TanhCase& input) {
  std::vector<char> codes(size_t(input.elements() * dtype_size(input.dtype)), char(0xab));
  std::vector<double> partials(size_t(tanh_quantize_blocks(input.rows, input.bits)), NAN);
  std::vector<uint8_t> packed(size_t(input.pack ? input.rows * ((input.bits + 7) / 8) : 0), 0xab);
  std::vector<int64_t> saturation(size_t(input.count ? input.bits : 0));
  const TanhQuantizeForward args{input.logits.data(),
                                 codes.data(),
                                 partials.data(),
                                 input.pack ? packed.data() : nullptr,
                                 input.count ? saturation.data() : nullptr,
                                 input.rows,
                                 input.bits,
                                 input.row_stride,
                                 input.dtype,
                                 input.penalty,
                                 input.sharpness,
                                 nullptr,
                                 input.threshold};
  for (size_t block = 0; block < partials.size(); ++block) tanh_quantize_cpu(args, int64_t(block));
  const TanhBounds bounds = tanh_bounds(input.dtype);
  double sum = 0, want = 0;
  for (double partial : partials) sum += partial;
  for (int64_t i = 0; i < input.elements(); ++i) {
    expect_near(element_of(codes, i, input.dtype), input.code(i), bounds.codes, bounds.absolute);
    if (input.penalty != Penalty::none) want += penalty_value(input.code(i), input.penalty);
  }
  expect_near(sum, want, 1e-5, 3e-7 * double(input.elements()));
  if (input.pack) expect_packed(input, packed);
  if (input.count) expect_saturation(input, saturation);
}

// Runs every block of the backward pass and checks the gradient.
inline void expect_backward(const TanhCase& input) {
  std::vector<char> gradient(size_t(input.elements() * dtype_size(input.dtype)), char(0xab));
  const double wide = input.grad_penalty;
  const float narrow = float(wide);
  const TanhQuantizeBackward args{input.with_grad_codes ? input.grad_codes.data() : nullptr,
                                  input.dtype == Dtype::float64 ? static_cast<const void*>(&wide) : &narrow,
                                  input.logits.data(),
                                  gradient.data(),
                                  input.rows,
                                  input.bits,
                                  input.row_stride,
                                  input.dtype,
                                  input.penalty,
                                  input.sharpness,
                                  nullptr,
                                  input.rule};
  for (int64_t block = 0; block < tanh_quantize_blocks(input.rows, input.bits); ++block)
    tanh_quantize_backward_cpu(args, block);
  const TanhBounds bounds = tanh_bounds(input.dtype);
  for (int64_t i = 0; i < input.elements(); ++i) {
    if (input.borderline(i, input.rule.threshold)) continue;
    const auto formula = [&](Penalty penalty) {
      return tanh_quantize_gradient<double>(input.logit(i), input.grad_code(i), wide / double(input.elements()),
                                            input.sharpness, penalty, rule_of<double>(input.rule));
    };
    const double want = formula(input.penalty), of_codes = formula(Penalty::none);
    const double terms = std::fabs(of_codes) + std::fabs(want - of_codes);  // which may cancel
    CHECK_NEAR(element_of(gradient, i, input.dtype), want, bounds.gradient * terms + bounds.absolute);
  }
}

}  // namespace fasthash
