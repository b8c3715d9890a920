// SPDX-License-Identifier: Apache-2.0
// Who runs next: the turns that a FibreOrder gives to lanes, warps and blocks.
#pragma once

#include <cstdint>
#include <vector>

#include "scheduler.h"

namespace fasthash::cuda_on_cpu {

class Turns {
 public:
  // `salt` makes the random turns of one block differ from those of the next, the same in every run.
  Turns(FibreOrder order, std::uint64_t salt) : order_(order), state_(order.seed * 0x9e3779b97f4a7c15u + salt) {}

  // Writes 0..count-1 into `items` in the order in which they get their turn.
  void arrange(std::vector<int>& items, int count);

  // After a rendezvous of its warp: whether the warp goes on at once. A warp that runs as far ahead as it can, and one
  // that falls as far behind as it can, show a missing block barrier best.
  bool stay() { return order_.kind != FibreOrder::random || (next() & 1u) != 0; }

 private:
  std::uint64_t next();

  FibreOrder order_;
  std::uint64_t state_;
};

// The block that comes `turn`-th out of `blocks`.
std::uint64_t block_at(FibreOrder order, std::uint64_t turn, std::uint64_t blocks);

// A byte that turns up where nothing was written: never the same in two kinds of order, and never a harmless value
// (floats are NaN or large, integers -1 or large).
unsigned char garbage_byte(FibreOrder order);

}  // namespace fasthash::cuda_on_cpu
