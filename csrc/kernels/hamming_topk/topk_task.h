// SPDX-License-Identifier: Apache-2.0
// One thread's part of a search: some queries, and the memory to scan codes for them block by block.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "hamming_scan/hamming_scan.h"
#include "hamming_scan/layout.h"
#include "hamming_slices/hamming_slices.h"
#include "hamming_topk/candidates.h"
#include "hamming_topk/topk_sample.h"

namespace fasthash {

struct TopkQueries {
  const uint64_t* words;  // (count, words of a code)
  int64_t count, width;   // width in bytes
  CandidateList* lists;   // (count)
};

class TopkTask {
 public:
  TopkTask(const CandidateRules& rules, const TopkQueries& queries);

  // Sets every threshold from the samples; the second one may be empty, or both.
  void seed(const CodeSample& small, const CodeSample& large);

  // Codes begin ... end - 1 for all queries.
  void scan(const Database& database, const uint8_t* allow, int64_t begin, int64_t end);
  // From now on for these alone, which begin anew without a threshold.
  void scan_again(std::vector<int32_t> queries);

  // From now on the query takes distances below `threshold`.
  void set_threshold(int64_t query, int64_t threshold);

  int64_t block_codes() const;

 private:
  struct Slicing {
    Slicing(const SliceShape& shape, const SliceKernels& kernels, const TopkQueries& queries);
    const SliceKernels& kernels;
    SliceShape shape;
    QueryPrograms programs;
    SlicedBlock block;
    std::vector<SliceHits> hits;
    std::vector<uint64_t> masks, mask_words;
    std::vector<uint32_t> mask_places;
  };

  void seed_from(const CodeSample& sample, int64_t k);
  void scan_slices(const uint8_t* layout, int64_t first, bool masked);
  void scan_words(const uint8_t* layout, int64_t first, int64_t count, bool masked);
  void scan_one(int64_t query, const uint8_t* layout, int64_t first, int64_t count, bool masked);
  void scan_many(const int64_t* queries, const uint8_t* layout, int64_t first, int64_t count, bool masked);
  void bound_by(int64_t query, const uint8_t* layout, int64_t count);
  int64_t nth_distance(int64_t count, int64_t rank);
  ScanRun run_of(int64_t query, const uint8_t* layout, int64_t count) const;
  void add_hits(int64_t query, const Hit* hits, int64_t found, int64_t first, bool masked);
  void prune(int64_t query);

  CandidateRules rules_;
  TopkQueries queries_;
  Pruner pruner_;
  std::unique_ptr<Slicing> slicing_;
  LayoutBlock layout_;
  std::vector<uint64_t> allowed_;  // of the block
  std::unique_ptr<Hit[]> hits_;    // (queries at once, codes of a block and hit_slack), left uninitialised
  std::vector<int32_t> counts_;    // (bits + 1)
  ScanBelow* scan_below_;
  ScanBelowMany* scan_below_many_;
  bool all_ = true;  // queries are scanned, else those of `again_`
  std::vector<int32_t> again_;
};

}  // namespace fasthash
