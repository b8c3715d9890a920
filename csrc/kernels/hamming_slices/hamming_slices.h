// SPDX-License-Identifier: Apache-2.0
// The sliced scan: many queries against codes whose bits lie in planes.
//
// A plane holds one bit of many codes, side by side in a vector, so that a full adder in two or three logical
// instructions adds one bit of as many codes as a vector has bits. Three bits at a time are combined beforehand: for
// the bits a, b, c of the codes and those of a query, the bits that differ have the sum a ^ b ^ c or its complement,
// and the carry is the majority of a, b, c with some of them inverted, which makes 8 planes. Every query picks two of
// the 10 planes of a group by its own bits and adds them up. Preparing the planes takes about as long as a few tens of
// queries, and the planes stay in the first or second level of the cache while all queries of a batch meet them. Long
// codes are taken two words at a time, for two queries side by side: see `add_pass`.
//
// A query that looks for distances below t starts from 2^levels - t: the plane of weight 2^levels is then 1 where a
// code is too far.
#pragma once

#include <cstdint>
#include <vector>

#include "hamming_scan/codes.h"
#include "hamming_slices/hamming_slices_seam.h"

namespace fasthash {

const SliceKernels& select_slices();  // of the machine in use

constexpr int64_t first_level_bytes = 28 << 10;  // planes that stay in the first-level cache
constexpr int64_t second_level_bytes = 224
                                       << 10;  // planes of long codes, of which two words at a time are in the first
constexpr int64_t max_block_codes = 2048;

// From so many queries on the preparation of the planes pays off; -1: never.
int64_t queries_for_slices(int64_t width);
inline bool scanned_in_slices(int64_t queries, int64_t width) {
  const int64_t needed = queries_for_slices(width);
  return needed >= 0 && queries >= needed;
}

// What all codes of one width have in common.
struct SliceShape {
  explicit SliceShape(int64_t width);

  int64_t words;
  bool half;
  int levels;
  int64_t planes() const { return half ? half_planes : words * word_planes; }  // of one unit
};

// Queries ready to be added up.
class QueryPrograms {
 public:
  QueryPrograms(const SliceShape& shape, const SliceKernels& kernels, const uint64_t* words, int64_t count);

  // From now on query `index` looks for distances below `threshold`, 0 for none.
  void set_threshold(int64_t index, int64_t threshold);
  // From now on its sum begins at -start.
  void set_start(int64_t index, int64_t start);
  SlicedQueries range(int64_t first, int64_t count) const;

 private:
  SliceShape shape_;
  int64_t stride_;
  std::vector<int32_t> records_;
};

// The planes of one block of codes.
class SlicedBlock {
 public:
  // For `below`.
  SlicedBlock(const SliceShape& shape, const SliceKernels& kernels);
  // As many times `step` units as fit into `bytes`, up to `codes` codes, and at least once as many.
  SlicedBlock(const SliceShape& shape, const SliceKernels& kernels, int64_t bytes, int64_t codes, int64_t step);

  int64_t codes() const { return units_ * kernels_->unit_codes(); }
  // `layout`: codes() codes in the scan layout.
  SlicedCodes load(const uint8_t* layout) { return load(layout, units_); }
  // The first units of it alone.
  SlicedCodes load(const uint8_t* layout, int64_t units);

 private:
  struct alignas(64) Line {
    uint64_t words[8];
  };
  SliceShape shape_;
  const SliceKernels* kernels_;
  int64_t units_;
  std::vector<Line> planes_;
};

}  // namespace fasthash
