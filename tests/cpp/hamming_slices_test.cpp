// SPDX-License-Identifier: Apache-2.0
#include "hamming_slices/hamming_slices.h"

#include <numeric>

#include "hamming_case.h"
#include "hamming_histogram/parity_blocks.h"
#include "hamming_scan/allow.h"
#include "hamming_scan/layout.h"

namespace fasthash {
namespace {

constexpr int64_t query_count = 5, near_query = 1;

// Queries against the last block of a database of one and a half blocks. The near query is the block's code 3.
struct SliceCase {
  SliceCase(int64_t width, bool packed_layout)
      : kernels(select_slices()),
        shape(width),
        block(shape, kernels),
        queries(query_count, width, 1),
        database(block.codes() + block.codes() / 2 - 7, width, 2),
        packed(database),
        layout(block.codes(), width),
        words(size_t(query_count * shape.words)) {
    std::copy_n(database.bytes.begin() + (first() + 3) * width, width, queries.bytes.begin() + near_query * width);
    load_words(queries.rows(), 0, query_count, words.data());
    const Database loaded = packed_layout ? packed.database() : as_database(database.rows());
    codes = layout.load_whole(loaded, first(), count());
    sliced = block.load(codes);
  }

  int64_t first() const { return block.codes(); }
  int64_t count() const { return database.count - first(); }
  int32_t distance(int64_t query, int64_t n) const { return naive_distance(queries, query, database, first() + n); }
  QueryPrograms programs() const { return {shape, kernels, words.data(), query_count}; }

