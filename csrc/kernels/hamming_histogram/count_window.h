// SPDX-License-Identifier: Apache-2.0
// The distances of one query of which products of planes are counted (hamming_slices_histogram_vec.h): as few as hold
// nearly all codes. Any choice gives the same counts.
#pragma once

#include <cstdint>

namespace fasthash {

struct CountWindow {
  int64_t center, size;  // distances center - size ... center + size - 1

  // Half of the lowest distance of the given parity.
  int64_t start(int64_t parity) const { return (center - size - parity + 1) >> 1; }
};

// By how many codes lie at each distance 0 ... bins - 1, of which there is one at least. `per_look`: the codes among
// which one outside of the window costs as much as more.
CountWindow fit_window(const int64_t* counts, int64_t bins, int64_t per_look);
// By the mean of a few distances.
CountWindow guess_window(const int32_t* distances, int64_t count, int64_t bits);

}  // namespace fasthash
