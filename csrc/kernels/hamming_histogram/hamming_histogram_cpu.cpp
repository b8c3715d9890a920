// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <vector>

#include "hamming_histogram/count_window.h"
#include "hamming_histogram/hamming_histogram.h"
#include "hamming_histogram/hamming_histogram_math.h"
#include "hamming_histogram/label_planes.h"
#include "hamming_histogram/parity_blocks.h"
#include "hamming_scan/hamming_math.h"
#include "hamming_scan/hamming_scan.h"
#include "hamming_scan/layout.h"
#include "hamming_slices/hamming_slices.h"

namespace fasthash {
namespace {

constexpr int64_t queries_for_planes = 4;  // from here on planes are worth their preparation
constexpr int64_t max_queries = 1024;      // of one block of work
// Pairs of words compared in one block of work, in planes and one by one: about 0.1 s.
int64_t words_per_block(int64_t words) {
  return words <= max_sliced_words ? (int64_t(1) << 28) * select_slices().lanes : int64_t(1) << 29;
}

// The bytes of a block's planes, and how many queries are counted together: both stay in the second-level cache.
int64_t plane_bytes(int64_t words) { return words == 1 ? 384 << 10 : 640 << 10; }
int64_t queries_together(int64_t words) { return words == 1 ? 32 : 16; }
constexpr int64_t max_together = 32, plane_codes = 65536;

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

// Words of code n.
void load_code(const Database& database, int64_t n, uint64_t* words) {
  std::fill(words, words + words_of(database.width), 0);
  if (!database.packed()) {
    std::memcpy(words, database.data + n * database.stride, size_t(database.width));
    return;
  }
  for (int64_t w = 0; w < words_of(database.width); ++w)
    std::memcpy(words + w, database.data + packed_place(database.width, n, w), size_t(word_bytes(database.width)));
}

struct alignas(64) Line {
  uint64_t words[8];
};

// Many queries: blocks of codes of one parity in planes, which a few queries at a time meet in the first-level cache.
class SliceCounter {
 public:
  SliceCounter(const HammingHistogram& args, const Range& queries, const std::vector<uint64_t>& query_words)
      : args_(args),
        queries_(queries),
        query_words_(query_words),
        kernels_(select_slices()),
        shape_(args.database.width),
        programs_(shape_, kernels_, query_words.data(), queries.count),
        planes_(shape_, kernels_, plane_bytes(shape_.words), plane_codes, counted_together),
        labels_(args.database_labels, planes_.codes()),
        together_(queries_together(shape_.words)),
        relevant_(args.labelled() ? size_t(together_ * planes_.codes() / 64) : 0),
        digits_(size_t(ceil_div(together_ * planes_.codes() / 64 * (shape_.levels - 1), 8))) {
    const int64_t unit_bytes = shape_.planes() * kernels_.lanes * 8;
    step_ = std::max<int64_t>(1, first_level_bytes / unit_bytes / counted_together) * counted_together;
    counts_.resize(size_t(2 * queries.count * places()));
    relevant_counts_.resize(args.labelled() ? counts_.size() : 0);
    if (args.labelled()) sorted_.resize(size_t(packed_bytes(planes_.codes(), args.database.width) / 64));
  }

  void run() {
    guess_windows();
    ParityBlocks blocks(args_.database.width, planes_.codes(), args_.labelled());
    LayoutBlock layout(ParityBlocks::chunk_codes, args_.database.width);
    const auto take = [&](const ParityBlocks::Block& block) { count_block(block); };
    for (int64_t first = 0; first < args_.database.count; first += ParityBlocks::chunk_codes) {
      const int64_t count = std::min(ParityBlocks::chunk_codes, args_.database.count - first);
      blocks.add(layout.load(args_.database, first, count), first, count);
      blocks.take_full(take);
    }
    blocks.take_rest(take);
    for (int64_t q = 0; q < queries_.count; ++q) {
      add_up(counts_, q, args_.total + (queries_.begin + q) * bins());
      if (args_.labelled()) add_up(relevant_counts_, q, args_.relevant + (queries_.begin + q) * bins());
    }
  }

 private:
  int64_t bins() const { return 8 * args_.database.width + 1; }
  // Counts of one query and parity, from window_room places below distance 0 or 1.
  int64_t places() const { return bins() / 2 + 1 + 2 * window_room; }
  int64_t* counts(std::vector<int64_t>& all, int64_t q, int64_t parity) const {
    return &all[size_t((2 * q + parity) * places() + window_room)];
  }
  void add_up(std::vector<int64_t>& all, int64_t q, int64_t* out) const {
    for (int64_t d = 0; d < bins(); ++d) out[d] += counts(all, q, d & 1)[d >> 1];
  }

  // By distances to codes spread over the database.
  void guess_windows() {
    const int64_t count = std::min<int64_t>(sampled_codes, args_.database.count), words = shape_.words;
    std::vector<uint64_t> sample(size_t(count * words));
    for (int64_t i = 0; i < count; ++i)
      load_code(args_.database, i * (args_.database.count / count), &sample[size_t(i * words)]);
    std::vector<int32_t> distances(static_cast<size_t>(count));
    for (int64_t q = 0; q < queries_.count; ++q) {
      for (int64_t i = 0; i < count; ++i) distances[size_t(i)] = distance(q, &sample[size_t(i * words)]);
      windows_.push_back(guess_window(distances.data(), count, 8 * args_.database.width));
    }
  }

