// SPDX-License-Identifier: Apache-2.0
#include "hamming_topk/topk_sample.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "hamming_scan/allow.h"
#include "hamming_scan/hamming_math.h"

namespace fasthash {
namespace {

uint64_t word_of(const Database& database, int64_t n, int64_t w) {
  uint64_t word = 0;
  const int64_t bytes = std::min<int64_t>(8, database.width - 8 * w);
  if (database.packed())
    std::memcpy(&word, database.data + packed_place(database.width, n, w), size_t(word_bytes(database.width)));
  else
    std::memcpy(&word, database.data + n * database.stride + 8 * w, size_t(bytes));
  return word;
}

void put_code(CodeSample& sample, const Database& database, int64_t n) {
  uint8_t* out = reinterpret_cast<uint8_t*>(sample.lines.data());
  for (int64_t w = 0; w < words_of(database.width); ++w) {
    const uint64_t word = word_of(database, n, w);
    std::memcpy(out + packed_place(database.width, sample.count, w), &word, size_t(word_bytes(database.width)));
  }
  ++sample.count;
}

// A group of 8 codes, in the layout already.
bool put_group(CodeSample& sample, const Database& database, int64_t n) {
  const int64_t bytes = words_of(database.width) * word_bytes(database.width);
  const bool dense = database.packed() || (database.stride == bytes && database.width == bytes && bytes <= 8);
  if (!dense || sample.count % group_codes != 0 || n + group_codes > database.count) return false;
  std::memcpy(reinterpret_cast<uint8_t*>(sample.lines.data()) + sample.count * bytes, database.data + n * bytes,
              size_t(group_codes * bytes));
  sample.count += group_codes;
  return true;
}

// Spreads numbers over 64 bits (the finaliser of MurmurHash3).
uint64_t scattered(uint64_t x) {
  x = (x ^ x >> 33) * 0xff51afd7ed558ccdu;
  x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53u;
  return x ^ x >> 33;
}

}  // namespace

// One group of 8 codes of each of `groups` stretches, anywhere in it: what repeats in the database at a fixed distance
// does not meet the sample each time.
CodeSample sample_codes(const Database& database, const uint8_t* allow, int64_t allowed, int64_t count) {
  CodeSample sample;
  const int64_t groups = count / group_codes, whole = database.count / group_codes;
  sample.width = database.width;
  sample.lines.resize(size_t(packed_bytes(count, database.width) / 64));
  for (int64_t i = 0; i < groups; ++i) {
    const int64_t begin = int64_t(double(whole) * double(i) / double(groups));
    const int64_t end = std::min(whole, int64_t(double(whole) * double(i + 1) / double(groups)));
    const int64_t group = begin + int64_t(scattered(uint64_t(i)) % uint64_t(std::max<int64_t>(1, end - begin)));
    if (!allow && put_group(sample, database, group * group_codes)) continue;
    for (int64_t n = group * group_codes; n < std::min(database.count, (group + 1) * group_codes); ++n)
      if (is_allowed(allow, n)) put_code(sample, database, n);
  }
  sample.rate = double(sample.count) / double(std::max<int64_t>(1, allowed));
  return sample;
}

int64_t sample_rank(int64_t k, double rate) {
  const double mean = double(k) * rate;
  return int64_t(std::ceil(mean + 3 * std::sqrt(mean) + 3));
}

int64_t count_allowed(const uint8_t* allow, int64_t count) {
  if (!allow) return count;
  int64_t allowed = 0;
  for (int64_t i = 0; i < count / 8; ++i) allowed += popcount(allow[i]);
  for (int64_t n = count / 8 * 8; n < count; ++n) allowed += is_allowed(allow, n);
  return allowed;
}

}  // namespace fasthash
