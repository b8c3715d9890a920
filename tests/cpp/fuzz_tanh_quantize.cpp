// SPDX-License-Identifier: Apache-2.0
#include "fuzz.h"
#include "machines.h"
#include "tanh_quantize_case.h"

namespace fasthash {
namespace {

constexpr Dtype dtypes[] = {Dtype::float32, Dtype::float64, Dtype::bfloat16, Dtype::float16};
constexpr Penalty penalties[] = {Penalty::none, Penalty::l2, Penalty::l1, Penalty::log_cosh, Penalty::cubic};
constexpr Amplifier amplifiers[] = {Amplifier::none, Amplifier::magnitude, Amplifier::wrong_side};

TanhCase case_of(fuzz::Choices& choices) {
  const int64_t bits = choices.coin() ? choices.between(1, 20) : choices.between(1, 300);
  const int64_t rows = choices.between(1, choices.coin() ? 4 : 90), gap = choices.coin() ? choices.between(0, 9) : 0;
  TanhCase input(rows, bits, bits + gap, choices.one_of(dtypes));
  input.penalty = choices.one_of(penalties);
  input.sharpness = double(choices.between(1, 800)) / 100;
  input.threshold = double(choices.between(1, 999)) / 1000;
  input.grad_penalty = double(choices.between(-100, 100));
  input.rule = {choices.one_of(amplifiers), choices.coin(), double(choices.between(0, 200)) / 10,
                double(choices.between(1, 999)) / 1000};
  input.pack = choices.coin();
  input.count = choices.coin();
  input.with_grad_codes = choices.coin();
  return input;
}

// Numbers in [-scale, scale] from contents, and now and then one at the edge of its type.
void fill_numbers(fuzz::Choices& choices, std::vector<char>& buffer, Dtype dtype, double scale, bool edges) {
  const double special[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, 1e-45, -1e-45, 100.0, -100.0, 6e4};
  const auto count = int64_t(buffer.size()) / dtype_size(dtype);
  std::vector<int8_t> contents(static_cast<size_t>(count));
  choices.fill(contents);
  for (int64_t i = 0; i < count; ++i) set_element(buffer, i, dtype, scale * contents[size_t(i)] / 128);
  for (int64_t i = edges ? choices.between(0, 5) : 0; i-- > 0;)
    set_element(buffer, choices.between(0, count - 1), dtype, choices.one_of(special));
}

FUZZ(tanh_quantize) {
  TanhCase input = case_of(choices);
  const double scales[] = {1e-6, 0.1, 1.0, 10.0};
  fill_numbers(choices, input.logits, input.dtype, choices.one_of(scales), true);
  fill_numbers(choices, input.grad_codes, input.dtype, 2.0, false);
  on_every_machine([&] {
    expect_forward(input);
    expect_backward(input);
  });
}

}  // namespace
}  // namespace fasthash
