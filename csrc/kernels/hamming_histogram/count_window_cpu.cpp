// SPDX-License-Identifier: Apache-2.0
#include "hamming_histogram/count_window.h"

#include <algorithm>
#include <cmath>

namespace fasthash {
namespace {

constexpr int64_t sizes[] = {8, 12, 16, 24, 32};
constexpr double spread = 3.8;  // standard deviations beyond which one code in some thousands lies
constexpr double few = 0.8;     // a few distances may deviate more than all

// Up to 32 bits half of a sum has 5 digits, 32 values: a greater window would not keep clear of itself.
int64_t most_places(int64_t bins) { return bins <= 33 ? 16 : 32; }

}  // namespace

CountWindow fit_window(const int64_t* counts, int64_t bins, int64_t per_look) {
  double all = 0, sum = 0;
  for (int64_t d = 0; d < bins; ++d) {
    all += double(counts[d]);
    sum += double(counts[d]) * double(d);
  }
  const int64_t center = int64_t(std::lround(sum / all));
  CountWindow best{center, 0};
  double least = 0;
  for (const int64_t size : sizes) {
    if (size > most_places(bins)) break;
    double inside = 0;
    for (int64_t d = std::max<int64_t>(0, center - size); d < std::min(bins, center + size); ++d)
      inside += double(counts[d]);
    const double outside = (all - inside) / all * double(per_look);
    // In logical operations on a unit: products, their ones and sums; a branch that is taken; codes laid together.
    const double cost = 2.7 * double(size) + 60 * std::min(outside, 1.0) + 10 * outside;
    if (best.size == 0 || cost < least) {
      best.size = size;
      least = cost;
    }
  }
  return best;
}

CountWindow guess_window(const int32_t* distances, int64_t count, int64_t bits) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < count; ++i) {
    sum += distances[i];
    squares += double(distances[i]) * distances[i];
  }
  const double mean = sum / double(count), random = std::sqrt(double(bits)) / 2;
  const double deviation = std::max(random, few * std::sqrt(std::max(0.0, squares / double(count) - mean * mean)));
  for (const int64_t size : sizes)
    if (double(size) >= spread * deviation && size <= most_places(bits + 1)) return {int64_t(std::lround(mean)), size};
  return {int64_t(std::lround(mean)), most_places(bits + 1)};
}

}  // namespace fasthash
