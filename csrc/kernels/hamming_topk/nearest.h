// SPDX-License-Identifier: Apache-2.0
// The k nearest of a stream of codes that comes by rising id. Distances are small integers, so codes are counted by
// distance in place of being ordered in a heap.
#pragma once

#include <algorithm>
#include <cstdint>

namespace fasthash {

struct Candidate {
  int64_t id;
  int32_t distance;
};

// Only distances below threshold() need to come: it is the least t for which k codes with distance <= t have come, and
// among equal distances the lower ids, which came first, win. The memory is the caller's.
class Nearest {
 public:
  Nearest() = default;
  Nearest(int64_t k, int32_t bits, int64_t* counts, Candidate* candidates, int64_t capacity)
      : counts_(counts), candidates_(candidates), capacity_(capacity), k_(k), threshold_(bits + 1) {
    std::fill(counts, counts + bits + 1, 0);
  }

  // Room for candidates that makes adding a code a constant effort on average.
  static int64_t capacity(int64_t k, int64_t codes) { return std::min(codes, 2 * k + 256); }

  int32_t threshold() const { return threshold_; }
  const Candidate* begin() const { return candidates_; }
  const Candidate* end() const { return candidates_ + size_; }

  void add(int64_t id, int32_t distance) {
    if (distance >= threshold_) return;
    if (size_ == capacity_) drop_losers();
    candidates_[size_++] = {id, distance};
    ++counts_[distance];
    for (++below_; below_ >= k_; below_ -= counts_[threshold_]) --threshold_;
  }

 private:
  // Keeps what is below the threshold, and the first ones at it that the k nearest have room for.
  void drop_losers() {
    int64_t room = k_ - below_, kept = 0;
    for (int64_t i = 0; i < size_; ++i) {
      const Candidate candidate = candidates_[i];
      if (candidate.distance > threshold_ || (candidate.distance == threshold_ && room-- <= 0)) continue;
      candidates_[kept++] = candidate;
    }
    size_ = kept;
  }

  int64_t* counts_ = nullptr;  // (bits + 1) codes that came, by distance
  Candidate* candidates_ = nullptr;
  int64_t capacity_ = 0, size_ = 0, k_ = 0;
  int64_t below_ = 0;  // codes that came with distance < threshold_
  int32_t threshold_ = 0;
};

}  // namespace fasthash
