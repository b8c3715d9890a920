// SPDX-License-Identifier: Apache-2.0
// Sorts the items of one anchor by (Hamming distance, distance, index).
#pragma once

#include <cstdint>
#include <vector>

namespace fasthash {

class RankOrder {
 public:
  RankOrder(int64_t capacity, int64_t code_bytes);

  // Starts a new list; items are added in ascending order of their index.
  void clear() { count_ = 0; }
  void add(uint32_t item, uint32_t distance_key) { entries_[count_++] = uint64_t(distance_key) << 32 | item; }

  // The added items in rank order; hamming[item] is an item's Hamming distance.
  const uint32_t* sort(const int32_t* hamming);
  int64_t count() const { return count_; }
  // After that, the items by (distance, index).
  uint32_t by_distance(int64_t i) const { return uint32_t(entries_[i]); }

 private:
  void sort_by_distance();
  void sort_by_hamming(const int32_t* hamming);

  int64_t count_ = 0;
  std::vector<uint64_t> entries_, room_;  // distance key << 32 | item
  std::vector<uint32_t> places_;          // (bits + 1)
  std::vector<uint32_t> order_;
};

}  // namespace fasthash
