// SPDX-License-Identifier: Apache-2.0
#include "hamming_slices/hamming_slices_avx512.h"

namespace {

// Words are counted one by one, so pairs are added up first.
struct Ones {
  Slice odd = splat(0);
  int64_t pairs = 0;

  void add(Slice v, Slice w) {
    Slice carry;
    full_add(odd, v, w, carry);
    pairs += count(carry);
  }
  int64_t total() const { return 2 * pairs + count(odd); }

  static int64_t count(Slice v) {
    uint64_t words[lanes];
    store(words, v);
    int64_t sum = 0;
    for (uint64_t word : words) sum += int64_t(ones(word));
    return sum;
  }
};
inline void totals(const Ones* counts, int n, int64_t* out) {
  for (int i = 0; i < n; ++i) out[i] = counts[i].total();
}

}  // namespace

// The vector type comes first.
#include "hamming_slices/hamming_slices_histogram_vec.h"

FASTHASH_DEFINE_SLICES(avx512)
