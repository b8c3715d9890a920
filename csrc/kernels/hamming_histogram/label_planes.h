// SPDX-License-Identifier: Apache-2.0
// Which codes of a block are relevant to a query, 64 to the word: labels lie in planes as codes do, so that a few
// logical operations compare a query's label with those of 64 codes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "hamming_histogram/hamming_histogram.h"

namespace fasthash {

class LabelPlanes {
 public:
  LabelPlanes(const Labels& labels, int64_t block_codes) : labels_(labels), words_(ceil_div(block_codes, 64)) {}

  // The labels of codes first ... first + count - 1.
  void load(int64_t first, int64_t count);

  // Bit i of word j: whether code 64 j + i is relevant to query q; codes behind the last one may be.
  void relevant(const Labels& query_labels, int64_t q, uint64_t* out) const;

 private:
  void load_ids(int64_t first, int64_t count);
  void load_bits(int64_t first, int64_t count);
  void equal_ids(int64_t id, uint64_t* out) const;
  void common_bits(const uint8_t* bits, uint64_t* out) const;
  uint64_t* plane(int64_t index) { return &planes_[std::size_t(index * words_)]; }
  const uint64_t* plane(int64_t index) const { return &planes_[std::size_t(index * words_)]; }

  Labels labels_;
  int64_t words_;
  std::vector<uint64_t> planes_;  // of the bits in which ids of the block differ; or of all label bits
  std::vector<int> differing_;    // these bits
  uint64_t common_ = 0;           // the other bits of the block's ids
};

}  // namespace fasthash
