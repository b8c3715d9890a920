// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include "hamming_range/hamming_range.h"
#include "hamming_scan/allow.h"
#include "hamming_scan/hamming_scan.h"

namespace fasthash {
namespace {

constexpr int64_t max_queries = 64;           // that a block of codes meets after it has been rearranged
constexpr int64_t words_per_block = 1 << 24;  // pairs of words compared in one block of work

int64_t queries_per_block(const HammingRange& args) {
  const int64_t words = std::max<int64_t>(1, args.database.count * words_of(args.database.width));
  return std::clamp<int64_t>(words_per_block / words, 1, max_queries);
}

// The queries of a block of work.
struct Batch {
  Batch(const HammingRange& args, int64_t block)
      : first(block * queries_per_block(args)), count(std::min(queries_per_block(args), args.queries.count - first)) {}
  int64_t first, count;
};

// Distances that may come: 0 ... the radius or the length of the codes.
int64_t levels(const HammingRange& args) { return std::min(args.radius, 8 * args.database.width) + 1; }

// Calls f(i, n, distance) for the i-th query of the batch and every code n to be found, by rising n for each query.
template <class F>
void for_each_found(const HammingRange& args, const Batch& batch, const F& f) {
  const int64_t words = words_of(args.database.width), step = block_codes(words);
  const auto scan_below = select_scan_below();
  std::vector<uint64_t> query_words(size_t(batch.count * words));
  load_words(args.queries, batch.first, batch.count, query_words.data());
  CodeBlock codes(words);
  std::vector<Hit> hits(size_t(step + hit_slack));
  for (int64_t first = 0; first < args.database.count; first += step) {
    const int64_t count = std::min(step, args.database.count - first);
    const void* loaded = codes.load(args.database, first, count);
    for (int64_t i = 0; i < batch.count; ++i) {
      const int64_t found =
          scan_below({&query_words[i * words], loaded, words, count}, int32_t(levels(args)), hits.data());
      for (int64_t h = 0; h < found; ++h) {
        const int64_t n = first + hits[h].place;
        if (is_allowed(args.allow, n)) f(i, n, hits[h].distance);
      }
    }
  }
}

}  // namespace

int64_t hamming_range_blocks(const HammingRange& args) { return ceil_div(args.queries.count, queries_per_block(args)); }

void hamming_range_count_cpu(const HammingRange& args, int64_t block, int64_t* counts) {
  const Batch batch(args, block);
  std::fill(counts + batch.first, counts + batch.first + batch.count, 0);
  for_each_found(args, batch, [&](int64_t i, int64_t, int32_t) { ++counts[batch.first + i]; });
}

// A counting sort by distance, which keeps the order of positions; where ids are given, each distance is sorted by id.
void hamming_range_write_cpu(const HammingRange& args, int64_t block, const int64_t* offsets, int32_t* distances,
                             int64_t* ids) {
  const Batch batch(args, block);
  const int64_t bins = levels(args);
  std::vector<int64_t> places(size_t(batch.count * bins));  // (batch, bins)
  for_each_found(args, batch, [&](int64_t i, int64_t, int32_t distance) { ++places[i * bins + distance]; });
  for (int64_t i = 0; i < batch.count; ++i) {
    int64_t before = offsets[batch.first + i];
    for (int64_t distance = 0; distance < bins; ++distance) {
      const int64_t here = places[i * bins + distance];
      places[i * bins + distance] = before;
      before += here;
    }
  }
  for_each_found(args, batch, [&](int64_t i, int64_t n, int32_t distance) {
    const int64_t place = places[i * bins + distance]++;
    distances[place] = distance;
    ids[place] = args.ids ? args.ids[n] : n;
  });
  if (!args.ids) return;
  for (int64_t i = 0; i < batch.count; ++i) {
    int64_t begin = offsets[batch.first + i];
    for (int64_t distance = 0; distance < bins; ++distance) {
      const int64_t end = places[i * bins + distance];
      std::sort(ids + begin, ids + end);
      begin = end;
    }
  }
}

}  // namespace fasthash
