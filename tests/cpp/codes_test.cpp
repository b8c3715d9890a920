// SPDX-License-Identifier: Apache-2.0
#include "hamming_scan/codes.h"

#include <set>

#include "hamming_case.h"
#include "hamming_scan/allow.h"

namespace fasthash {
namespace {

TEST(words_of_codes_lie_side_by_side) {
  // Up to 32 bits: 16 codes to a line.
  CHECK_EQ(packed_place(4, 0, 0), 0);
  CHECK_EQ(packed_place(4, 15, 0), 60);
  CHECK_EQ(packed_place(1, 17, 0), 64 + 4);
  // Up to 64 bits: one code after the other.
  CHECK_EQ(packed_place(5, 7, 0), 56);
  CHECK_EQ(packed_place(8, 100, 0), 800);
  // Two words: a line for each word of 8 codes.
  CHECK_EQ(packed_place(12, 7, 1), 64 + 56);
  CHECK_EQ(packed_place(16, 9, 1), (2 + 1) * 64 + 8);
}

TEST(packed_codes_fill_whole_tiles) {
  CHECK_EQ(packed_bytes(0, 8), 0);
  CHECK_EQ(packed_bytes(1, 8), 64 * 8);
  CHECK_EQ(packed_bytes(64, 8), 64 * 8);
  CHECK_EQ(packed_bytes(65, 8), 128 * 8);
  CHECK_EQ(packed_bytes(1, 3), 64 * 4);
  CHECK_EQ(packed_bytes(1, 9), 64 * 16);
}

TEST(every_word_has_a_place_of_its_own) {
  for (int64_t width : {1, 4, 5, 8, 9, 16, 31}) {
    std::set<int64_t> places;
    const int64_t count = 128, bytes = packed_bytes(count, width);
    for (int64_t n = 0; n < count; ++n) {
      for (int64_t w = 0; w < words_of(width); ++w) {
        const int64_t place = packed_place(width, n, w);
        CHECK(place >= 0 && place + word_bytes(width) <= bytes && place % word_bytes(width) == 0);
        places.insert(place);
      }
    }
    CHECK_EQ(int64_t(places.size()) * word_bytes(width), bytes);
  }
}

TEST(a_block_of_packed_codes_holds_the_words_of_their_rows) {
  on_every_machine([] {
    for (int64_t width : {1, 4, 5, 8, 9, 16, 32, 100}) {
      const Codes codes(197, width, unsigned(width));
      const PackedCodes packed(codes);
      const int64_t words = words_of(width), first = 128, count = 69;
      std::vector<uint64_t> rows(size_t(count * words));
      load_words(codes.rows(), first, count, rows.data());
      CodeBlock block(words);
      const auto* loaded = static_cast<const uint64_t*>(block.load(packed.database(), first, count));
      bool same = true;
      for (int64_t i = 0; i < count; ++i)
        for (int64_t w = 0; w < words; ++w)
          same &= loaded[(i / 8 * words + w) * 8 + i % 8] == rows[size_t(i * words + w)];
      CHECK(same);
    }
  });
}

TEST(packed_codes_of_64_bit_words_are_read_where_they_lie) {
  for (int64_t width : {5, 8, 24}) {
    const PackedCodes packed(Codes(200, width, 1));
    const int64_t words = words_of(width);
    CodeBlock block(words);
    CHECK_EQ(block.load(packed.database(), 128, 72),
             static_cast<const void*>(packed.database().data + 128 * 8 * words));
  }
}

TEST(a_mask_is_read_from_the_highest_bit_of_a_byte) {
  const uint8_t mask[] = {0x80, 0x01};
  std::vector<int64_t> allowed;
  for (int64_t n = 0; n < 16; ++n)
    if (is_allowed(mask, n)) allowed.push_back(n);
  CHECK_EQ(allowed, (std::vector<int64_t>{0, 15}));
  CHECK(is_allowed(nullptr, 7));
}

}  // namespace
}  // namespace fasthash
