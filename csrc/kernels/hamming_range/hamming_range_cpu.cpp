// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "hamming_range/hamming_range.h"
#include "hamming_scan/hamming_scan.h"
#include "hamming_topk/candidates.h"
#include "hamming_topk/topk_task.h"

namespace fasthash {
namespace {

constexpr int64_t max_queries = 128;             // that a block of codes meets after it has been rearranged
constexpr int64_t words_per_block = 1 << 29;     // pairs of words compared in one block of work: about 0.1 s
constexpr int64_t candidates_at_once = 1 << 23;  // held before they are sorted, or what one query needs

int64_t queries_per_block(const HammingRange& args) {
  const int64_t words = std::max<int64_t>(1, args.database.count * words_of(args.database.width));
  return std::clamp<int64_t>(words_per_block / words, 1, max_queries);
}

// Distances that may come: 0 ... the radius or the length of the codes.
int64_t levels(const HammingRange& args) { return std::min(args.radius, 8 * args.database.width) + 1; }

// Queries first ... first + count - 1: a search whose threshold never falls, and whose lists are never pruned.
class RangeScan {
 public:
  RangeScan(const HammingRange& args, int64_t first, int64_t count)
      : args_(args),
        words_(size_t(count * words_of(args.database.width))),
        lists_(size_t(count)),
        task_({INT64_MAX / 4, 8 * args.database.width, nullptr},
              {loaded(first, count), count, args.database.width, lists_.data()}) {
    for (int64_t i = 0; i < count; ++i) task_.set_threshold(i, levels(args));
  }

  std::vector<CandidateList>& lists() { return lists_; }
  int64_t block_codes() const { return task_.block_codes(); }
  void scan(int64_t begin, int64_t end) { task_.scan(args_.database, args_.allow, begin, end); }

 private:
  const uint64_t* loaded(int64_t first, int64_t count) {
    load_words(args_.queries, first, count, words_.data());
    return words_.data();
  }

  const HammingRange& args_;
  std::vector<uint64_t> words_;
  std::vector<CandidateList> lists_;
  TopkTask task_;
};

// Candidates of one query come by position.
class RangeWriter {
 public:
  explicit RangeWriter(const HammingRange& args) : args_(args), places_(size_t(levels(args))) {}

  void write(const CandidateList& list, int32_t* distances, int64_t* ids) {
    std::fill(places_.begin(), places_.end(), 0);
    for (const uint64_t* c = list.data; c != list.end(); ++c) ++places_[size_t(distance_of(*c))];
    int64_t before = 0;
    for (int64_t& place : places_) before += std::exchange(place, before);
    for (const uint64_t* c = list.data; c != list.end(); ++c) {
      const int64_t place = places_[size_t(distance_of(*c))]++, n = position_of(*c);
      distances[place] = int32_t(distance_of(*c));
      ids[place] = args_.ids ? args_.ids[n] : n;
    }
    if (!args_.ids) return;
    int64_t begin = 0;
    for (int64_t end : places_) {
      std::sort(ids + begin, ids + end);
      begin = end;
    }
  }

 private:
  const HammingRange& args_;
  std::vector<int64_t> places_;  // (distances)
};

}  // namespace

int64_t hamming_range_blocks(const HammingRange& args) { return ceil_div(args.queries.count, queries_per_block(args)); }

void hamming_range_count_cpu(const HammingRange& args, int64_t block, int64_t* counts) {
  const int64_t first = block * queries_per_block(args);
  const int64_t count = std::min(queries_per_block(args), args.queries.count - first);
  RangeScan scan(args, first, count);
  const int64_t step = scan.block_codes();
  const std::unique_ptr<uint64_t[]> candidates(new uint64_t[size_t(count * step)]);
  for (int64_t i = 0; i < count; ++i) scan.lists()[size_t(i)].data = &candidates[size_t(i * step)];
  std::fill(counts + first, counts + first + count, 0);
  for (int64_t begin = 0; begin < args.database.count; begin += step) {
    for (CandidateList& list : scan.lists()) list.size = 0;
    scan.scan(begin, std::min(args.database.count, begin + step));
    for (int64_t i = 0; i < count; ++i) counts[first + i] += scan.lists()[size_t(i)].size;
  }
}

void hamming_range_write_cpu(const HammingRange& args, int64_t block, const int64_t* offsets, int32_t* distances,
                             int64_t* ids) {
  const int64_t begin = block * queries_per_block(args);
  const int64_t end = std::min(begin + queries_per_block(args), args.queries.count);
  RangeWriter writer(args);
  for (int64_t first = begin, next = begin; first < end; first = next) {
    while (next < end && (next == first || offsets[next + 1] - offsets[first] <= candidates_at_once)) ++next;
    RangeScan scan(args, first, next - first);
    const std::unique_ptr<uint64_t[]> candidates(new uint64_t[size_t(offsets[next] - offsets[first])]);
    for (int64_t q = first; q < next; ++q)
      scan.lists()[size_t(q - first)] = {&candidates[size_t(offsets[q] - offsets[first])], 0, levels(args)};
    scan.scan(0, args.database.count);
    for (int64_t q = first; q < next; ++q)
      writer.write(scan.lists()[size_t(q - first)], distances + offsets[q], ids + offsets[q]);
  }
}

}  // namespace fasthash
