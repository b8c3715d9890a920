// SPDX-License-Identifier: Apache-2.0
#include "hamming_topk/topk_sample.h"

#include <set>

#include "hamming_case.h"

namespace fasthash {
namespace {

std::vector<uint8_t> mask_of(int64_t codes, unsigned seed, uint8_t thinned = 0xff) {
  return Codes(1, ceil_div(codes, 8), seed, 0, thinned).bytes;
}

TEST(count_allowed_counts_the_codes_before_the_spare_bits) {
  CHECK_EQ(count_allowed(nullptr, 77), 77);
  for (int64_t count = 1; count <= 200; ++count) {
    const Filter filter{{}, mask_of(count, unsigned(count))};
    int64_t expected = 0;
    for (int64_t n = 0; n < count; ++n) expected += filter.allowed(n);
    CHECK_EQ(count_allowed(filter.allow.data(), count), expected);
  }
}

// Words of a mask that ends with the codes, so that nothing behind it is read under a sanitizer.
void expect_words(const Filter& filter, int64_t first, int64_t count) {
  std::vector<uint64_t> words(size_t(ceil_div(count, 64)), 0xab);
  allowed_words(filter.allow_or_null(), first, count, words.data());
  int64_t wrong = 0;
  for (int64_t i = 0; i < 64 * int64_t(words.size()); ++i)
    wrong += (words[size_t(i / 64)] >> (i % 64) & 1) != (i < count && filter.allowed(first + i));
  CHECK_EQ(wrong, 0);
}

TEST(allowed_words_hold_a_bit_for_each_code_and_zeros_behind_them) {
  for (int64_t count = 1; count <= 200; ++count) {
    for (int64_t first : {0, 8, 64, 200}) {
      expect_words({}, first, count);
      expect_words({{}, mask_of(first + count, unsigned(count))}, first, count);
    }
  }
}

// The positions of the codes of a sample, read from a database whose codes are their own positions.
std::vector<int64_t> sampled_positions(int64_t codes, int64_t width, bool packed, const Filter& filter, int64_t count) {
  Codes places(codes, width, 0);
  for (int64_t n = 0; n < codes; ++n)
    std::memcpy(&places.bytes[size_t(n * width)], &n, size_t(std::min<int64_t>(8, width)));
  const PackedCodes same(places);
  const uint8_t* allow = filter.allow_or_null();
  const CodeSample sample =
      sample_codes(packed ? same.database() : as_database(places.rows()), allow, count_allowed(allow, codes), count);
  CHECK_NEAR(sample.rate, double(sample.count) / double(count_allowed(allow, codes)), 1e-12);
  std::vector<int64_t> positions;
  for (int64_t i = 0; i < sample.count; ++i) {
    int64_t n = 0;
    const uint8_t* word = sample.database().data + packed_place(width, i, 0);
    std::memcpy(&n, word, size_t(std::min<int64_t>(8, width)));
    positions.push_back(n);
    for (int64_t w = 0; w < words_of(width) && n < codes; ++w) {
      const uint64_t expected = word_of(places, n, w);
      CHECK(std::memcmp(sample.database().data + packed_place(width, i, w), &expected, size_t(word_bytes(width))) == 0);
    }
  }
  return positions;
}

TEST(samples_hold_codes_of_the_database_that_may_be_found) {
  const int64_t codes = 9003, count = 512;
  for (int64_t width : {3, 4, 5, 8, 12, 16, 40}) {
    for (bool packed : {false, true}) {
      for (const Filter& filter : {Filter{}, {{}, mask_of(codes, 1)}, {{}, mask_of(codes, 1, 0x10)}}) {
        const std::vector<int64_t> positions = sampled_positions(codes, width, packed, filter, count);
        const int64_t sampled = int64_t(positions.size());
        CHECK_EQ(int64_t(std::set<int64_t>(positions.begin(), positions.end()).size()), sampled);
        for (int64_t n : positions) CHECK(n >= 0 && n < codes && filter.allowed(n));
        const double share = double(count_allowed(filter.allow_or_null(), codes)) / double(codes);
        CHECK_NEAR(double(sampled), double(count) * share, filter.allow.empty() ? 0 : 0.25 * double(count) * share);
      }
    }
  }
}

TEST(samples_are_spread_over_the_whole_database) {
  const int64_t codes = 80000, count = 8192;
  std::vector<int64_t> parts(8);
  for (int64_t n : sampled_positions(codes, 8, false, {}, count)) ++parts[size_t(n * 8 / codes)];
  for (int64_t in_part : parts) CHECK_NEAR(double(in_part), double(count) / 8, group_codes);
}

TEST(samples_of_nothing_are_empty) {
  const Codes codes(9000, 8, 1);
  const std::vector<uint8_t> none(ceil_div(codes.count, 8));
  CHECK_EQ(sample_codes(as_database(codes.rows()), none.data(), 0, 512).count, 0);
}

}  // namespace
}  // namespace fasthash
