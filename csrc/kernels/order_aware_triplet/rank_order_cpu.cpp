// SPDX-License-Identifier: Apache-2.0
#include "order_aware_triplet/rank_order.h"

#include <algorithm>

namespace fasthash {
namespace {

constexpr int digits = 4, digit_bits = 8, digit_values = 1 << digit_bits;
constexpr int64_t small = 48;  // up to this length comparisons cost less than counting

int digit_of(uint64_t entry, int digit) { return int(entry >> (32 + digit * digit_bits)) & (digit_values - 1); }

// Counts to first places.
void accumulate(uint32_t* counts, int64_t size) {
  uint32_t place = 0;
  for (int64_t i = 0; i < size; ++i) {
    const uint32_t count = counts[i];
    counts[i] = place;
    place += count;
  }
}

}  // namespace

RankOrder::RankOrder(int64_t capacity, int64_t code_bytes)
    : entries_(capacity), room_(capacity), places_(8 * code_bytes + 1), order_(capacity) {}

const uint32_t* RankOrder::sort(const int32_t* hamming) {
  if (count_ <= small)
    std::sort(entries_.begin(), entries_.begin() + count_);
  else
    sort_by_distance();
  sort_by_hamming(hamming);
  return order_.data();
}

// Radix sort, least significant digit first; a digit that all entries share is skipped.
void RankOrder::sort_by_distance() {
  uint32_t counts[digits][digit_values] = {};
  for (int64_t i = 0; i < count_; ++i)
    for (int digit = 0; digit < digits; ++digit) ++counts[digit][digit_of(entries_[i], digit)];
  for (int digit = 0; digit < digits; ++digit) {
    if (counts[digit][digit_of(entries_[0], digit)] == count_) continue;
    accumulate(counts[digit], digit_values);
    for (int64_t i = 0; i < count_; ++i) room_[counts[digit][digit_of(entries_[i], digit)]++] = entries_[i];
    std::swap(entries_, room_);
  }
}

void RankOrder::sort_by_hamming(const int32_t* hamming) {
  std::fill(places_.begin(), places_.end(), 0);
  for (int64_t i = 0; i < count_; ++i) ++places_[hamming[uint32_t(entries_[i])]];
  accumulate(places_.data(), int64_t(places_.size()));
  for (int64_t i = 0; i < count_; ++i) {
    const uint32_t item = uint32_t(entries_[i]);
    order_[places_[hamming[item]]++] = item;
  }
}

}  // namespace fasthash
