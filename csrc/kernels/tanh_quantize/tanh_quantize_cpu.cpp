// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <vector>

#include "common/dispatch.h"
#include "common/machine.h"
#include "tanh_quantize/tanh_quantize.h"
#include "tanh_quantize/tanh_quantize_math.h"
#include "tanh_quantize/tanh_quantize_seam.h"

namespace fasthash {
namespace {

// Elements per block: enough to keep a thread busy for some microseconds, few enough to share a small batch out.
constexpr int64_t block_elements = 1 << 14;

const Variants<double(const TanhForwardRun&)> forward_variants{"tanh_quantize", {FH_VARIANTS(tanh_forward_run)}};
const Variants<void(const TanhBackwardRun&)> backward_variants{"tanh_quantize_backward",
                                                               {FH_VARIANTS(tanh_backward_run)}};

template <class T>
double forward_scalar(const TanhForwardRun& run) {
  using C = Compute<T>;
  const T* logits = static_cast<const T*>(run.logits);
  T* codes = static_cast<T*>(run.codes);
  double sum = 0;
  for (int64_t i = 0; i < run.count; ++i) {
    const C z = load(logits[i]);
    const C h = tanh_parts(C(run.sharpness) * z).h;
    codes[i] = Store<T>::from(h);
    if (run.penalty != Penalty::none) sum += penalty_value(h, run.penalty);
    if (run.packed) {
      if (i % 8 == 0) run.packed[i / 8] = 0;
      run.packed[i / 8] |= uint8_t((z >= 0) << (7 - i % 8));
    }
    if (run.saturation) run.saturation[i] += std::fabs(h) > C(run.threshold);
  }
  return sum;
}

template <class T>
void backward_scalar(const TanhBackwardRun& run) {
  using C = Compute<T>;
  const T* logits = static_cast<const T*>(run.logits);
  const T* grad_codes = static_cast<const T*>(run.grad_codes);
  T* grad_logits = static_cast<T*>(run.grad_logits);
  const RuleOf<C> rule = rule_of<C>(run.rule);
  for (int64_t i = 0; i < run.count; ++i) {
    const C grad_code = grad_codes ? C(load(grad_codes[i])) : C(0);
    grad_logits[i] = Store<T>::from(tanh_quantize_gradient<C>(load(logits[i]), grad_code, C(run.grad_penalty),
                                                              C(run.sharpness), run.penalty, rule));
  }
}

const char* at(const void* base, int64_t element, int64_t size) {
  return static_cast<const char*>(base) + element * size;
}
char* at(void* base, int64_t element, int64_t size) { return static_cast<char*>(base) + element * size; }

struct RowRange {
  int64_t begin, end;
};
RowRange rows_of_block(int64_t rows, int64_t bits, int64_t block) {
  const int64_t step = tanh_quantize_block_rows(bits);
  return {block * step, std::min(rows, (block + 1) * step)};
}

// A block of rows that lie side by side is one run, unless bits must be told apart.
struct Runs {
  int64_t count, length;
};
Runs split(RowRange range, int64_t bits, int64_t row_stride, bool by_row) {
  const int64_t rows = range.end - range.begin;
  if (row_stride == bits && !by_row) return {1, rows * bits};
  return {rows, bits};
}

void add_atomically(int64_t* total, int64_t value) { __atomic_fetch_add(total, value, __ATOMIC_RELAXED); }

}  // namespace

double tanh_forward_run_scalar(const TanhForwardRun& run) {
  return for_float_dtype(run.dtype, [&](auto tag) { return forward_scalar<decltype(tag)>(run); });
}

void tanh_backward_run_scalar(const TanhBackwardRun& run) {
  for_float_dtype(run.dtype, [&](auto tag) { backward_scalar<decltype(tag)>(run); });
}

int64_t tanh_quantize_block_rows(int64_t bits) { return std::max<int64_t>(1, block_elements / bits); }

int64_t tanh_quantize_blocks(int64_t rows, int64_t bits) {
  const int64_t step = tanh_quantize_block_rows(bits);
  return (rows + step - 1) / step;
}

void tanh_quantize_cpu(const TanhQuantizeForward& args, int64_t block) {
  const auto run_variant = forward_variants.select();
  const RowRange range = rows_of_block(args.rows, args.bits, block);
  const bool by_row = args.saturation || (args.packed && args.bits % 8 != 0);
  const Runs runs = split(range, args.bits, args.row_stride, by_row);
  const int64_t size = dtype_size(args.dtype), row_bytes = (args.bits + 7) / 8;
  std::vector<int32_t> saturation(args.saturation ? args.bits : 0);
  double sum = 0;
  for (int64_t i = 0; i < runs.count; ++i) {
    const int64_t row = range.begin + i;
    sum += run_variant({at(args.logits, row * args.row_stride, size), at(args.codes, row * args.bits, size),
                        args.packed ? args.packed + row * row_bytes : nullptr,
                        args.saturation ? saturation.data() : nullptr, runs.length, args.dtype, args.penalty,
                        args.sharpness, args.threshold});
  }
  args.partials[block] = sum;
  for (size_t k = 0; k < saturation.size(); ++k) add_atomically(&args.saturation[k], saturation[k]);
}

void tanh_quantize_backward_cpu(const TanhQuantizeBackward& args, int64_t block) {
  const auto run_variant = backward_variants.select();
  const RowRange range = rows_of_block(args.rows, args.bits, block);
  const Runs runs = split(range, args.bits, args.row_stride, false);
  const int64_t size = dtype_size(args.dtype);
  double grad_penalty = 0;
  if (args.grad_penalty && args.penalty != Penalty::none) {
    const double grad = args.dtype == Dtype::float64 ? *static_cast<const double*>(args.grad_penalty)
                                                     : *static_cast<const float*>(args.grad_penalty);
    grad_penalty = grad / (double(args.rows) * double(args.bits));
  }
  for (int64_t i = 0; i < runs.count; ++i) {
    const int64_t row = range.begin + i;
    const void* grad_codes = args.grad_codes ? at(args.grad_codes, row * args.bits, size) : nullptr;
    run_variant({grad_codes, grad_penalty, at(args.logits, row * args.row_stride, size),
                 at(args.grad_logits, row * args.bits, size), runs.length, args.dtype, args.penalty, args.sharpness,
                 args.rule});
  }
}

}  // namespace fasthash
