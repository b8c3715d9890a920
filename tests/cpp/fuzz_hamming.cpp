// SPDX-License-Identifier: Apache-2.0
#include "fuzz_hamming.h"

#include "hamming_distance/hamming_distance.h"
#include "hamming_histogram_case.h"
#include "hamming_range_case.h"
#include "hamming_scan/allow.h"
#include "hamming_scan/layout.h"
#include "hamming_topk/candidates.h"
#include "hamming_topk/hamming_topk.h"

namespace fasthash {
namespace {

using fuzz::Placed;
using fuzz::Search;

FUZZ(hamming_distance) {
  const Search search = fuzz::search_of(choices);
  const std::vector<int32_t> expected = naive_distances(search.queries.codes(), search.database.codes());
  on_every_machine([&] {
    std::vector<int32_t> distances(expected.size(), -1);
    const HammingDistance args{search.queries.rows(), search.database.database(), distances.data()};
    for (int64_t block = 0; block < hamming_distance_blocks(args); ++block) hamming_distance_cpu(args, block);
    CHECK_EQ(distances, expected);
  });
}

TopkResult topk_of(const Search& search, int64_t k, const HammingTopkShares& shares) {
  const int64_t queries = search.queries.codes().count;
  TopkResult result(queries, k);
  const HammingTopk args{search.queries.rows(),  search.database.database(), k,
                         search.selection.ids(), search.selection.allow(),   result.distances.data(),
                         result.ids.data()};
  for (int64_t first = 0; first < queries; first += shares.queries_at_once) {
    const int64_t count = std::min(shares.queries_at_once, queries - first);
    HammingTopkSearch part(topk_queries(args, first, count), shares);
    do {
      for (int64_t round = 0; round < part.rounds(); ++round)
        for (int64_t task = part.tasks(); task-- > 0;) part.scan(task, round);
    } while (part.scan_again());
    for (int64_t query = 0; query < count; ++query) part.finish(query);
  }
  return result;
}

FUZZ(hamming_topk) {
  const Search search = fuzz::search_of(choices);
  const int64_t queries = search.queries.codes().count, codes = search.database.codes().count;
  const int64_t largest = std::min(codes, 100000 / queries);  // which bounds the memory
  const int64_t limits[] = {10, largest}, limit = std::min(choices.one_of(limits), largest);
  const int64_t k = search.misleading + choices.between(1, search.misleading ? search.misleading : limit);
  const int64_t at_once = choices.coin() ? queries : choices.between(1, queries);
  const HammingTopkShares shares{at_once, choices.between(1, 4), choices.between(1, 4)};
  const TopkResult expected = naive_topk(search.queries.codes(), search.database.codes(), k, search.selection);
  on_every_machine([&] {
    const TopkResult result = topk_of(search, k, shares);
    CHECK_EQ(result.distances, expected.distances);
    if (!search.repeated_ids) CHECK_EQ(result.ids, expected.ids);
  });
}

// All codes are at one distance, and a sample holds all that may be found: none of them is dropped before the lists of
// candidates are as long as they may become.
TEST(hamming_topk_where_a_sample_holds_all_that_may_be_found) {
  const Codes queries(33, 4, 0, 0, 0), database(40000, 4, 0, 0, 0);
  Selection selection{{}, std::vector<uint8_t>(5000)};
  for (int64_t n : fuzz::sampled_positions(database.count, nullptr, 8192))
    selection.mask[size_t(n / 8)] |= uint8_t(0x80 >> n % 8);
  const Search search{Placed(queries, 0, false), Placed(database, 0, true), selection, false, 0};
  for (int64_t k : {100, 3000}) {
    const TopkResult expected = naive_topk(queries, database, k, selection);
    on_every_machine([&] { expect_same(topk_of(search, k, {33, 1, 1}), expected); });
  }
}

FUZZ(hamming_range) {
  const Search search = fuzz::search_of(choices);
  const int64_t width = search.queries.codes().width;
  const int64_t radius = choices.coin() ? choices.between(0, 8 * width + 3) : choices.between(0, 3 * width);
  const RangeResult expected = naive_range(search.queries.codes(), search.database.codes(), radius, search.selection);
  on_every_machine([&] {
    const RangeResult result =
        range_on_cpu(search.queries.rows(), search.database.database(), radius, search.selection);
    CHECK_EQ(result.offsets, expected.offsets);
    CHECK_EQ(result.distances, expected.distances);
    if (!search.repeated_ids) CHECK_EQ(result.ids, expected.ids);
  });
}

LabelCase labels_of(fuzz::Choices& choices, bool ids, int64_t count) {
  return ids ? random_ids(count, choices.byte()) : random_bits(count, choices.byte(), choices.between(0, 5));
}

FUZZ(hamming_histogram) {
  const Search search = fuzz::search_of(choices);
  const Codes &queries = search.queries.codes(), &database = search.database.codes();
  const bool ids = choices.coin(), labelled = choices.coin();
  const LabelCase first = labels_of(choices, ids, queries.count), second = labels_of(choices, ids, database.count);
  const LabelCase *of_queries = labelled ? &first : nullptr, *of_database = labelled ? &second : nullptr;
  const HistogramResult expected = naive_histogram(queries, database, of_queries, of_database);
  on_every_machine([&] {
    expect_same(histogram_on_cpu(search.queries.rows(), search.database.database(), of_queries, of_database), expected);
  });
}

// Candidates come by rising position, as from a scan; pruning at any time leaves the k first of (distance, id).
FUZZ(pruner) {
  const int64_t k = choices.between(1, 40), count = choices.between(1, 500), bits = 8 * choices.between(1, 32);
  const fuzz::Ids kinds[] = {fuzz::Ids::positions, fuzz::Ids::distinct};
  const Selection selection{fuzz::ids_of(choices, count, choices.one_of(kinds)), {}};
  const CandidateRules rules{k, bits, selection.ids()};
  const int64_t spread = choices.between(1, std::min<int64_t>(bits + 1, 256)), pause = choices.between(1, 100);
  std::vector<uint8_t> distances(static_cast<size_t>(count));
  choices.fill(distances);
  std::vector<uint64_t> memory(static_cast<size_t>(count)), expected;
  CandidateList list{memory.data(), 0, bits + 1};
  Pruner pruner(rules);
  for (int64_t n = 0; n < count; ++n) {
    const int64_t distance = distances[size_t(n)] % spread;
    expected.push_back(uint64_t(distance) << position_bits | uint64_t(n));
    if (distance < list.threshold) list.data[list.size++] = expected.back();
    if (n % pause == 0) pruner.prune(list);
  }
  pruner.prune(list);
  const auto id = [&](uint64_t candidate) { return selection.id(position_of(candidate)); };
  std::sort(expected.begin(), expected.end(), [&](uint64_t a, uint64_t b) {
    return std::pair(distance_of(a), id(a)) < std::pair(distance_of(b), id(b));
  });
  expected.resize(size_t(std::min(k, count)));
  if (count >= k) CHECK_EQ(list.threshold, distance_of(expected.back()) + (rules.ids ? 1 : 0));
  const auto by_position = [](uint64_t a, uint64_t b) { return position_of(a) < position_of(b); };
  std::sort(expected.begin(), expected.end(), by_position);
  CHECK_EQ(std::vector<uint64_t>(list.data, list.end()), expected);
}

// Every byte that a block promises can be read, and holds the codes.
FUZZ(layout_block) {
  const int64_t width = choices.between(1, 40), tiles = choices.between(1, 6);
  const Codes codes = fuzz::codes_of(choices, choices.between(1, 900), width);
  const Placed placed(codes, choices.between(0, 63), choices.coin());
  const int64_t bytes = word_bytes(width), words = words_of(width);
  const bool whole = choices.coin();
  on_every_machine([&] {
    LayoutBlock block(tiles * tile_codes, width);
    for (int64_t first = 0; first < codes.count; first += block.codes()) {
      const int64_t count = std::min(block.codes(), codes.count - first);
      const Database database = placed.database();
      const uint8_t* layout = whole ? block.load_whole(database, first, count) : block.load(database, first, count);
      const int64_t readable = whole ? block.codes() : ceil_div(count, tile_codes) * tile_codes;
      const std::vector<uint8_t> read(layout, layout + readable * block.code_bytes());
      int64_t wrong = 0;
      for (int64_t i = 0; i < count * words; ++i) {
        const int64_t n = i / words, w = i % words;
        const uint64_t word = word_of(codes, first + n, w);
        wrong += std::memcmp(&read[size_t(packed_place(width, n, w))], &word, size_t(bytes)) != 0;
      }
      CHECK_EQ(wrong, 0);
    }
  });
}

// Words of a mask that ends with its codes.
FUZZ(allowed_words) {
  const int64_t first = 8 * choices.between(0, 30), count = choices.between(1, 400);
  Selection selection;
  selection.mask.resize(size_t(ceil_div(first + count, 8)));
  choices.fill(selection.mask);
  std::vector<uint64_t> words(size_t(ceil_div(count, 64)));
  allowed_words(selection.mask.data(), first, count, words.data());
  int64_t wrong = 0, allowed = 0;
  for (int64_t i = 0; i < 64 * int64_t(words.size()); ++i)
    wrong += (words[size_t(i / 64)] >> (i % 64) & 1) != (i < count && selection.allows(first + i));
  for (int64_t n = 0; n < first + count; ++n) allowed += selection.allows(n);
  CHECK_EQ(wrong, 0);
  CHECK_EQ(count_allowed(selection.mask.data(), first + count), allowed);
}

}  // namespace
}  // namespace fasthash
