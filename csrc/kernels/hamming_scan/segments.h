// SPDX-License-Identifier: Apache-2.0
// How a database is shared out to the blocks of a device. Plain arithmetic.
#pragma once

#include <algorithm>

#include "hamming_scan/codes.h"

namespace fasthash {

struct Segments {
  int64_t codes, count;  // of a segment, the last of which may be shorter; segments: at most what a grid has as rows
};

// So many that they make about `blocks` blocks with `groups` groups of queries, of at least `least` codes each, of few
// enough to count in int32, and of whole steps.
inline Segments cut_segments(int64_t codes, int64_t groups, int64_t blocks, int64_t least, int64_t step) {
  constexpr int64_t most = 65535, longest = int64_t(1) << 30;
  const int64_t wanted = std::clamp<int64_t>(ceil_div(blocks, std::max<int64_t>(groups, 1)), 1, most);
  const int64_t length = ceil_div(std::clamp(ceil_div(codes, wanted), least, longest), step) * step;
  return {length, ceil_div(codes, length)};
}

}  // namespace fasthash
