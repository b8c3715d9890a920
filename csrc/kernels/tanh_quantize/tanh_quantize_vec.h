// SPDX-License-Identifier: Apache-2.0
// tanh_quantize over the vector type Vec of the including file (common/vec_<machine>.h), all with internal linkage.
// Restates tanh_quantize_math.h; the tests hold the two together.
#pragma once

#include <cstring>

#include "tanh_quantize/tanh_quantize_seam.h"
#include "tanh_quantize/tanh_terms.h"

namespace {

using fasthash::AmplifierRule;
using fasthash::Dtype;
using fasthash::Penalty;
using fasthash::TanhBackwardRun;
using fasthash::TanhForwardRun;

template <Dtype dtype>
inline Vec load_vec(const void* p) {
  if constexpr (dtype == Dtype::float32) return load_float32(p);
  if constexpr (dtype == Dtype::bfloat16) return load_bfloat16(p);
  if constexpr (dtype == Dtype::float16) return load_float16(p);
}
template <Dtype dtype>
inline void store_vec(void* p, Vec a) {
  if constexpr (dtype == Dtype::float32) store_float32(p, a);
  if constexpr (dtype == Dtype::bfloat16) store_bfloat16(p, a);
  if constexpr (dtype == Dtype::float16) store_float16(p, a);
}
template <Dtype dtype>
constexpr int64_t size_of = dtype == Dtype::float32 ? 4 : 2;

// exp(-2 x) for x >= 0 as 2^n 2^f with t = n + f = -2 x / ln 2. Rounding t costs as much as rounding x did before.
inline Vec exp_minus_twice(Vec x) {
  const Vec t = max(broadcast(-126.0f), x * broadcast(-2 * fasthash::log2_of_e));
  const Vec n = round_nearest(t), f = t - n;
  Vec p = fma(f, broadcast(fasthash::exp2_5), broadcast(fasthash::exp2_4));
  p = fma(p, f, broadcast(fasthash::exp2_3));
  p = fma(p, f, broadcast(fasthash::exp2_2));
  p = fma(p, f, broadcast(fasthash::exp2_1));
  p = fma(p, f, broadcast(fasthash::exp2_0));
  return times_exp2(fma(p, f, broadcast(1.0f)), n);
}

// tanh of |x| < tanh_cut by its odd polynomial, beyond by 1 - gap.
inline Vec tanh_near_zero(Vec x) {
  const Vec s = x * x;
  Vec p = fma(s, broadcast(fasthash::tanh_4), broadcast(fasthash::tanh_3));
  p = fma(p, s, broadcast(fasthash::tanh_2));
  p = fma(p, s, broadcast(fasthash::tanh_1));
  p = fma(p, s, broadcast(fasthash::tanh_0));
  return fma(p * s, x, x);
}

struct Tanh {
  Vec h, gap, slope;  // tanh(x), 1 - |tanh(x)|, 1 - tanh(x)^2
};
inline Tanh tanh_parts_vec(Vec x) {
  const Vec one = broadcast(1.0f), e = exp_minus_twice(abs(x)), inverse = reciprocal(one + e);
  const Vec gap = (e + e) * inverse;
  const Mask near_zero = less(abs(x), broadcast(fasthash::tanh_cut));
  return {select(near_zero, tanh_near_zero(x), copy_sign(one - gap, x)), gap, broadcast(2.0f) * gap * inverse};
}

// d = |h| - 1 lies in [-1, 0], where log cosh d = d^2 (1/2 - d^2/12 + d^4/45 - ...) converges too slowly for float32;
// so it is (|d| - log 2) + log1p(e), log1p by its atanh series in s = e / (2 + e) <= 1/3.
inline Vec log_cosh_vec(Vec d) {
  const Vec e = exp_minus_twice(abs(d));
  const Vec s = e / (broadcast(2.0f) + e);
  const Vec s2 = s * s;
  Vec p = broadcast(2.0f / 15);
  p = fma(p, s2, broadcast(2.0f / 13));
  p = fma(p, s2, broadcast(2.0f / 11));
  p = fma(p, s2, broadcast(2.0f / 9));
  p = fma(p, s2, broadcast(2.0f / 7));
  p = fma(p, s2, broadcast(2.0f / 5));
  p = fma(p, s2, broadcast(2.0f / 3));
  p = fma(p, s2, broadcast(2.0f));
  return fma(p, s, abs(d) - broadcast(0.69314718f));
}

template <Penalty penalty>
inline Vec penalty_vec(Vec h) {
  const Vec d = abs(h) - broadcast(1.0f);
  if constexpr (penalty == Penalty::l2) return d * d;
  if constexpr (penalty == Penalty::l1) return abs(d);
  if constexpr (penalty == Penalty::log_cosh) return log_cosh_vec(d);
  if constexpr (penalty == Penalty::cubic) return abs(d) * d * d;
}

template <Penalty penalty>
inline Vec penalty_pull_vec(Vec gap) {
  if constexpr (penalty == Penalty::l2) return broadcast(2.0f) * gap;
  if constexpr (penalty == Penalty::l1) return fma(gap, broadcast(0.0f), broadcast(1.0f));
  if constexpr (penalty == Penalty::log_cosh) return tanh_parts_vec(gap).h;
  if constexpr (penalty == Penalty::cubic) return broadcast(3.0f) * gap * gap;
}

inline uint8_t reversed(uint8_t b) {
  b = uint8_t((b & 0xf0) >> 4 | (b & 0x0f) << 4);
  b = uint8_t((b & 0xcc) >> 2 | (b & 0x33) << 2);
  return uint8_t((b & 0xaa) >> 1 | (b & 0x55) << 1);
}

template <Dtype dtype, Penalty penalty>
class ForwardRun {
 public:
  explicit ForwardRun(const TanhForwardRun& run)
      : run_(run), sharpness_(broadcast(float(run.sharpness))), threshold_(broadcast(float(run.threshold))) {}

