// SPDX-License-Identifier: Apache-2.0
#include "order_aware_triplet/anchor_sweep.h"

#include <algorithm>
#include <type_traits>

namespace fasthash {
namespace {

using Moments = AnchorSweep::Moments;

// With f and s an item's potentials, a pair weighs f_n - f_p where the positive stands first and s_p - s_n elsewhere:
// that is (f_n - f_p), and where the negative stands first, (g_p - g_n) more, with g = f + s.
double f_of(const Potentials<double>& item) { return item.first; }
double g_of(const Potentials<double>& item) { return item.first + item.second; }

Moments moments_of(double at, double value) { return {1.0, at, value, value * at}; }
Moments moments_of(double at, double value, double gain) { return {gain, gain * at, gain * value, gain * value * at}; }

// The sum over items of (other - value) * (at - item's at), or, unsquared, of (other - value); of the other side's
// point of view the signs of both differences turn.
template <bool squared>
double slope_of(const Moments& items, double at, double value) {
  if (!squared) return items.value - value * items.count;
  return at * items.value - items.value_at - value * (at * items.count - items.at);
}

}  // namespace

AnchorSweep::AnchorSweep(int64_t bits) : width_(1) {
  while (width_ * width_ < bits + 1) ++width_;
  buckets_.resize(size_t(width_ * width_));
  blocks_.resize(size_t(width_));
}

void AnchorSweep::clear() {
  std::fill(buckets_.begin(), buckets_.end(), Moments{});
  std::fill(blocks_.begin(), blocks_.end(), Moments{});
}

// Adding is cheap and asking is not, or the other way round.
void AnchorSweep::add_upwards(int64_t bucket, const Moments& item) {
  buckets_[size_t(bucket)] += item;
  blocks_[size_t(bucket / width_)] += item;
}

Moments AnchorSweep::below(int64_t bucket) const {
  const int64_t block = bucket / width_;
  Moments sum{};
  for (int64_t i = 0; i < block; ++i) sum += blocks_[size_t(i)];
  for (int64_t i = block * width_; i < bucket; ++i) sum += buckets_[size_t(i)];
  return sum;
}

void AnchorSweep::add_downwards(int64_t bucket, const Moments& item) {
  const int64_t block = bucket / width_;
  for (int64_t i = 0; i < block; ++i) blocks_[size_t(i)] += item;
  for (int64_t i = block * width_; i < bucket; ++i) buckets_[size_t(i)] += item;
}

Moments AnchorSweep::above(int64_t bucket) const {
  Moments sum = blocks_[size_t(bucket / width_)];
  sum += buckets_[size_t(bucket)];
  return sum;
}

namespace {

// The part of the slopes that comes from the same Hamming distance: items of the other side which the rank puts on the
// negative's side of the pair. Positives meet the negatives before them; negatives, from the end, the positives behind.
template <bool squared, class C>
void add_equal_hamming(const SweepSide<C>& p, const SweepSide<C>& n, double origin) {
  Moments sum{};
  for (int64_t i = 0, k = 0; i < p.count; ++i) {
    if (i == 0 || p.hamming[i] != p.hamming[i - 1]) {
      sum = {};
      while (k < p.before[i] && n.hamming[k] < p.hamming[i]) ++k;
    }
    for (; k < p.before[i]; ++k) sum += moments_of(double(n.at[k]) - origin, g_of(n.potentials[k]));
    p.slope[i] = -double(p.gain[i]) * slope_of<squared>(sum, double(p.at[i]) - origin, g_of(p.potentials[i]));
  }
  sum = {};
  for (int64_t i = n.count - 1, k = p.count - 1; i >= 0; --i) {
    if (i == n.count - 1 || n.hamming[i] != n.hamming[i + 1]) {
      sum = {};
      while (k >= n.before[i] && p.hamming[k] > n.hamming[i]) --k;
    }
    for (; k >= n.before[i]; --k) sum += moments_of(double(p.at[k]) - origin, g_of(p.potentials[k]), double(p.gain[k]));
    n.slope[i] = (squared ? -1.0 : 1.0) * slope_of<squared>(sum, double(n.at[i]) - origin, g_of(n.potentials[i]));
  }
}

}  // namespace

template <class C>
SweepSum AnchorSweep::run(const SweepSide<C>& p, const SweepSide<C>& n, bool squared) {
  const auto go = [&](auto is_squared) {
    constexpr bool square = decltype(is_squared)::value;
    const double sign = square ? 1.0 : -1.0;  // of a difference of distances, seen from the negative
    const double origin = double(n.at[n.by_distance[n.count / 2]]);
    SweepSum sum{0, 0};
    add_equal_hamming<square>(p, n, origin);

    clear();
    Moments near{};
    for (int64_t i = 0, k = 0; i < p.count; ++i) {
      const int64_t item = p.by_distance[i];
      for (; k < n.count && n.at[n.by_distance[k]] < p.at[item]; ++k) {
        const int64_t other = n.by_distance[k];
        const double at = double(n.at[other]) - origin;
        near += moments_of(at, f_of(n.potentials[other]));
        add_upwards(n.hamming[other], moments_of(at, g_of(n.potentials[other])));
      }
      const double at = double(p.at[item]) - origin;
      p.slope[item] += double(p.gain[item]) * (slope_of<square>(near, at, f_of(p.potentials[item])) -
                                               slope_of<square>(below(p.hamming[item]), at, g_of(p.potentials[item])));
      sum.loss += at * p.slope[item];
      sum.nonzero += k;
    }

    clear();
    near = {};
    for (int64_t i = n.count - 1, k = p.count - 1; i >= 0; --i) {
      const int64_t item = n.by_distance[i];
      for (; k >= 0 && p.at[p.by_distance[k]] > n.at[item]; --k) {
        const int64_t other = p.by_distance[k];
        const double at = double(p.at[other]) - origin, gain = double(p.gain[other]);
        near += moments_of(at, f_of(p.potentials[other]), gain);
        add_downwards(p.hamming[other], moments_of(at, g_of(p.potentials[other]), gain));
      }
      const double at = double(n.at[item]) - origin;
      n.slope[item] += sign * (slope_of<square>(near, at, f_of(n.potentials[item])) -
                               slope_of<square>(above(n.hamming[item]), at, g_of(n.potentials[item])));
      sum.loss -= at * n.slope[item];
    }
    sum.loss = std::max(0.0, sum.loss);
    return sum;
  };
  return squared ? go(std::true_type{}) : go(std::false_type{});
}

template SweepSum AnchorSweep::run<float>(const SweepSide<float>&, const SweepSide<float>&, bool);
template SweepSum AnchorSweep::run<double>(const SweepSide<double>&, const SweepSide<double>&, bool);

}  // namespace fasthash
