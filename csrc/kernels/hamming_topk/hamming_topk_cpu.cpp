// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include "hamming_scan/allow.h"
#include "hamming_topk/hamming_topk.h"
#include "hamming_topk/nearest.h"

namespace fasthash {
namespace {

constexpr int64_t workspace_bytes = 64 << 20;
constexpr int64_t queries_per_thread = 16;   // from here on, threads share queries out
constexpr int64_t words_per_scan = 1 << 24;  // pairs of words that a task compares in one round: well below 0.1 s

int64_t bits_of(const HammingTopk& args) { return args.database.width * 8; }

int64_t bytes_per_query(const HammingTopk& args) {
  return Nearest::capacity(args.k, args.database.count) * int64_t(sizeof(Candidate)) + (bits_of(args) + 1) * 8;
}

struct Range {
  int64_t begin, end;
};

// The `part`-th of `parts` parts of [0, count), in whole steps.
Range part_of(int64_t count, int64_t parts, int64_t part, int64_t step) {
  const int64_t length = ceil_div(ceil_div(count, step), parts) * step;
  return {std::min(count, part * length), std::min(count, (part + 1) * length)};
}

bool nearer(const Candidate& a, const Candidate& b) {
  return a.distance != b.distance ? a.distance < b.distance : a.id < b.id;
}

// The k least (distance, id) of a stream of codes whose ids come in any order.
class NearestById {
 public:
  NearestById(int64_t k, int64_t bits) : k_(k), threshold_(int32_t(bits + 1)) {}

  int32_t threshold() const { return threshold_; }
  const std::vector<Candidate>& candidates() const { return candidates_; }

  void add(int64_t id, int32_t distance) {
    candidates_.push_back({id, distance});
    if (int64_t(candidates_.size()) < 2 * k_ + 256) return;
    std::nth_element(candidates_.begin(), candidates_.begin() + k_ - 1, candidates_.end(), nearer);
    candidates_.resize(size_t(k_));
    threshold_ = candidates_.back().distance + 1;
  }

 private:
  std::vector<Candidate> candidates_;
  int64_t k_;
  int32_t threshold_;
};

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
  const int64_t many = queries_per_thread * threads;
  if (queries >= many && fitting >= many) return {fitting, threads, 1};
  const int64_t blocks = ceil_div(args.database.count, block_codes(words_of(args.database.width)));
  const int64_t segments = std::min<int64_t>(threads, blocks);
  return {std::max<int64_t>(1, fitting / segments), 1, segments};
}

// Tasks are (batch of queries, segment of the database). A block of codes in the cache meets all queries of the batch;
// a query's candidates are merged by segment, that is by id.
struct HammingTopkSearch::State {
  struct Task {
    CodeBlock block;
    std::vector<Hit> hits;
  };

  State(const HammingTopk& arguments, const HammingTopkShares& shares)
      : args(arguments), batches(shares.batches), segments(shares.segments) {
    const int64_t queries = args.queries.count;
    words = words_of(args.database.width);
    step = block_codes(words);
    slab = std::max<int64_t>(1, words_per_scan / (ceil_div(queries, batches) * words * step)) * step;
    query_words.resize(size_t(queries * words));
    load_words(args.queries, 0, queries, query_words.data());
    tasks.resize(size_t(batches * segments), {CodeBlock(words), std::vector<Hit>(size_t(step + hit_slack))});
    if (args.ids)
      nearest_by_id.resize(size_t(queries * segments), NearestById(args.k, bits_of(args)));
    else
      make_nearest();
  }

  void make_nearest() {
    const int64_t bits = bits_of(args), lists = args.queries.count * segments;
    const int64_t capacity = Nearest::capacity(args.k, part_of(args.database.count, segments, 0, step).end);
    counts.reset(new int64_t[size_t(lists * (bits + 1))]);
    candidates.reset(new Candidate[size_t(lists * capacity)]);
    nearest.reserve(size_t(lists));
    for (int64_t i = 0; i < lists; ++i)
      nearest.emplace_back(args.k, int32_t(bits), &counts[i * (bits + 1)], &candidates[i * capacity], capacity);
  }