  double operator()() {
    const char* z = static_cast<const char*>(run_.logits);
    char* h = static_cast<char*>(run_.codes);
    int64_t i = 0;
    for (; i + Vec::lanes <= run_.count; i += Vec::lanes) step(z + i * size, h + i * size, i, Vec::lanes);
    if (i < run_.count) tail(z + i * size, h + i * size, i, int(run_.count - i));
    return total_ + sum(partial_);
  }

 private:
  static constexpr int64_t size = size_of<dtype>;

  void step(const char* z_at, char* h_at, int64_t i, int live) {
    const Vec z = load_vec<dtype>(z_at);
    const Vec h = tanh_parts_vec(sharpness_ * z).h;
    store_vec<dtype>(h_at, h);
    add_penalty(h, live);
    if (run_.packed) pack(greater_equal(z, broadcast(0.0f)).bits(), i, live);
    if (run_.saturation) count(greater(abs(h), threshold_), i, live);
  }

  // The last elements go through a full vector on the stack.
  void tail(const char* z_at, char* h_at, int64_t i, int live) {
    alignas(64) char z[Vec::lanes * size] = {};
    alignas(64) char h[Vec::lanes * size];
    std::memcpy(z, z_at, size_t(live) * size);
    step(z, h, i, live);
    std::memcpy(h_at, h, size_t(live) * size);
  }

  // float32 lanes are emptied into a double every 64 steps: the error stays that of 64 additions.
  void add_penalty(Vec h, int live) {
    if constexpr (penalty != Penalty::none) {
      Vec value = penalty_vec<penalty>(h);
      if (live < Vec::lanes) value = first_lanes(value, live);
      partial_ = partial_ + value;
      if (++steps_ % 64 == 0) {
        total_ += sum(partial_);
        partial_ = broadcast(0.0f);
      }
    }
  }

  static Vec first_lanes(Vec a, int live) {
    alignas(64) float lanes[Vec::lanes] = {};
    alignas(64) float all[Vec::lanes];
    store_float32(all, a);
    std::memcpy(lanes, all, size_t(live) * sizeof(float));
    return load_float32(lanes);
  }

  void pack(unsigned bits, int64_t i, int live) {
    bits &= (1u << live) - 1;
    if constexpr (Vec::lanes < 8) {  // the second half of a byte joins the first
      if (i % 8 == 0) run_.packed[i / 8] = 0;
      run_.packed[i / 8] |= reversed(uint8_t(bits << (i % 8)));
      return;
    }
    for (int byte = 0; byte * 8 < live; ++byte) run_.packed[i / 8 + byte] = reversed(uint8_t(bits >> (8 * byte)));
  }

  void count(Mask saturated, int64_t i, int live) {
    if (live == Vec::lanes) return count_lanes(run_.saturation + i, saturated);
    for (int lane = 0; lane < live; ++lane) run_.saturation[i + lane] += (saturated.bits() >> lane) & 1;
  }

