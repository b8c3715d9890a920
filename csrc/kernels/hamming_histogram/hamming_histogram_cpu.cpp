// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include "hamming_histogram/hamming_histogram.h"
#include "hamming_histogram/hamming_histogram_math.h"
#include "hamming_scan/hamming_scan.h"

namespace fasthash {
namespace {

constexpr int64_t max_queries = 64;           // that a block of codes meets after it has been rearranged
constexpr int64_t words_per_block = 1 << 24;  // pairs of words compared in one block of work

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

}  // namespace

int64_t hamming_histogram_blocks(const HammingHistogram& args) {
  return ceil_div(args.queries.count, queries_per_block(args));
}

void hamming_histogram_cpu(const HammingHistogram& args, int64_t block) {
  const int64_t words = words_of(args.database.width), step = block_codes(words);
  const int64_t query = block * queries_per_block(args);
  const int64_t queries = std::min(queries_per_block(args), args.queries.count - query);
  const auto scan_all = select_scan_all();
  std::vector<uint64_t> query_words(size_t(queries * words));
  load_words(args.queries, query, queries, query_words.data());
  CodeBlock codes(words);
  std::vector<int32_t> distances(static_cast<size_t>(step));
  for (int64_t first = 0; first < args.database.count; first += step) {
    const int64_t count = std::min(step, args.database.count - first);
    const void* loaded = codes.load(args.database, first, count);
    for (int64_t i = 0; i < queries; ++i) {
      scan_all({&query_words[i * words], loaded, words, count}, distances.data());
      count_codes(args, query + i, first, count, distances.data());
    }
  }
}

}  // namespace fasthash
