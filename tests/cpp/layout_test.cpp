// SPDX-License-Identifier: Apache-2.0
#include "hamming_scan/layout.h"

#include <cstring>

#include "hamming_case.h"

namespace fasthash {
namespace {

// Loads every block of 128 codes; all that a block promises can be read.
void expect_blocks(const Codes& codes, const Database& database, bool whole) {
  LayoutBlock block(128, codes.width);
  const int64_t bytes = word_bytes(codes.width), words = words_of(codes.width);
  CHECK_EQ(block.code_bytes(), words * bytes);
  for (int64_t first = 0; first < codes.count; first += block.codes()) {
    const int64_t count = std::min(block.codes(), codes.count - first);
    const uint8_t* layout = whole ? block.load_whole(database, first, count) : block.load(database, first, count);
    const int64_t readable = whole ? block.codes() : ceil_div(count, tile_codes) * tile_codes;
    const std::vector<uint8_t> all(layout, layout + readable * block.code_bytes());
    int64_t wrong = 0;
    for (int64_t i = 0; i < count * words; ++i) {
      const uint64_t word = word_of(codes, first + i / words, i % words);
      wrong += std::memcmp(&all[size_t(packed_place(codes.width, i / words, i % words))], &word, size_t(bytes)) != 0;
    }
    CHECK_EQ(wrong, 0);
  }
}

TEST(layout_blocks_hold_the_codes_of_rows_and_of_packed_databases) {
  on_every_machine([] {
    for (int64_t width = 1; width <= 40; ++width) {
      for (int64_t count : {1, 63, 64, 65, 128, 256, 333}) {
        for (int64_t gap : {0, 5}) {
          const Codes codes(count, width, unsigned(width), gap);
          for (bool whole : {false, true}) {
            expect_blocks(codes, as_database(codes.rows()), whole);
            expect_blocks(codes, PackedCodes(codes).database(), whole);
          }
        }
      }
    }
  });
}

TEST(layout_blocks_take_rows_from_any_address) {
  for (int64_t width : {3, 4, 8, 16, 21}) {
    const Codes codes(256, width, 1);
    std::vector<uint8_t> buffer(codes.bytes.size() + 64);
    for (int64_t offset : {1, 4, 8, 63}) {
      std::copy(codes.bytes.begin(), codes.bytes.end(), buffer.begin() + offset);
      for (bool whole : {false, true}) expect_blocks(codes, as_database(codes.rows_at(buffer.data() + offset)), whole);
    }
  }
}

TEST(layout_blocks_copy_only_what_does_not_lie_in_place) {
  for (int64_t width : {3, 4, 8, 12, 32}) {
    const Codes codes(300, width, 1);
    const PackedCodes packed(codes);
    const Database rows = as_database(codes.rows()), database = packed.database();
    LayoutBlock block(128, width);
    CHECK_EQ(block.load(database, 128, 128), database.data + packed_place(width, 128, 0));
    CHECK_EQ(block.load(rows, 128, 128) == rows.data + 128 * width, width == 4 || width == 8);
    const uint8_t* last = database.data + packed_place(width, 256, 0);
    CHECK_EQ(block.load(database, 256, 44), last);       // 320 codes can be read
    CHECK(block.load_whole(database, 256, 44) != last);  // the block ends at 384
    const auto* copied = block.load(rows, 256, 44);      // the rows end before the tile does
    CHECK(copied != rows.data + 256 * width);
    CHECK_EQ(reinterpret_cast<uintptr_t>(copied) % 64, 0u);
  }
}

}  // namespace
}  // namespace fasthash
