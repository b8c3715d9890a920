// SPDX-License-Identifier: Apache-2.0
#include "fuzz.h"
#include "hamming_case.h"
#include "hamming_distance/hamming_distance.h"
#include "hamming_histogram_case.h"
#include "hamming_range_case.h"
#include "hamming_topk/hamming_topk.h"

namespace fasthash {
namespace {

Codes codes_of(fuzz::Choices& choices, int64_t count, int64_t width) {
  Codes codes(count, width, 0, choices.coin() ? choices.between(0, 20) : 0);
  choices.fill(codes.bytes);
  return codes;
}

// Rows by falling distance from the first query: each of them is the nearest so far, until the next one comes.
void order_by_falling_distance(const Codes& queries, Codes& database) {
  std::vector<std::pair<int32_t, std::vector<uint8_t>>> rows;
  for (int64_t n = 0; n < database.count; ++n) {
    const auto row = database.bytes.begin() + n * database.stride;
    rows.emplace_back(-naive_distance(queries, 0, database, n), std::vector<uint8_t>(row, row + database.width));
  }
  std::sort(rows.begin(), rows.end());
  for (int64_t n = 0; n < database.count; ++n)
    std::copy(rows[size_t(n)].second.begin(), rows[size_t(n)].second.end(),
              database.bytes.begin() + n * database.stride);
}

// Codes that begin `offset` bytes into a buffer of exactly their size.
struct Placed {
  Codes codes;
  int64_t offset;
  std::vector<uint8_t> buffer;

  Placed(const Codes& c, int64_t first) : codes(c), offset(first), buffer(size_t(first) + c.bytes.size(), 0xab) {
    std::copy(codes.bytes.begin(), codes.bytes.end(), buffer.begin() + offset);
  }
  CodeRows rows() const { return codes.rows_at(buffer.data() + offset); }
};

// Ids, a mask, both or neither.
Selection selection_of(fuzz::Choices& choices, int64_t count) {
  Selection selection;
  if (choices.coin()) selection.own_ids = Selection::shuffled(count, choices.byte());
  if (choices.coin()) {
    selection.mask.resize(size_t(ceil_div(count, 8)));
    choices.fill(selection.mask);
  }
  return selection;
}

struct Search {
  Placed queries, database;
  bool in_scan_layout;
  PackedCodes packed;
  Selection selection;

  Database database_rows() const { return as_database(database.rows()); }
  Database form() const { return in_scan_layout ? packed.database() : database_rows(); }
};
Search search_of(fuzz::Choices& choices) {
  const int64_t widths[] = {1, 4, 8, 12, 16, 24, 32, 40, 48, 64, 72, 100, 128, 256};
  const int64_t width = choices.coin() ? choices.one_of(widths) : choices.between(1, 70);
  const Codes queries = codes_of(choices, choices.between(1, 5), width);
  Codes database = codes_of(choices, choices.between(1, choices.coin() ? 20 : 700), width);
  if (choices.coin()) order_by_falling_distance(queries, database);
  const int64_t offset = choices.between(0, 63);
  const Placed placed_queries(queries, offset), placed(database, choices.between(0, 63));
  const bool in_scan_layout = choices.coin();
  return {placed_queries, placed, in_scan_layout, PackedCodes(database), selection_of(choices, database.count)};
}

FUZZ(hamming_distance) {
  const Search search = search_of(choices);
  const std::vector<int32_t> expected = naive_distances(search.queries.codes, search.database.codes);
  on_every_machine([&] {
    std::vector<int32_t> distances(expected.size(), -1);
    const HammingDistance args{search.queries.rows(), search.form(), distances.data()};
    for (int64_t block = 0; block < hamming_distance_blocks(args); ++block) hamming_distance_cpu(args, block);
    CHECK_EQ(distances, expected);
  });
}

FUZZ(hamming_topk) {
  const Search search = search_of(choices);
  const int64_t queries = search.queries.codes.count, codes = search.database.codes.count;
  const int64_t k = choices.between(1, choices.coin() ? codes : std::min<int64_t>(codes, 10));
  const HammingTopkShares shares{choices.between(1, queries), choices.between(1, 4), choices.between(1, 4)};
  const TopkResult expected = naive_topk(search.queries.codes, search.database.codes, k, search.selection);
  on_every_machine([&] {
    TopkResult result(queries, k);
    const HammingTopk args{
        search.queries.rows(),   search.form(),    k, search.selection.ids(), search.selection.allow(),
        result.distances.data(), result.ids.data()};
    for (int64_t first = 0; first < queries; first += shares.queries_at_once) {
      const int64_t count = std::min(shares.queries_at_once, queries - first);
      HammingTopkSearch part(topk_queries(args, first, count), shares);
      do {
        for (int64_t round = 0; round < part.rounds(); ++round)
          for (int64_t task = part.tasks(); task-- > 0;) part.scan(task, round);
      } while (part.scan_again());
      for (int64_t query = 0; query < count; ++query) part.finish(query);
    }
    expect_same(result, expected);
  });
}

FUZZ(hamming_range) {
  const Search search = search_of(choices);
  const int64_t radius = choices.between(0, 8 * search.queries.codes.width + 1);
  const RangeResult expected = naive_range(search.queries.codes, search.database.codes, radius, search.selection);
  on_every_machine(
      [&] { expect_same(range_on_cpu(search.queries.rows(), search.form(), radius, search.selection), expected); });
}

FUZZ(hamming_histogram) {
  const Search search = search_of(choices);
  const Codes &queries = search.queries.codes, &database = search.database.codes;
  const bool ids = choices.coin();
  const auto labels_of = [&](int64_t count) {
    return ids ? random_ids(count, choices.byte()) : random_bits(count, choices.byte(), choices.between(0, 5));
  };
  const LabelCase first = labels_of(queries.count), second = labels_of(database.count);
  const bool labelled = choices.coin();
  const LabelCase *of_queries = labelled ? &first : nullptr, *of_database = labelled ? &second : nullptr;
  const HistogramResult expected = naive_histogram(queries, database, of_queries, of_database);
  on_every_machine(
      [&] { expect_same(histogram_on_cpu(search.queries.rows(), search.form(), of_queries, of_database), expected); });
}

}  // namespace
}  // namespace fasthash