  int32_t distance(int64_t q, const uint64_t* code) const {
    int32_t sum = 0;
    for (int64_t w = 0; w < shape_.words; ++w) sum += popcount(query_words_[size_t(q * shape_.words + w)] ^ code[w]);
    return sum;
  }
  int64_t parity_of_query(int64_t q) const {
    int64_t sum = 0;
    for (int64_t w = 0; w < shape_.words; ++w) sum += popcount(query_words_[size_t(q * shape_.words + w)]);
    return sum & 1;
  }

  void count_block(const ParityBlocks::Block& block) {
    uint8_t* codes = block.layout;
    if (args_.labelled()) {
      labels_.load(block.places, block.count);
      codes = reinterpret_cast<uint8_t*>(sorted_.data());
      gather_codes(args_.database.width, block.layout, labels_.order().data(), block.count, codes);
    }
    // A whole number of steps, filled up with a code that is taken out of the counts again.
    const int64_t units = ceil_div(block.count, kernels_.unit_codes() * counted_together) * counted_together;
    const int64_t filled = units * kernels_.unit_codes() - block.count;
    repeat_first(args_.database.width, codes, block.count, block.count + filled);
    std::vector<uint64_t> filler(size_t(shape_.words));
    for (int64_t w = 0; w < shape_.words; ++w)
      std::memcpy(&filler[size_t(w)], codes + packed_place(args_.database.width, 0, w),
                  size_t(word_bytes(args_.database.width)));
    ++blocks_;
    const SlicedCodes sliced = planes_.load(codes, units);
    for (int64_t first = 0; first < queries_.count; first += together_)
      count_queries(sliced, block.parity, first, std::min(together_, queries_.count - first));
    for (int64_t q = 0; filled > 0 && q < queries_.count; ++q) {
      const int64_t d = distance(q, filler.data());
      counts(counts_, q, d & 1)[d >> 1] -= filled;
    }
  }

  void count_queries(const SlicedCodes& codes, int64_t parity, int64_t first, int64_t count) {
    SlicedCounts counted[max_together];
    const int64_t words = planes_.codes() / 64;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t q = first + i;
      const CountWindow window = windows_[size_t(q)];
      const int64_t of_distance = parity ^ parity_of_query(q), start = window.start(of_distance);
      programs_.set_start(q, 2 * start + of_distance);
      counted[i] = {start, window.size, counts(counts_, q, of_distance), nullptr, 0, 0, nullptr, 0};
      if (!args_.labelled()) continue;
      uint64_t* masks = &relevant_[size_t(i * words)];
      const LabelPlanes::Words range =
          labels_.relevant(args_.query_labels, queries_.begin + q, kernels_.lanes * counted_together, masks);
      counted[i].relevant = masks;
      counted[i].relevant_begin = range.begin / kernels_.lanes;
      counted[i].relevant_end = range.end / kernels_.lanes;
      counted[i].relevant_counts = counts(relevant_counts_, q, of_distance);
    }
    kernels_.histogram({codes, programs_.range(first, count), step_, digits_.data(), counted});
    if ((blocks_ & (blocks_ - 1)) != 0) return;
    std::vector<int64_t> all(static_cast<size_t>(bins()));
    for (int64_t i = 0; i < count; ++i) {
      if (counted[i].outliers == 0) continue;
      std::fill(all.begin(), all.end(), 0);
      add_up(counts_, first + i, all.data());
      windows_[size_t(first + i)] = fit_window(all.data(), bins(), kernels_.unit_codes() * counted_together);
    }
  }

  static constexpr int64_t counted_together = 2, sampled_codes = 64;
  const HammingHistogram& args_;
  Range queries_;
  const std::vector<uint64_t>& query_words_;
  const SliceKernels& kernels_;
  SliceShape shape_;
  QueryPrograms programs_;
  SlicedBlock planes_;
  LabelPlanes labels_;
  int64_t together_;
  std::vector<uint64_t> relevant_;  // (together_, codes of a block / 64)
  std::vector<Line> digits_, sorted_;
  std::vector<CountWindow> windows_;
  std::vector<int64_t> counts_, relevant_counts_;  // (queries, 2 parities, places)
  int64_t step_, blocks_ = 0;                      // blocks counted
};

}  // namespace

// As few blocks as keep all threads at work, of about the same size.
int64_t hamming_histogram_blocks(const HammingHistogram& args, int threads) {
  const int64_t words = words_of(args.database.width), all = std::max<int64_t>(1, args.database.count * words);
  const int64_t most = std::clamp<int64_t>(words_per_block(words) / all, 1, max_queries);
  const int64_t blocks = ceil_div(ceil_div(args.queries.count, most), threads) * threads;
  return std::min(blocks, args.queries.count);
}

void hamming_histogram_cpu(const HammingHistogram& args, int64_t block, int64_t blocks) {
  const int64_t begin = args.queries.count * block / blocks, end = args.queries.count * (block + 1) / blocks;
  const Range queries{begin, end - begin};
  const int64_t words = words_of(args.database.width);
  std::vector<uint64_t> query_words(size_t(queries.count * words));
  load_words(args.queries, queries.begin, queries.count, query_words.data());
  if (queries.count >= queries_for_planes && words <= max_sliced_words)
    SliceCounter(args, queries, query_words).run();
  else
    count_singly(args, queries, query_words);
}

}  // namespace fasthash
