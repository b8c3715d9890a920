// SPDX-License-Identifier: Apache-2.0
// The candidates for the k nearest codes of one query, and how losers are dropped. Distances are small integers, so
// candidates are counted by distance in place of being ordered in a heap.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace fasthash {

// A candidate is the word distance << 40 | position in the database.
constexpr int position_bits = 40;
inline int64_t distance_of(uint64_t candidate) { return int64_t(candidate >> position_bits); }
inline int64_t position_of(uint64_t candidate) { return int64_t(candidate & ((uint64_t(1) << position_bits) - 1)); }

// What all lists of one search have in common.
struct CandidateRules {
  int64_t k, bits;
  const int64_t* ids;  // null: positions are the ids

  // A list this long is pruned; the rest of its capacity is room for what one step of a scan may add.
  int64_t prune_at() const { return std::max(2 * k, std::max(k + 64, bits / 4)); }
};

// Codes come by rising position; only distances below `threshold` need to come.
struct CandidateList {
  uint64_t* data;
  int64_t size, threshold;

  uint64_t* end() const { return data + size; }
};

// Drops what cannot be among the k nearest; memory for one thread.
class Pruner {
 public:
  explicit Pruner(const CandidateRules& rules) : rules_(rules), counts_(size_t(rules.bits + 2)) {}

  // Where k candidates are there, the k-th one's distance t is the new threshold: later codes at t have higher
  // positions. With ids of any order they may still win, and t + 1 is.
  void prune(CandidateList& list) {
    if (list.size < rules_.k) return;
    count(list);
    int64_t below = 0, t = 0;
    while (below + counts_[size_t(t)] < rules_.k) below += counts_[size_t(t++)];
    list.threshold = std::min(list.threshold, t + (rules_.ids ? 1 : 0));
    keep(list, t, rules_.k - below);
  }

  // counts()[d + 1] candidates at distance d, and a zero before them.
  std::vector<int64_t>& counts_by_distance(const CandidateList& list) {
    count(list);
    return counts_;
  }

 private:
  void count(const CandidateList& list) {
    std::fill(counts_.begin(), counts_.end(), 0);
    for (const uint64_t* c = list.data; c != list.end(); ++c) ++counts_[size_t(distance_of(*c))];
  }

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
  std::vector<int64_t> counts_;  // (bits + 2)
  std::vector<uint64_t> keys_;
};

}  // namespace fasthash
