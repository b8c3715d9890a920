// SPDX-License-Identifier: Apache-2.0
#include "hamming_slices/hamming_slices_avx512.h"
#include "hamming_slices/hamming_slices_seam.h"

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

template <int bins>
void add_values(const Ones* counts, int64_t* out) {
  fasthash::add_differences<bins>([&](int set) { return counts[set].total(); }, out);
}

}  // namespace

// The vector type comes first.
#include "hamming_slices/hamming_slices_histogram_vec.h"

FASTHASH_DEFINE_SLICES(avx512)
