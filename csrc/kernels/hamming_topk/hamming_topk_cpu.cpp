// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include "hamming_topk/hamming_topk.h"
#include "hamming_topk/topk_sample.h"
#include "hamming_topk/topk_task.h"

namespace fasthash {
namespace {

constexpr int64_t workspace_bytes = 64 << 20;
constexpr int64_t max_queries_at_once = 4096;  // of one thread: what is known of them stays in the second-level cache
constexpr int64_t queries_per_thread = 16;     // from here on, threads share queries out, where codes are scanned one
                                               // query at a time
constexpr int64_t words_per_round = 1 << 25;   // pairs of words that a task compares in one round: well below 0.1 s
constexpr int64_t small_sample = 512, least_large_sample = 8192, most_large_sample = 65536, codes_per_sample = 32;

int64_t bits_of(const HammingTopk& args) { return args.database.width * 8; }

CandidateRules rules_of(const HammingTopk& args) { return {args.k, bits_of(args), args.ids}; }

// A list is pruned before another block may add to it; lists serve the samples too, which hold at most all codes that
// may be found.
int64_t list_capacity(const HammingTopk& args) {
  const CandidateRules rules = rules_of(args), sampled{sample_rank(args.k, 1), rules.bits, nullptr};
  return std::max(rules.prune_at(), sampled.prune_at()) + max_block_codes;
}

int64_t bytes_per_query(const HammingTopk& args) {
  return list_capacity(args) * int64_t(sizeof(uint64_t)) + 32 * args.database.width;
}

struct Range {
  int64_t begin, end;
  int64_t count() const { return end - begin; }
};

// The `part`-th of `parts` parts of [0, count), in whole steps.
Range part_of(int64_t count, int64_t parts, int64_t part, int64_t step) {
  const int64_t length = ceil_div(ceil_div(count, step), parts) * step;
  return {std::min(count, part * length), std::min(count, (part + 1) * length)};
}

}  // namespace

HammingTopk topk_queries(const HammingTopk& args, int64_t first, int64_t count) {
  HammingTopk part = args;
  part.queries.data += first * args.queries.stride;
  part.queries.count = count;
  part.distances += first * args.k;
  part.found += first * args.k;
  return part;
}

HammingTopkShares hamming_topk_shares(const HammingTopk& args, int threads) {
  const int64_t queries = args.queries.count, fitting = std::max<int64_t>(1, workspace_bytes / bytes_per_query(args));
  const int64_t sliced = queries_for_slices(args.database.width);
  const int64_t many = (sliced < 0 ? queries_per_thread : sliced) * threads;
  if (queries >= many && fitting >= many) return {std::min(fitting, max_queries_at_once * threads), threads, 1};
  const int64_t tiles = ceil_div(args.database.count, tile_codes);
  const int64_t segments = std::min<int64_t>(threads, std::max<int64_t>(1, tiles / 64));
  return {std::clamp<int64_t>(fitting / segments, 1, max_queries_at_once), 1, segments};
}

// Tasks are (batch of queries, segment of the database). A query's candidates are merged by segment, that is by id.
struct HammingTopkSearch::State {
  State(const HammingTopk& arguments, const HammingTopkShares& shares)
      : args(arguments),
        rules(rules_of(arguments)),
        batches(shares.batches),
        segments(shares.segments),
        words(words_of(arguments.database.width)),
        allowed(count_allowed(arguments.allow, arguments.database.count)),
        query_words(size_t(arguments.queries.count * words)) {
    load_words(args.queries, 0, args.queries.count, query_words.data());
    make_lists();
    for (int64_t task = 0; task < batches * segments; ++task) make_task(task);
    const int64_t pairs = ceil_div(args.queries.count, batches) * words;
    const int64_t step = tasks.front().block_codes();
    slab = std::max<int64_t>(1, words_per_round / std::max<int64_t>(1, pairs * step)) * step;
    sample();
  }

  void make_lists() {
    const int64_t capacity = list_capacity(args), count = args.queries.count * segments;
    candidates.reset(new uint64_t[size_t(count * capacity)]);
    lists.resize(size_t(count));
    for (int64_t i = 0; i < count; ++i) lists[size_t(i)] = {&candidates[i * capacity], 0, rules.bits + 1};
  }

  Range queries_of(int64_t task) const { return part_of(args.queries.count, batches, task / segments, 1); }
  Range codes_of(int64_t task) const { return part_of(args.database.count, segments, task % segments, tile_codes); }
  CandidateList& list(int64_t query, int64_t segment) { return lists[size_t(segment * args.queries.count + query)]; }

  void make_task(int64_t task) {
    const Range queries = queries_of(task);
    const TopkQueries mine{query_words.data() + queries.begin * words, queries.count(), args.database.width,
                           lists.data() + task % segments * args.queries.count + queries.begin};
    tasks.emplace_back(rules, mine);
  }

  // Samples pay off where they are much smaller than the database, and where many codes would pass without them.
  void sample() {
    const int64_t codes = args.database.count, queries = ceil_div(args.queries.count, batches);
    if (codes < 16 * small_sample || queries < 4) return;
    small = sample_codes(args.database, args.allow, allowed, small_sample);
    const int64_t count = std::clamp(codes / codes_per_sample, least_large_sample, most_large_sample);
    if (queries < 32 || codes < 4 * count) return;
    large = sample_codes(args.database, args.allow, allowed, count);
  }

