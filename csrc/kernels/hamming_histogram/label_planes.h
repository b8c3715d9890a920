// SPDX-License-Identifier: Apache-2.0
// Which codes of a block are relevant to a query, 64 to the word: labels lie in planes as codes do, so that a few
// logical operations compare a query's label with those of 64 codes. The codes are put into an order in which equal
// labels lie together, so that what is relevant to a query lies in a few places.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "hamming_histogram/hamming_histogram.h"

namespace fasthash {

class LabelPlanes {
 public:
  LabelPlanes(const Labels& labels, int64_t block_codes) : labels_(labels), words_(ceil_div(block_codes, 64)) {}

  // The labels of the codes at `places` of the database, in their new order: code i of it is the order()[i]-th.
  void load(const int64_t* places, int64_t count);
  const std::vector<int32_t>& order() const { return order_; }

  // Bit i of out[j]: whether code 64 j + i is relevant to query q, for the words begin ... end - 1 that are returned,
  // which are whole multiples of `step`; no code of the others is.
  struct Words {
    int64_t begin, end;
  };
  Words relevant(const Labels& query_labels, int64_t q, int64_t step, uint64_t* out) const;

 private:
  int bucket(int64_t place) const;
  void sort(const int64_t* places, int64_t count);
  void load_ids(const int64_t* places, int64_t count);
  void load_bits(const int64_t* places, int64_t count);
  Words equal_ids(int64_t id, int64_t step, uint64_t* out) const;
  Words common_bits(const uint8_t* bits, int64_t step, uint64_t* out) const;
  uint64_t* plane(int64_t index) { return &planes_[std::size_t(index * words_)]; }
  const uint64_t* plane(int64_t index) const { return &planes_[std::size_t(index * words_)]; }

  static constexpr int buckets = 256;
  Labels labels_;
  int64_t words_, count_ = 0;
  std::vector<int32_t> order_;
  int32_t starts_[buckets + 1] = {};
  std::vector<uint8_t> keys_;
  std::vector<uint64_t> planes_;  // of the bits of ids, as far as a bucket holds several; or of all label bits
  int64_t ids_[buckets] = {};     // the first of a bucket
  bool mixed_[buckets] = {};      // whether it holds others
};

// Bit i of word j <-> bit j of word i.
void transpose_bits(uint64_t (&rows)[64]);

}  // namespace fasthash
