// SPDX-License-Identifier: Apache-2.0
#include "hamming_distance/hamming_distance.h"

#include <algorithm>
#include <vector>

namespace fasthash {
namespace {

constexpr int64_t batch_queries = 256;  // that a block of codes meets after it has been rearranged

}  // namespace

int64_t hamming_distance_blocks(const HammingDistance& args) {
  const int64_t codes = block_codes(words_of(args.database.width));
  return ceil_div(args.queries.count, batch_queries) * ceil_div(args.database.count, codes);
}

void hamming_distance_cpu(const HammingDistance& args, int64_t block) {
  const int64_t words = words_of(args.database.width), step = block_codes(words);
  const int64_t code_blocks = ceil_div(args.database.count, step);
  const int64_t first = block % code_blocks * step, count = std::min(step, args.database.count - first);
  const int64_t query = block / code_blocks * batch_queries;
  const int64_t queries = std::min(batch_queries, args.queries.count - query);
  const auto scan_all = select_scan_all();
  std::vector<uint64_t> query_words(size_t(queries * words));
  load_words(args.queries, query, queries, query_words.data());
  CodeBlock codes(words);
  const void* loaded = codes.load(args.database, first, count);
  for (int64_t i = 0; i < queries; ++i)
    scan_all({&query_words[i * words], loaded, words, count},
             args.distances + (query + i) * args.database.count + first);
}

}  // namespace fasthash
