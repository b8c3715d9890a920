// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include "hamming_histogram/hamming_histogram.h"
#include "hamming_histogram/hamming_histogram_math.h"
#include "hamming_histogram/label_planes.h"
#include "hamming_scan/allow.h"
#include "hamming_scan/hamming_scan.h"
#include "hamming_scan/layout.h"
#include "hamming_slices/hamming_slices.h"

namespace fasthash {
namespace {

constexpr int64_t plane_bytes = 384 << 10, plane_codes = 65536;  // of a block: it stays in the second-level cache
constexpr int64_t queries_for_planes = 4;                        // from here on planes are worth their preparation
constexpr int64_t max_queries = 128;          // that a block of codes meets after it has been rearranged
constexpr int64_t words_per_block = 1 << 29;  // pairs of words compared in one block of work: about 0.1 s

int64_t queries_per_block(const HammingHistogram& args) {
  const int64_t words = std::max<int64_t>(1, args.database.count * words_of(args.database.width));
  return std::clamp<int64_t>(words_per_block / words, 1, max_queries);
}

// Codes first ... first + count - 1 at `distances` from query q.
void count_codes(const HammingHistogram& args, int64_t q, int64_t first, int64_t count, const int32_t* distances) {
  const int64_t bins = 8 * args.database.width + 1;
  int64_t* total = args.total + q * bins;
  for (int64_t i = 0; i < count; ++i) ++total[distances[i]];
  if (!args.labelled()) return;
  int64_t* relevant = args.relevant + q * bins;
  for (int64_t i = 0; i < count; ++i)
    relevant[distances[i]] += is_relevant(args.query_labels, q, args.database_labels, first + i);
}

struct Range {
  int64_t begin, count;
};
Range queries_of(const HammingHistogram& args, int64_t block) {
  const int64_t begin = block * queries_per_block(args);
  return {begin, std::min(queries_per_block(args), args.queries.count - begin)};
}

// One code after the other: for few queries, and for long codes.
void count_singly(const HammingHistogram& args, const Range& queries, const std::vector<uint64_t>& query_words) {
  const int64_t words = words_of(args.database.width), step = block_codes(words);
  const auto scan_all = select_scan_all();
  CodeBlock codes(words);
  std::vector<int32_t> distances(static_cast<size_t>(step));
  for (int64_t first = 0; first < args.database.count; first += step) {
    const int64_t count = std::min(step, args.database.count - first);
    const void* loaded = codes.load(args.database, first, count);
    for (int64_t i = 0; i < queries.count; ++i) {
      scan_all({&query_words[size_t(i * words)], loaded, words, count}, distances.data());
      count_codes(args, queries.begin + i, first, count, distances.data());
    }
  }
}

void count_in_slices(const HammingHistogram& args, const Range& queries, const std::vector<uint64_t>& query_words) {
  const SliceKernels& kernels = select_slices();
  const SliceShape shape(args.database.width);
  const QueryPrograms programs(shape, kernels, query_words.data(), queries.count);
  SlicedBlock block(shape, kernels, plane_bytes, plane_codes);
  LayoutBlock layout(block.codes(), args.database.width);
  LabelPlanes labels(args.database_labels, block.codes());
  std::vector<uint64_t> present(size_t(block.codes() / 64)), relevant(present.size());
  const int64_t bins = 8 * args.database.width + 1;
  for (int64_t first = 0; first < args.database.count; first += block.codes()) {
    const int64_t count = std::min(block.codes(), args.database.count - first);
    std::fill(present.begin(), present.end(), 0);
    allowed_words(nullptr, 0, count, present.data());
    const SlicedCodes codes = block.load(layout.load_whole(args.database, first, count));
    if (args.labelled()) labels.load(first, count);
    for (int64_t i = 0; i < queries.count; ++i) {
      const int64_t q = queries.begin + i;
      if (args.labelled()) labels.relevant(args.query_labels, q, relevant.data());
      kernels.histogram(
          codes, {programs.range(i, 1).records, present.data(), args.labelled() ? relevant.data() : nullptr, bins,
                  args.total + q * bins, args.labelled() ? args.relevant + q * bins : nullptr});
    }
  }
}

}  // namespace

int64_t hamming_histogram_blocks(const HammingHistogram& args) {
  return ceil_div(args.queries.count, queries_per_block(args));
}

void hamming_histogram_cpu(const HammingHistogram& args, int64_t block) {
  const Range queries = queries_of(args, block);
  const int64_t words = words_of(args.database.width);
  std::vector<uint64_t> query_words(size_t(queries.count * words));
  load_words(args.queries, queries.begin, queries.count, query_words.data());
  if (queries.count >= queries_for_planes && words <= max_sliced_words)
    count_in_slices(args, queries, query_words);
  else
    count_singly(args, queries, query_words);
}

}  // namespace fasthash
