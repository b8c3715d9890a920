// SPDX-License-Identifier: Apache-2.0
#include "fuzz.h"
#include "hamming_case.h"
#include "hamming_distance/hamming_distance.h"
#include "hamming_topk/hamming_topk.h"

namespace fasthash {
namespace {

// Codes that begin `offset` bytes into a buffer of exactly their size.
struct Placed {
  Codes codes;
  int64_t offset;
  std::vector<uint8_t> buffer;

  Placed(fuzz::Choices& choices, int64_t count, int64_t width)
      : codes(count, width, 0, choices.coin() ? choices.between(0, 20) : 0), offset(choices.between(0, 63)) {
    choices.fill(codes.bytes);
    buffer.assign(size_t(offset), 0xab);
    buffer.insert(buffer.end(), codes.bytes.begin(), codes.bytes.end());
    buffer.shrink_to_fit();
  }
  CodeRows rows() const { return codes.rows_at(buffer.data() + offset); }
};

struct Search {
  Placed queries, database;
};
Search search_of(fuzz::Choices& choices) {
  const int64_t widths[] = {1, 4, 8, 12, 16, 24, 32, 40, 48, 64, 72, 100, 128, 256};
  const int64_t width = choices.coin() ? choices.one_of(widths) : choices.between(1, 70);
  const int64_t codes = choices.between(1, choices.coin() ? 20 : 700);
  return {Placed(choices, choices.between(1, 5), width), Placed(choices, codes, width)};
}

FUZZ(hamming_distance) {
  const Search search = search_of(choices);
  const std::vector<int32_t> expected = naive_distances(search.queries.codes, search.database.codes);
  on_every_machine([&] {
    std::vector<int32_t> distances(expected.size(), -1);
    const HammingDistance args{search.queries.rows(), search.database.rows(), distances.data()};
    for (int64_t block = 0; block < hamming_distance_blocks(args); ++block) hamming_distance_cpu(args, block);
    CHECK_EQ(distances, expected);
  });
}

FUZZ(hamming_topk) {
  const Search search = search_of(choices);
  const int64_t queries = search.queries.codes.count, codes = search.database.codes.count;
  const int64_t k = choices.between(1, choices.coin() ? codes : std::min<int64_t>(codes, 10));
  const HammingTopkShares shares{choices.between(1, queries), choices.between(1, 4), choices.between(1, 4)};
  const TopkResult expected = naive_topk(search.queries.codes, search.database.codes, k);
  on_every_machine([&] {
    TopkResult result(queries, k);
    const HammingTopk args{search.queries.rows(), search.database.rows(), k, result.distances.data(),
                           result.ids.data()};
    for (int64_t first = 0; first < queries; first += shares.queries_at_once) {
      const int64_t count = std::min(shares.queries_at_once, queries - first);
      HammingTopkSearch part(topk_queries(args, first, count), shares);
      for (int64_t round = 0; round < part.rounds(); ++round)
        for (int64_t task = part.tasks(); task-- > 0;) part.scan(task, round);
      for (int64_t query = 0; query < count; ++query) part.finish(query);
    }
    expect_same(result, expected);
  });
}

}  // namespace
}  // namespace fasthash
