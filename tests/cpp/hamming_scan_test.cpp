// SPDX-License-Identifier: Apache-2.0
#include "hamming_scan/hamming_scan.h"

#include <cstring>

#include "hamming_case.h"
#include "hamming_scan/hamming_math.h"

namespace fasthash {
namespace {

TEST(popcount_counts_ones) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 1000; ++i) {
    const uint64_t x = random() & random();
    int ones = 0;
    for (int bit = 0; bit < 64; ++bit) ones += int((x >> bit) & 1);
    CHECK_EQ(popcount(x), ones);
    CHECK_EQ(popcount(uint32_t(x)) + popcount(uint32_t(x >> 32)), ones);
  }
  CHECK_EQ(popcount(~uint64_t(0)), 64);
  CHECK_EQ(popcount(uint8_t(0xff)), 8);
}

TEST(a_block_holds_codes_in_groups_word_by_word) {
  on_every_machine([] {
    for (int64_t width : {1, 5, 8, 9, 16, 24, 32, 48, 100}) {
      for (int64_t gap : {0, 3, 16}) {
        const Codes codes(37, width, unsigned(width), gap);
        const int64_t words = words_of(width);
        std::vector<uint64_t> rows(size_t(37 * words));
        load_words(codes.rows(), 0, 37, rows.data());
        CodeBlock block(words);
        const auto* loaded = static_cast<const char*>(block.load(as_database(codes.rows()), 0, 37));
        bool same = true;
        for (int64_t i = 0; i < 37; ++i)
          for (int64_t w = 0; w < words; ++w)
            same &= std::memcmp(loaded + (i / 8 * words + w) * 64 + i % 8 * 8, &rows[size_t(i * words + w)], 8) == 0;
        CHECK(same);
      }
    }
  });
}

TEST(dense_codes_of_64_bits_are_read_where_they_lie) {
  const Codes codes(192, 8, 1);
  CodeBlock block(1);
  CHECK_EQ(block.load(as_database(codes.rows()), 64, 128), static_cast<const void*>(codes.bytes.data() + 64 * 8));
}

TEST(scans_report_every_code_and_no_other) {
  on_every_machine([] {
    for (int64_t width : {3, 8, 16, 24, 32, 72, 256, 264, 504}) {
      for (int64_t count : {1, 7, 8, 9, 63, 64, 65, 130}) {
        const int64_t words = words_of(width), live = std::min(count, block_codes(words));
        const Codes query(1, width, 7), codes(live, width, 8);
        const std::vector<int32_t> expected = naive_distances(query, codes);
        std::vector<uint64_t> query_words(static_cast<size_t>(words));
        load_words(query.rows(), 0, 1, query_words.data());
        CodeBlock block(words);
        const ScanRun run{query_words.data(), block.load(as_database(codes.rows()), 0, live), words, live};
        std::vector<int32_t> distances(static_cast<size_t>(live));
        select_scan_all()(run, distances.data());
        CHECK_EQ(distances, expected);
        for (int64_t threshold : {int64_t(1), 4 * width, 8 * width + 1}) {
          std::vector<Hit> hits(size_t(live + hit_slack));
          hits.resize(size_t(select_scan_below()(run, int32_t(threshold), hits.data())));
          std::vector<int32_t> places, near;
          for (const Hit& hit : hits) {
            places.push_back(hit.place);
            CHECK_EQ(hit.distance, expected[size_t(hit.place)]);
          }
          for (int32_t place = 0; place < live; ++place)
            if (expected[size_t(place)] < threshold) near.push_back(place);
          CHECK_EQ(places, near);
        }
      }
    }
  });
}

// Hits are all the codes below the threshold, by rising place.
void expect_hits(const std::vector<Hit>& hits, int64_t found, const Codes& queries, int64_t query, const Codes& codes,
                 int32_t threshold) {
  std::vector<int32_t> places, distances, near, expected;
  for (int64_t i = 0; i < found; ++i) {
    places.push_back(hits[size_t(i)].place);
    distances.push_back(hits[size_t(i)].distance);
  }
  for (int64_t n = 0; n < codes.count; ++n) {
    if (naive_distance(queries, query, codes, n) >= threshold) continue;
    near.push_back(int32_t(n));
    expected.push_back(naive_distance(queries, query, codes, n));
  }
  CHECK_EQ(places, near);
  CHECK_EQ(distances, expected);
}

TEST(scans_read_codes_of_32_bit_words) {
  on_every_machine([] {
    for (int64_t width : {1, 2, 3, 4}) {
      for (int64_t count : {1, 15, 16, 17, 63, 64, 65, 330}) {
        const Codes query(1, width, 7), codes(count, width, 8);
        const PackedCodes packed(codes);
        const uint64_t word = word_of(query, 0, 0);
        for (int64_t threshold : {int64_t(0), int64_t(1), 4 * width, 8 * width + 1}) {
          std::vector<Hit> hits(size_t(count + hit_slack));
          const ScanRun run{&word, packed.database().data, 1, count, true};
          expect_hits(hits, select_scan_below()(run, int32_t(threshold), hits.data()), query, 0, codes,
                      int32_t(threshold));
        }
      }
    }
  });
}

TEST(scans_of_many_queries_report_what_each_of_them_would) {
  on_every_machine([] {
    for (int64_t width : {17, 24, 32, 72, 256, 264, 504}) {
      for (int64_t count : {1, 15, 64, 65, 330}) {
        const int64_t words = words_of(width);
        const Codes queries(scan_queries, width, 7), codes(count, width, 8);
        const PackedCodes packed(codes);
        std::vector<uint64_t> query_words(size_t(scan_queries * words));
        load_words(queries.rows(), 0, scan_queries, query_words.data());
        const int32_t bits = int32_t(8 * width), thresholds[scan_queries] = {bits / 2, 0, bits + 1, bits / 2 - 1};
        ScanRun runs[scan_queries];
        std::vector<Hit> hits[scan_queries];
        Hit* to[scan_queries];
        int64_t found[scan_queries];
        for (int q = 0; q < scan_queries; ++q) {
          runs[q] = {&query_words[size_t(q * words)], packed.database().data, words, count};
          hits[q].resize(size_t(q + count + hit_slack));
          to[q] = hits[q].data();
          found[q] = q;  // hits that are there already
        }
        select_scan_below_many()(runs, thresholds, to, found);
        for (int q = 0; q < scan_queries; ++q) {
          hits[q].erase(hits[q].begin(), hits[q].begin() + q);
          expect_hits(hits[q], found[q] - q, queries, q, codes, thresholds[q]);
        }
      }
    }
  });
}

}  // namespace
}  // namespace fasthash