  const SliceKernels& kernels;
  SliceShape shape;
  SlicedBlock block;
  Codes queries, database;
  PackedCodes packed;
  LayoutBlock layout;
  std::vector<uint64_t> words;  // (queries, words)
  const uint8_t* codes;
  SlicedCodes sliced;
};

// All of the shorter codes, and some that only pairs of queries scan.
std::vector<int64_t> sliceable_widths() {
  std::vector<int64_t> widths(size_t(8 * max_sliced_words));
  std::iota(widths.begin(), widths.end(), 1);
  for (int64_t width : {33, 40, 47, 64, 72, 125, 128, 130, 256})
    if (width <= 8 * select_slices().max_words()) widths.push_back(width);
  return widths;
}

template <class F>
void for_each_case(const F& f) {
  on_every_machine([&] {
    for (int64_t width : sliceable_widths()) {
      for (bool packed : {false, true}) {
        check::context += " width " + std::to_string(width) + (packed ? " packed" : "");
        f(SliceCase(width, packed));
        check::context.resize(check::context.find(" width"));
      }
    }
  });
}

// Code n's bit of a plane at `offset` bytes behind the first plane of its unit and word.
int plane_bit(const SliceCase& c, int64_t n, int64_t word, int64_t offset) {
  const int64_t unit_codes = c.kernels.unit_codes(), vector_bytes = c.kernels.lanes * 8, i = n % unit_codes;
  const int64_t plane = n / unit_codes * c.shape.planes() + word * word_planes;
  const auto* at = static_cast<const char*>(c.sliced.planes) + plane * vector_bytes + offset + i / 64 * 8;
  uint64_t bits;
  std::memcpy(&bits, at, 8);
  return int(bits >> (i % 64) & 1);
}

// The planes of one code's word, by their definition.
std::vector<int> naive_planes(uint64_t word, bool half) {
  const auto bit = [&](int i) { return int(word >> i & 1); };
  const int groups = half ? slice_half_groups : slice_word_groups;
  std::vector<int> planes;
  for (int i = 0; i < 3 * groups; i += 3) {
    const int sum = (bit(i) + bit(i + 1) + bit(i + 2)) % 2;
    planes.insert(planes.end(), {sum, 1 - sum});
    for (int query = 0; query < 8; ++query) {
      int differing = 0;
      for (int j = 0; j < 3; ++j) differing += bit(i + j) != (query >> j & 1);
      planes.push_back(differing >= 2);
    }
  }
  for (int i = 3 * groups; i < (half ? 32 : 64); ++i) planes.insert(planes.end(), {bit(i), 1 - bit(i)});
  return planes;
}

TEST(slices_hold_the_sums_and_majorities_of_three_bits) {
  for_each_case([](const SliceCase& c) {
    int64_t wrong = 0;
    for (int64_t n = 0; n < c.count(); n += 5) {
      for (int64_t w = 0; w < c.shape.words; ++w) {
        const std::vector<int> planes = naive_planes(word_of(c.database, c.first() + n, w), c.shape.half);
        for (int64_t p = 0; p < int64_t(planes.size()); ++p)
          wrong += plane_bit(c, n, w, p * c.kernels.lanes * 8) != planes[size_t(p)];
      }
    }
    CHECK_EQ(wrong, 0);
    CHECK_EQ(c.shape.planes(), c.shape.words * int64_t(naive_planes(0, c.shape.half).size()));
  });
}

// What a query adds up for code n of one word: planes of weight 1 and 2 as Sum::add takes them.
int sum_of_program(const SliceCase& c, const int32_t* record, int64_t n, int64_t word) {
  const auto* offsets = reinterpret_cast<const uint16_t*>(record + query_biases) + word * program_steps;
  const int sums = c.shape.half ? 12 : 22, pairs = c.shape.half ? 8 : 16;
  int sum = 0;
  for (int pair = 0; pair < pairs; ++pair) {
    const bool carry = 2 * pair < sums;
    for (int i = 0; i < 2 && carry; ++i) sum += plane_bit(c, n, word, *offsets++);
    for (int i = carry ? 1 : 0; i < 2; ++i) sum += 2 * plane_bit(c, n, word, *offsets++);
  }
  return sum;
}

TEST(programs_name_planes_that_add_up_to_the_distance) {
  for_each_case([](const SliceCase& c) {
    const QueryPrograms programs = c.programs();
    for (int64_t query = 0; query < query_count; ++query) {
      const int32_t* record = programs.range(query, 1).records;
      int64_t wrong = 0;
      for (int64_t n = 0; n < c.count(); n += 11) {
        int sum = 0;
        for (int64_t w = 0; w < c.shape.words; ++w) sum += sum_of_program(c, record, n, w);
        wrong += sum != c.distance(query, n);
      }
      CHECK_EQ(wrong, 0);
    }
  });
}

// What `below` found for some of the queries.
struct Found {
  Found(const SliceCase& c, const SlicedQueries& queries)
      : hits(size_t(queries.count * c.block.codes() / c.kernels.step_codes(c.shape.words) + 1)),
        masks(hits.size() * size_t(c.kernels.mask_words(c.shape.words))) {
    hits.resize(size_t(c.kernels.below(c.sliced, queries, hits.data(), masks.data())));
  }
  std::vector<SliceHits> hits;
  std::vector<uint64_t> masks;  // (hits, words of a mask)
};

// Masks are exact where codes are, each hit has one with a bit, and a query's hits come by rising step.
void expect_masks(const SliceCase& c, const Found& found, int64_t begin, const std::vector<int64_t>& thresholds) {
  const int64_t words = c.kernels.mask_words(c.shape.words),
                steps = c.block.codes() / c.kernels.step_codes(c.shape.words);
  std::vector<uint64_t> bits(size_t(int64_t(thresholds.size()) * steps * words));
  int64_t wrong = 0;
  std::vector<int64_t> before(thresholds.size(), -1);
  for (size_t i = 0; i < found.hits.size(); ++i) {
    const int64_t at = found.hits[i].query * steps + found.hits[i].step;
    const uint64_t* mask = &found.masks[i * size_t(words)];
    int64_t& last = before[size_t(found.hits[i].query)];
    CHECK(at > last && std::any_of(mask, mask + words, [](uint64_t word) { return word != 0; }));
    std::copy_n(mask, words, bits.begin() + at * words);
    last = at;
  }
  for (int64_t query = 0; query < int64_t(thresholds.size()); ++query)
    for (int64_t n = 0; n < c.count(); ++n)
      wrong += (bits[size_t(query * steps * words + n / 64)] >> (n % 64) & 1) !=
               (c.distance(begin + query, n) < thresholds[size_t(query)]);
  CHECK_EQ(wrong, 0);
}

TEST(masks_tell_the_codes_below_the_threshold) {
  for_each_case([](const SliceCase& c) {
    const int64_t bits = 8 * c.queries.width;
    const std::vector<int64_t> thresholds{0, 1, bits / 2, bits + 1, bits / 2 - 1};
    QueryPrograms programs = c.programs();
    for (int64_t query = 0; query < query_count; ++query) programs.set_threshold(query, thresholds[size_t(query)]);
    expect_masks(c, Found(c, programs.range(0, query_count)), 0, thresholds);
    for (int64_t query = 0; query < query_count; ++query) programs.set_threshold(query, bits / 2 + query - 2);
    expect_masks(c, Found(c, programs.range(2, 2)), 2, {bits / 2, bits / 2 + 1});
  });
}

// The candidates of every query that are allowed: bit n of `allowed`, or all codes of the block where it is empty.
void expect_taken(const SliceCase& c, const std::vector<uint64_t>& allowed, int64_t threshold) {
  QueryPrograms programs = c.programs();
  for (int64_t query = 0; query < query_count; ++query) programs.set_threshold(query, threshold);
  const Found found(c, programs.range(0, query_count));
  const int64_t capacity = c.block.codes() + 1;
  std::vector<uint64_t> memory(size_t(query_count * capacity));
  std::vector<CandidateList> lists;
  for (int64_t query = 0; query < query_count; ++query) {
    memory[size_t(query * capacity)] = 7;  // what is in a list stays
    lists.push_back({&memory[size_t(query * capacity)], 1, threshold});
  }
  std::vector<uint64_t> words(found.hits.size() * size_t(c.kernels.mask_words(c.shape.words)));
  std::vector<uint32_t> places(words.size());
  c.kernels.take(
      {found.hits.data(), found.masks.data(), int64_t(found.hits.size()), allowed.empty() ? nullptr : allowed.data(),
       c.codes, c.words.data(), c.shape.words, c.shape.half, c.first(), lists.data()},
      {words.data(), places.data()});
  for (int64_t query = 0; query < query_count; ++query) {
    std::vector<uint64_t> expected{7};
    for (int64_t n = 0; n < c.count(); ++n)
      if (c.distance(query, n) < threshold && (allowed.empty() || (allowed[size_t(n / 64)] >> (n % 64) & 1)))
        expected.push_back(uint64_t(c.distance(query, n)) << position_bits | uint64_t(c.first() + n));
    // Without a mask codes that fill up the block are taken, too, behind the others.
    if (allowed.empty()) lists[size_t(query)].size = std::min(lists[size_t(query)].size, int64_t(expected.size()));
    CHECK_EQ(std::vector<uint64_t>(lists[size_t(query)].data, lists[size_t(query)].end()), expected);
  }
}

TEST(hits_are_taken_by_rising_position) {
  for_each_case([](const SliceCase& c) {
    const int64_t bits = 8 * c.queries.width;
    const auto words = size_t(c.block.codes() / 64);
    std::vector<uint64_t> all(words), some(words);
    allowed_words(nullptr, 0, c.count(), all.data());
    const Codes mask(1, c.block.codes() / 8, 3);
    allowed_words(mask.bytes.data(), 0, c.count(), some.data());
    for (int64_t threshold : {int64_t(1), bits / 2, bits + 1})
      for (const std::vector<uint64_t>& allowed : {std::vector<uint64_t>(), all, some})
        expect_taken(c, allowed, threshold);
  });
}

// Counts by half of the distance, of a block of one parity, are added to what is there; every third code is relevant.
// The window holds all codes, or some, or none.
void expect_counts(const SliceCase& c, ParityBlocks::Block block, int64_t query, int64_t window, int64_t start) {
  const int64_t width = c.queries.width, unit = c.kernels.unit_codes(), places = 4 * width + 1 + 2 * window_room;
  const int64_t units = ceil_div(block.count, 2 * unit) * 2, filled = units * unit - block.count;
  repeat_first(width, block.layout, block.count, block.count + filled);
  std::vector<int64_t> total(size_t(places), 5), counts(size_t(places), 7), expected_total = total, expected = counts;
  std::vector<uint64_t> relevant(size_t(units * unit / 64));
  const int64_t parity = c.distance(query, block.places[0]) & 1;
  int64_t outside = 0;
  for (int64_t i = 0; i < units * unit; ++i) {
    const int64_t distance = c.distance(query, block.places[i < block.count ? i : 0]), place = distance / 2;
    CHECK_EQ(distance & 1, parity);
    ++expected_total[size_t(place + window_room)];
    outside += place < start || place >= start + window;
    if (i % 3 != 0 || i >= block.count) continue;
    ++expected[size_t(place + window_room)];
    relevant[size_t(i / 64)] |= uint64_t(1) << (i % 64);
  }

  SlicedBlock planes(c.shape, c.kernels, first_level_bytes, max_block_codes, 2);
  QueryPrograms programs = c.programs();
  programs.set_start(query, 2 * start + parity);
  SlicedCounts result{start, window, total.data() + window_room,  relevant.data(),
                      0,     units,  counts.data() + window_room, 0};
  std::vector<uint64_t> memory(size_t(units * (c.shape.levels - 1) * c.kernels.lanes));
  c.kernels.histogram({planes.load(block.layout, units), programs.range(query, 1), 2, memory.data(), &result});
  CHECK_EQ(total, expected_total);
  CHECK_EQ(counts, expected);
  CHECK_EQ(result.outliers, outside);
}

TEST(slices_count_codes_by_distance) {
  for_each_case([](const SliceCase& c) {
    if (c.shape.words > max_sliced_words) return;
    const int64_t width = c.queries.width,
                  codes = SlicedBlock(c.shape, c.kernels, first_level_bytes, max_block_codes, 2).codes();
    ParityBlocks blocks(width, codes, true);
    LayoutBlock layout(ParityBlocks::chunk_codes, width);
    const Database database = as_database(c.database.rows());
    const int64_t used = std::min(codes / 2, c.count());
    for (int64_t first = 0; first < used; first += ParityBlocks::chunk_codes) {
      const int64_t count = std::min(ParityBlocks::chunk_codes, used - first);
      blocks.add(layout.load(database, c.first() + first, count), first, count);
    }
    const int64_t windows[] = {8, 12, 16, 24, 32};
    int64_t query = 0;
    blocks.take_rest([&](const ParityBlocks::Block& block) {
      for (int64_t window : windows) {
        if (c.shape.half && window > 16) continue;
        for (int64_t start : {-window / 2, int64_t(-3), 2 * width - window / 2, 4 * width - window / 2})
          expect_counts(c, block, query++ % query_count, window, start);
      }
    });
  });
}

TEST(parity_blocks_hold_every_code_once) {
  for (int64_t width : {3, 4, 7, 8, 16, 20, 32}) {
    const Codes database(1700, width, 3);
    ParityBlocks blocks(width, 256, true);
    LayoutBlock layout(ParityBlocks::chunk_codes, width);
    std::vector<int> seen(size_t(database.count), 0);
    int64_t taken = 0;
    const auto take = [&](const ParityBlocks::Block& block) {
      CHECK(block.count > 0 && block.count <= 256);
      for (int64_t i = 0; i < block.count; ++i) {
        const int64_t place = block.places[i];
        ++seen[size_t(place)];
        int ones = 0;
        for (int64_t byte = 0; byte < width; ++byte) {
          const uint8_t bits = database.bytes[size_t(place * database.stride + byte)];
          CHECK_EQ(int(block.layout[packed_place(width, i, byte / word_bytes(width)) + byte % word_bytes(width)]),
                   int(bits));
          ones += __builtin_popcount(bits);
        }
        CHECK_EQ(ones % 2, int(block.parity));
      }
      taken += block.count;
    };
    for (int64_t first = 0; first < database.count; first += ParityBlocks::chunk_codes) {
      const int64_t count = std::min(ParityBlocks::chunk_codes, database.count - first);
      blocks.add(layout.load(as_database(database.rows()), first, count), first, count);
      blocks.take_full(take);
    }
    blocks.take_rest(take);
    CHECK_EQ(taken, database.count);
    CHECK_EQ(seen, std::vector<int>(size_t(database.count), 1));
  }
}

TEST(codes_of_up_to_so_many_words_are_sliceable) {
  on_every_machine([] {
    const int64_t limit = 8 * select_slices().max_words();
    CHECK_EQ(queries_for_slices(limit + 1), -1);
    CHECK(!scanned_in_slices(int64_t(1) << 40, limit + 1));
    for (int64_t width = 1; width <= limit; ++width) {
      const SliceShape shape(width);
      CHECK((int64_t(1) << shape.levels) > 8 * width);
      CHECK(shape.levels < query_biases);
      const int64_t needed = queries_for_slices(width);
      CHECK(needed > 0 && scanned_in_slices(needed, width) && !scanned_in_slices(needed - 1, width));
    }
  });
}

TEST(blocks_are_whole_steps) {
  on_every_machine([] {
    for (int64_t width = 1; width <= 8 * select_slices().max_words(); ++width) {
      const int64_t codes = SlicedBlock(SliceShape(width), select_slices()).codes();
      CHECK(codes % select_slices().step_codes(words_of(width)) == 0 && codes % tile_codes == 0 &&
            codes <= max_block_codes);
    }
  });
}

}  // namespace
}  // namespace fasthash
