// SPDX-License-Identifier: Apache-2.0
// A first bound on the distance of the k-th nearest code, from a sample of the database: the fewer codes pass the
// threshold, the less there is to select from. A bound that turns out too low is found out, since fewer than k codes
// pass; such a query is scanned again without one.
#pragma once

#include <cstdint>
#include <vector>

#include "hamming_scan/codes.h"

namespace fasthash {

struct CodeSample {
  struct alignas(64) Line {
    uint64_t words[8];
  };
  std::vector<Line> lines;
  int64_t count = 0, width = 0;
  double rate = 0;  // of all codes that may be found

  Database database() const { return {reinterpret_cast<const uint8_t*>(lines.data()), count, width, 0}; }
};

// About `count` codes of those that may be found, spread over the whole database.
CodeSample sample_codes(const Database& database, const uint8_t* allow, int64_t allowed, int64_t count);

// How many codes of a sample have to be at least as near as the bound, so that k of all codes are with near certainty:
// the mean and three standard deviations of the number of the k nearest that are in the sample.
int64_t sample_rank(int64_t k, double rate);

// The codes that may be found.
int64_t count_allowed(const uint8_t* allow, int64_t count);

}  // namespace fasthash
