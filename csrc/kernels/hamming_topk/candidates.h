// SPDX-License-Identifier: Apache-2.0
// The candidates for the k nearest codes of one query, and how losers are dropped. Distances are small integers, so
// candidates are counted by distance in place of being ordered in a heap.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "hamming_slices/hamming_slices_seam.h"

namespace fasthash {

inline int64_t distance_of(uint64_t candidate) { return int64_t(candidate >> position_bits); }
inline int64_t position_of(uint64_t candidate) { return int64_t(candidate & ((uint64_t(1) << position_bits) - 1)); }

// What all lists of one search have in common.
struct CandidateRules {
  int64_t k, bits;
  const int64_t* ids;  // null: positions are the ids

  // A list this long is pruned; the rest of its capacity is room for what one block may add.
  int64_t prune_at() const { return std::max(2 * k, std::max(k + 64, bits / 4)); }
};

// Candidates by distance. Four parts of a list are counted side by side, since one count after the other of the same
// distance would wait for its predecessor.
class DistanceCounts {
 public:
  static constexpr int64_t parts = 4;

  explicit DistanceCounts(int64_t bits) : bins_(bits + 1), counts_(size_t(parts * bins_)) {}

  static int64_t part_begin(int64_t size, int64_t part) { return std::min(size, part * ((size + parts - 1) / parts)); }

  void count(const uint64_t* data, int64_t size) {
    std::fill(counts_.begin(), counts_.end(), 0);
    for_each(data, size, [&](int64_t part, uint64_t candidate) { ++at(part, distance_of(candidate)); });
  }

  int32_t& at(int64_t part, int64_t distance) { return counts_[size_t(part * bins_ + distance)]; }
  int64_t total(int64_t distance) {
    int64_t sum = 0;
    for (int64_t part = 0; part < parts; ++part) sum += at(part, distance);
    return sum;
  }

  // Counts become the places of the first of them in the order (distance, part).
  void make_places() {
    int32_t before = 0;
    for (int64_t distance = 0; distance < bins_; ++distance) {
      for (int64_t part = 0; part < parts; ++part) {
        const int32_t here = at(part, distance);
        at(part, distance) = before;
        before += here;
      }
    }
  }

  // f(part, candidate) for all, in the order of each part.
  template <class F>
  static void for_each(const uint64_t* data, int64_t size, const F& f) {
    const int64_t common = size - part_begin(size, parts - 1);
    const uint64_t* begin[parts];
    for (int64_t part = 0; part < parts; ++part) begin[part] = data + part_begin(size, part);
    for (int64_t i = 0; i < common; ++i)
      for (int64_t part = 0; part < parts; ++part) f(part, begin[part][i]);
    for (int64_t part = 0; part < parts - 1; ++part)
      for (const uint64_t* c = begin[part] + common; c < begin[part + 1]; ++c) f(part, *c);
  }

 private:
  int64_t bins_;
  std::vector<int32_t> counts_;  // (parts, bins)
};

// Drops what cannot be among the k nearest; memory for one thread.
class Pruner {
 public:
  explicit Pruner(const CandidateRules& rules) : rules_(rules), counts_(rules.bits) {}

  // Where k candidates are there, the k-th one's distance t is the new threshold: later codes at t have higher
  // positions. With ids of any order they may still win, and t + 1 is.
  void prune(CandidateList& list) {
    if (list.size < rules_.k) return;
    counts_.count(list.data, list.size);
    int64_t below = 0, t = 0;
    for (int64_t here = counts_.total(0); below + here < rules_.k; here = counts_.total(++t)) below += here;
    list.threshold = std::min(list.threshold, t + (rules_.ids ? 1 : 0));
    keep(list, t, rules_.k - below);
  }

 private:
  // Everything below distance t, and `room` candidates at it.
  void keep(CandidateList& list, int64_t t, int64_t room) {
    const uint64_t last = rules_.ids ? last_id(list, t, room) : 0;
    uint64_t* out = list.data;
    for (const uint64_t* c = list.data; c != list.end(); ++c) {
      const int64_t distance = distance_of(*c);
      const bool tie = distance == t;
      const bool wins = tie && room > 0 && (!rules_.ids || key(*c) <= last);
      room -= wins;
      *out = *c;
      out += distance < t || wins;
    }
    list.size = out - list.data;
  }

  // Ids in an order of unsigned numbers.
  uint64_t key(uint64_t candidate) const { return uint64_t(rules_.ids[position_of(candidate)]) ^ (uint64_t(1) << 63); }

  // The `room`-th lowest id at distance t.
  uint64_t last_id(const CandidateList& list, int64_t t, int64_t room) {
    keys_.clear();
    for (const uint64_t* c = list.data; c != list.end(); ++c)
      if (distance_of(*c) == t) keys_.push_back(key(*c));
    std::nth_element(keys_.begin(), keys_.begin() + (room - 1), keys_.end());
    return keys_[size_t(room - 1)];
  }

  CandidateRules rules_;
  DistanceCounts counts_;
  std::vector<uint64_t> keys_;
};

}  // namespace fasthash
