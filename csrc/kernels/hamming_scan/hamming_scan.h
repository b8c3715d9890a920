// SPDX-License-Identifier: Apache-2.0
// One query against a block of codes: the part that every Hamming operator on the CPU shares.
//
// A code of `width` bytes is read as ceil(width / 8) words of 64 bits, the last one filled up with zeros. A block holds
// its codes in groups of 8, word by word: word w of the codes 8 g ... 8 g + 7 lies side by side in the 64 bytes at
// ((g * words) + w) * 64. Blocks are filled up to whole tiles of 64 codes.
#pragma once

#include <cstdint>
#include <vector>

#include "hamming_scan/codes.h"
#include "hamming_scan/hamming_scan_seam.h"

namespace fasthash {

// Rows into groups, by the variant of the machine in use.
void fill_groups(const FillRun& run);

// The number of codes of a block that stays in the first-level cache beside what a scan writes.
int64_t block_codes(int64_t words);

// Codes first ... first + count - 1 as rows of words (count, words).
void load_words(const CodeRows& rows, int64_t first, int64_t count, uint64_t* words);

// The memory for one block at a time.
class CodeBlock {
 public:
  explicit CodeBlock(int64_t words);

  // At most block_codes(words) codes, rearranged; or where they already lie, which they do for dense rows of 64 bits
  // and in the scan layout, but for its codes of 32-bit words. `first` is a multiple of tile_codes where the database
  // is packed. Valid until the next call.
  const void* load(const Database& database, int64_t first, int64_t count);

 private:
  const void* load_packed(const Database& database, int64_t first, int64_t count);

  struct alignas(64) Group {
    uint64_t lane[group_codes];
  };
  std::vector<Group> groups_;  // (block_codes(words) / 8, words)
};

}  // namespace fasthash
