// SPDX-License-Identifier: Apache-2.0
#include "hamming_topk/topk_sample.h"

#include <set>

#include "hamming_case.h"
#include "hamming_scan/allow.h"

namespace fasthash {
namespace {

TEST(count_allowed_counts_the_codes_before_the_spare_bits) {
  CHECK_EQ(count_allowed(nullptr, 77), 77);
  for (int64_t count = 1; count <= 200; ++count) {
    const Selection selection{{}, Selection::random_mask(count, unsigned(count), 4)};
    int64_t expected = 0;
    for (int64_t n = 0; n < count; ++n) expected += selection.allows(n);
    CHECK_EQ(count_allowed(selection.allow(), count), expected);
  }
}

// Words of a mask that ends with the codes, so that nothing behind it is read under a sanitizer.
void expect_words(const Selection& selection, int64_t first, int64_t count) {
  std::vector<uint64_t> words(size_t(ceil_div(count, 64)), 0xab);
  allowed_words(selection.allow(), first, count, words.data());
  int64_t wrong = 0;
  for (int64_t i = 0; i < 64 * int64_t(words.size()); ++i)
    wrong += (words[size_t(i / 64)] >> (i % 64) & 1) != (i < count && selection.allows(first + i));
  CHECK_EQ(wrong, 0);
}

TEST(allowed_words_hold_a_bit_for_each_code_and_zeros_behind_them) {
  for (int64_t count = 1; count <= 200; ++count) {
    for (int64_t first : {0, 8, 64, 200}) {
      expect_words({}, first, count);
      expect_words({{}, Selection::random_mask(first + count, unsigned(count), 4)}, first, count);
    }
  }
}

// The positions of the codes of a sample, read from a database whose codes are their own positions.
std::vector<int64_t> sampled_positions(int64_t codes, int64_t width, bool packed, const Selection& selection,
                                       int64_t count) {
  Codes places(codes, width, 0);
  for (int64_t n = 0; n < codes; ++n)
    std::memcpy(&places.bytes[size_t(n * width)], &n, size_t(std::min<int64_t>(8, width)));
  const PackedCodes same(places);
  const uint8_t* allow = selection.allow();
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
      for (const Selection& selection :
           {Selection{}, {{}, Selection::random_mask(codes, 1, 4)}, {{}, Selection::random_mask(codes, 1, 1)}}) {
        const std::vector<int64_t> positions = sampled_positions(codes, width, packed, selection, count);
        const int64_t sampled = int64_t(positions.size());
        CHECK_EQ(int64_t(std::set<int64_t>(positions.begin(), positions.end()).size()), sampled);
        for (int64_t n : positions) CHECK(n >= 0 && n < codes && selection.allows(n));
        const double share = double(count_allowed(selection.allow(), codes)) / double(codes);
        CHECK_NEAR(double(sampled), double(count) * share, selection.mask.empty() ? 0 : 0.25 * double(count) * share);
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