  HammingTopk args;
  int64_t batches, segments;          // of the queries; of the database
  int64_t words, step;                // words of a code; codes of a block
  int64_t slab;                       // codes that a task scans in one round
  std::vector<uint64_t> query_words;  // (Q, words)
  std::vector<Task> tasks;            // (batches, segments)
  // Left uninitialised: most of it is never touched.
  std::unique_ptr<int64_t[]> counts;        // (Q, segments, bits + 1)
  std::unique_ptr<Candidate[]> candidates;  // (Q, segments, capacity)
  std::vector<Nearest> nearest;             // (Q, segments)
  std::vector<NearestById> nearest_by_id;   // (Q, segments); in place of the above where ids are given

  // The codes of one block.
  template <class List>
  void scan_block(int64_t query, const void* block, int64_t first, int64_t count, Hit* hits, List& list) const {
    if (list.threshold() == 0) return;
    const ScanRun run{&query_words[query * words], block, words, count};
    const int64_t found = select_scan_below()(run, list.threshold(), hits);
    for (int64_t i = 0; i < found; ++i) {
      const int64_t n = first + hits[i].place;
      if (is_allowed(args.allow, n)) list.add(args.ids ? args.ids[n] : n, hits[i].distance);
    }
  }

  // What is missing of the k nearest from the given place on.
  void pad(int64_t query, int64_t place) const {
    for (; place < args.k; ++place) {
      args.distances[query * args.k + place] = INT32_MAX;
      args.found[query * args.k + place] = -1;
    }
  }

  void finish_by_id(int64_t query) const {
    std::vector<Candidate> all;
    for (int64_t i = 0; i < segments; ++i) {
      const auto& part = nearest_by_id[query * segments + i].candidates();
      all.insert(all.end(), part.begin(), part.end());
    }
    std::sort(all.begin(), all.end(), nearer);
    const int64_t found = std::min(args.k, int64_t(all.size()));
    for (int64_t i = 0; i < found; ++i) {
      args.distances[query * args.k + i] = all[i].distance;
      args.found[query * args.k + i] = all[i].id;
    }
    pad(query, found);
  }
};

HammingTopkSearch::HammingTopkSearch(const HammingTopk& args, const HammingTopkShares& shares)
    : state_(new State(args, shares)) {}
HammingTopkSearch::~HammingTopkSearch() = default;

int64_t HammingTopkSearch::tasks() const { return int64_t(state_->tasks.size()); }

int64_t HammingTopkSearch::rounds() const {
  return ceil_div(part_of(state_->args.database.count, state_->segments, 0, state_->step).end, state_->slab);
}

void HammingTopkSearch::scan(int64_t task, int64_t round) {
  State& s = *state_;
  const int64_t segment = task % s.segments;
  const Range queries = part_of(s.args.queries.count, s.batches, task / s.segments, 1);
  const Range codes = part_of(s.args.database.count, s.segments, segment, s.step);
  const int64_t begin = codes.begin + round * s.slab, end = std::min(codes.end, begin + s.slab);
  Hit* hits = s.tasks[task].hits.data();
  for (int64_t first = begin; first < end; first += s.step) {
    const int64_t count = std::min(s.step, end - first);
    const void* block = s.tasks[task].block.load(s.args.database, first, count);
    for (int64_t query = queries.begin; query < queries.end; ++query) {
      const int64_t list = query * s.segments + segment;
      if (s.args.ids)
        s.scan_block(query, block, first, count, hits, s.nearest_by_id[list]);
      else
        s.scan_block(query, block, first, count, hits, s.nearest[list]);
    }
  }
}

// A counting sort by distance, which keeps the order of ids, up to the k-th place.
void HammingTopkSearch::finish(int64_t query) {
  State& s = *state_;
  if (s.args.ids) return s.finish_by_id(query);
  const int64_t bits = bits_of(s.args), k = s.args.k;
  const Nearest* lists = &s.nearest[query * s.segments];
  int64_t* places = &s.counts[query * s.segments * (bits + 1)];  // the first segment's counts have served their turn
  std::fill(places, places + bits + 1, 0);
  for (int64_t i = 0; i < s.segments; ++i)
    for (const Candidate& candidate : lists[i]) ++places[candidate.distance];
  int64_t before = 0;
  for (int64_t distance = 0; distance <= bits; ++distance) {
    const int64_t here = places[distance];
    places[distance] = before;
    before += here;
  }
  for (int64_t i = 0; i < s.segments; ++i) {
    for (const Candidate& candidate : lists[i]) {
      const int64_t place = places[candidate.distance]++;
      if (place >= k) continue;
      s.args.distances[query * k + place] = candidate.distance;
      s.args.found[query * k + place] = candidate.id;
    }
  }
  s.pad(query, std::min(k, before));
}

}  // namespace fasthash