  HammingTopk args;
  CandidateRules rules;
  int64_t batches, segments;  // of the queries; of the database
  int64_t words;              // of a code
  int64_t slab = 0;           // codes that a task scans in one round
  int64_t allowed;            // codes that may be found
  CodeSample small, large;
  std::vector<uint64_t> query_words;       // (Q, words)
  std::unique_ptr<uint64_t[]> candidates;  // (segments, Q, capacity), left uninitialised: most of it is never touched
  std::vector<CandidateList> lists;        // (segments, Q)
  std::vector<TopkTask> tasks;             // (batches, segments)
};

HammingTopkSearch::HammingTopkSearch(const HammingTopk& args, const HammingTopkShares& shares)
    : state_(new State(args, shares)) {}
HammingTopkSearch::~HammingTopkSearch() = default;

int64_t HammingTopkSearch::tasks() const { return int64_t(state_->tasks.size()); }

int64_t HammingTopkSearch::rounds() const { return ceil_div(state_->codes_of(0).end, state_->slab); }

void HammingTopkSearch::scan(int64_t task, int64_t round) {
  State& s = *state_;
  TopkTask& mine = s.tasks[size_t(task)];
  if (round == 0 && !again_) mine.seed(s.small, s.large);
  const Range codes = s.codes_of(task);
  const int64_t begin = std::min(codes.end, codes.begin + round * s.slab);
  mine.scan(s.args.database, s.args.allow, begin, std::min(codes.end, begin + s.slab));
}

// A bound from a sample that was too low has let fewer codes pass than there are to be found.
bool HammingTopkSearch::scan_again() {
  State& s = *state_;
  if (again_ || !s.small.count) return false;
  for (int64_t task = 0; task < tasks(); task += s.segments) {
    const Range queries = s.queries_of(task);
    std::vector<int32_t> missed;
    for (int64_t query = queries.begin; query < queries.end; ++query) {
      int64_t found = 0;
      for (int64_t segment = 0; segment < s.segments; ++segment) found += s.list(query, segment).size;
      if (found < std::min(s.args.k, s.allowed)) missed.push_back(int32_t(query - queries.begin));
    }
    again_ = again_ || !missed.empty();
    for (int64_t segment = 0; segment < s.segments; ++segment) s.tasks[size_t(task + segment)].scan_again(missed);
  }
  return again_;
}

namespace {

// A counting sort by distance, which keeps the order of positions, up to the k-th place.
class Finish {
 public:
  Finish(const HammingTopk& args, int64_t query, const CandidateList& list)
      : args_(args), list_(list), distances_(args.distances + query * args.k), found_(args.found + query * args.k) {}

  void run() {
    args_.ids ? sort_by_ids() : sort_by_counting();
    for (int64_t place = list_.size; place < args_.k; ++place) {
      distances_[place] = INT32_MAX;
      found_[place] = -1;
    }
  }

 private:
  void put(int64_t place, uint64_t candidate, int64_t id) {
    distances_[place] = int32_t(distance_of(candidate));
    found_[place] = id;
  }
  void sort_by_ids() {
    const auto id = [&](uint64_t candidate) { return args_.ids[position_of(candidate)]; };
    std::sort(list_.data, list_.end(), [&](uint64_t a, uint64_t b) {
      return distance_of(a) != distance_of(b) ? distance_of(a) < distance_of(b) : id(a) < id(b);
    });
    for (int64_t i = 0; i < std::min(list_.size, args_.k); ++i) put(i, list_.data[i], id(list_.data[i]));
  }
  // What has no place among the k goes to one place behind them.
  void sort_by_counting() {
    DistanceCounts places(args_.database.width * 8);
    places.count(list_.data, list_.size);
    places.make_places();
    std::vector<uint64_t> sorted(size_t(args_.k + 1));
    const int32_t last = int32_t(std::min<int64_t>(args_.k, INT32_MAX));
    DistanceCounts::for_each(list_.data, list_.size, [&](int64_t part, uint64_t candidate) {
      sorted[size_t(std::min(places.at(part, distance_of(candidate))++, last))] = candidate;
    });
    for (int64_t i = 0; i < std::min(list_.size, args_.k); ++i)
      put(i, sorted[size_t(i)], position_of(sorted[size_t(i)]));
  }

  const HammingTopk& args_;
  CandidateList list_;
  int32_t* distances_;
  int64_t* found_;
};

}  // namespace

void HammingTopkSearch::finish(int64_t query) {
  State& s = *state_;
  if (s.segments == 1) return Finish(s.args, query, s.list(query, 0)).run();
  std::vector<uint64_t> merged;
  for (int64_t segment = 0; segment < s.segments; ++segment) {
    const CandidateList& list = s.list(query, segment);
    merged.insert(merged.end(), list.data, list.end());
  }
  Finish(s.args, query, {merged.data(), int64_t(merged.size()), 0}).run();
}

}  // namespace fasthash