  TanhForwardRun run_;
  Vec sharpness_, threshold_;
  Vec partial_ = broadcast(0.0f);
  double total_ = 0;
  int64_t steps_ = 0;
};

// The factor of amplifier_factor() in tanh_quantize_math.h.
struct AmplifierVec {
  explicit AmplifierVec(const AmplifierRule& rule)
      : rule_(rule), factor_(broadcast(float(rule.amplification))), threshold_(broadcast(float(rule.threshold))) {}

  Vec operator()(Vec g, Vec z, Tanh tanh) const {
    const Vec zero = broadcast(0.0f), one = broadcast(1.0f);
    if (rule_.gate == fasthash::Amplifier::none) return one;
    Mask gated = greater(abs(tanh.h), threshold_);
    if (rule_.gate == fasthash::Amplifier::wrong_side) {
      const Mask left = less(z, zero);
      gated = gated & ((left & less(g, zero)) | (~left & greater(g, zero)));
    }
    Vec factor = factor_;
    if (rule_.inverse) factor = select(less(tanh.slope * factor_, one), factor_, one / tanh.slope);
    return select(gated, factor, one);
  }

 private:
  AmplifierRule rule_;
  Vec factor_, threshold_;
};

template <Dtype dtype, Penalty penalty>
class BackwardRun {
 public:
  explicit BackwardRun(const TanhBackwardRun& run)
      : run_(run),
        amplifier_(run.rule),
        sharpness_(broadcast(float(run.sharpness))),
        grad_penalty_(broadcast(float(run.grad_penalty))) {}

  void operator()() const {
    const char* z = static_cast<const char*>(run_.logits);
    const char* g = static_cast<const char*>(run_.grad_codes);
    char* out = static_cast<char*>(run_.grad_logits);
    int64_t i = 0;
    for (; i + Vec::lanes <= run_.count; i += Vec::lanes) step(z + i * size, g ? g + i * size : g, out + i * size);
    if (i < run_.count) tail(z + i * size, g ? g + i * size : g, out + i * size, size_t(run_.count - i) * size);
  }

 private:
  static constexpr int64_t size = size_of<dtype>;

  void step(const char* z_at, const char* g_at, char* out_at) const {
    const Vec z = load_vec<dtype>(z_at);
    const Vec grad_code = g_at ? load_vec<dtype>(g_at) : broadcast(0.0f);
    const Tanh tanh = tanh_parts_vec(sharpness_ * z);
    const Vec slope = sharpness_ * tanh.slope;
    const Vec g = grad_code * slope;
    Vec out = g * amplifier_(g, z, tanh);
    if constexpr (penalty != Penalty::none) {
      const Vec outward = select(less(z, broadcast(0.0f)), broadcast(1.0f), broadcast(-1.0f));
      out = out + grad_penalty_ * outward * penalty_pull_vec<penalty>(tanh.gap) * slope;
    }
    store_vec<dtype>(out_at, out);
  }

  void tail(const char* z_at, const char* g_at, char* out_at, size_t bytes) const {
    alignas(64) char z[Vec::lanes * size] = {};
    alignas(64) char g[Vec::lanes * size] = {};
    alignas(64) char out[Vec::lanes * size];
    std::memcpy(z, z_at, bytes);
    if (g_at) std::memcpy(g, g_at, bytes);
    step(z, g, out);
    std::memcpy(out_at, out, bytes);
  }

  TanhBackwardRun run_;
  AmplifierVec amplifier_;
  Vec sharpness_, grad_penalty_;
};

template <template <Dtype, Penalty> class Run, Dtype dtype, class Args>
auto run_penalty(const Args& args) {
  switch (args.penalty) {
    case Penalty::l2: return Run<dtype, Penalty::l2>(args)();
    case Penalty::l1: return Run<dtype, Penalty::l1>(args)();
    case Penalty::log_cosh: return Run<dtype, Penalty::log_cosh>(args)();
    case Penalty::cubic: return Run<dtype, Penalty::cubic>(args)();
    default: return Run<dtype, Penalty::none>(args)();
  }
}

// float64 is not a vector type here: the caller sends it to the scalar variant.
template <template <Dtype, Penalty> class Run, class Args>
auto run_dtype(const Args& args) {
  if (args.dtype == Dtype::bfloat16) return run_penalty<Run, Dtype::bfloat16>(args);
  if (args.dtype == Dtype::float16) return run_penalty<Run, Dtype::float16>(args);
  return run_penalty<Run, Dtype::float32>(args);
}

}  // namespace
