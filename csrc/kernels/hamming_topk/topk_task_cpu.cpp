// SPDX-License-Identifier: Apache-2.0
#include "hamming_topk/topk_task.h"

#include <algorithm>

#include "hamming_scan/allow.h"

namespace fasthash {
namespace {

constexpr int64_t queries_per_chunk = 64;  // whose hits in a block are noted before they are taken

// Few queries take more at a time, since what they gain from the first-level cache is less than what each block costs.
int64_t codes_of_block(const TopkQueries& queries) {
  if (scanned_in_slices(queries.count, queries.width))
    return SlicedBlock(SliceShape(queries.width), select_slices()).codes();
  return block_codes(words_of(queries.width)) * (queries.count < scan_queries ? 4 : 1);
}

int64_t hits_of_block(const TopkQueries& queries) {
  const bool many = queries.count >= scan_queries && words_of(queries.width) > 2;
  return (many ? scan_queries : 1) * (codes_of_block(queries) + hit_slack);
}

}  // namespace

TopkTask::Slicing::Slicing(const SliceShape& slice_shape, const SliceKernels& slice_kernels, const TopkQueries& queries)
    : kernels(slice_kernels),
      shape(slice_shape),
      programs(shape, kernels, queries.words, queries.count),
      block(shape, kernels),
      hits(size_t(queries_per_chunk * block.codes() / kernels.step_codes(shape.words) + 1)),
      masks(hits.size() * size_t(kernels.mask_words(shape.words))),
      mask_words(masks.size()),
      mask_places(masks.size()) {}

TopkTask::TopkTask(const CandidateRules& rules, const TopkQueries& queries)
    : rules_(rules),
      queries_(queries),
      pruner_(rules),
      layout_(codes_of_block(queries), queries.width),
      allowed_(size_t(layout_.codes() / 64)),
      hits_(new Hit[size_t(hits_of_block(queries))]),
      counts_(size_t(rules.bits + 1)),
      scan_below_(select_scan_below()),
      scan_below_many_(select_scan_below_many()) {
  if (scanned_in_slices(queries.count, queries.width))
    slicing_.reset(new Slicing(SliceShape(queries.width), select_slices(), queries));
  for (int64_t query = 0; query < queries.count; ++query) set_threshold(query, rules.bits + 1);
}

int64_t TopkTask::block_codes() const { return layout_.codes(); }

void TopkTask::set_threshold(int64_t query, int64_t threshold) {
  queries_.lists[query].threshold = threshold;
  if (slicing_) slicing_->programs.set_threshold(query, threshold);
}

void TopkTask::prune(int64_t query) {
  CandidateList& list = queries_.lists[query];
  const int64_t before = list.threshold;
  pruner_.prune(list);
  if (list.threshold != before && slicing_) slicing_->programs.set_threshold(query, list.threshold);
}

void TopkTask::seed(const CodeSample& small, const CodeSample& large) {
  if (!small.count) return;
  if (!large.count) return seed_from(small, sample_rank(rules_.k, small.rate));
  const CandidateRules rules = rules_;
  const CandidateRules first{sample_rank(rules.k, large.rate), rules.bits, nullptr};
  rules_ = first;
  pruner_ = Pruner(first);
  seed_from(small, sample_rank(first.k, small.rate / large.rate));
  for (int64_t at = 0; at < large.count; at += layout_.codes())
    scan(large.database(), nullptr, at, std::min(large.count, at + layout_.codes()));
  for (int64_t query = 0; query < queries_.count; ++query) {
    CandidateList& list = queries_.lists[query];
    const bool enough = list.size >= first.k;
    pruner_.prune(list);
    list.size = 0;
    // The threshold is the distance of the last one that passes, and more at that distance may be needed.
    set_threshold(query, enough ? list.threshold + 1 : rules.bits + 1);
  }
  rules_ = rules;
  pruner_ = Pruner(rules);
}

// The distance of the rank-th nearest code of the sample.
void TopkTask::seed_from(const CodeSample& sample, int64_t rank) {
  const int64_t count = std::min(sample.count, layout_.codes());
  if (rank > count) return;
  for (int64_t query = 0; query < queries_.count; ++query) {
    const ScanRun run = run_of(query, sample.database().data, count);
    set_threshold(query, nth_distance(scan_below_(run, int32_t(rules_.bits + 1), hits_.get()), rank) + 1);
  }
}

void TopkTask::scan_again(std::vector<int32_t> queries) {
  again_ = std::move(queries);
  all_ = false;
  for (int32_t query : again_) {
    queries_.lists[query].size = 0;
    set_threshold(query, rules_.bits + 1);
  }
  slicing_.reset();
}

void TopkTask::scan(const Database& database, const uint8_t* allow, int64_t begin, int64_t end) {
  for (int64_t first = begin; first < end; first += layout_.codes()) {
    const int64_t count = std::min(layout_.codes(), end - first);
    const bool masked = allow || (slicing_ && count < layout_.codes());
    if (masked) {
      std::fill(allowed_.begin(), allowed_.end(), 0);
      allowed_words(allow, first, count, allowed_.data());
      if (std::all_of(allowed_.begin(), allowed_.end(), [](uint64_t word) { return word == 0; })) continue;
    }
    if (slicing_)
      scan_slices(layout_.load_whole(database, first, count), first, masked);
    else
      scan_words(layout_.load(database, first, count), first, count, masked);
  }
}

// A threshold may fall while masks made with the old one are taken; what no longer passes is dropped by the next
// pruning.
void TopkTask::scan_slices(const uint8_t* layout, int64_t first, bool masked) {
  Slicing& s = *slicing_;
  const SlicedCodes codes = s.block.load(layout);
  for (int64_t begin = 0; begin < queries_.count; begin += queries_per_chunk) {
    const int64_t count = std::min(queries_per_chunk, queries_.count - begin);
    const int64_t found = s.kernels.below(codes, s.programs.range(begin, count), s.hits.data(), s.masks.data());
    if (!found) continue;
    s.kernels.take({s.hits.data(), s.masks.data(), found, masked ? allowed_.data() : nullptr, layout,
                    queries_.words + begin * s.shape.words, s.shape.words, s.shape.half, first, queries_.lists + begin},
                   {s.mask_words.data(), s.mask_places.data()});
    for (int64_t i = 0; i < found; ++i) {
      const int64_t query = begin + s.hits[size_t(i)].query;
      if (queries_.lists[query].size >= rules_.prune_at()) prune(query);
    }
  }
}

void TopkTask::scan_words(const uint8_t* layout, int64_t first, int64_t count, bool masked) {
  const int64_t queries = all_ ? queries_.count : int64_t(again_.size());
  const auto query_at = [&](int64_t i) { return all_ ? i : int64_t(again_[size_t(i)]); };
  const bool many = words_of(queries_.width) > 2;
  int64_t i = 0;
  for (; many && i + scan_queries <= queries; i += scan_queries) {
    int64_t some[scan_queries];
    for (int q = 0; q < scan_queries; ++q) some[q] = query_at(i + q);
    scan_many(some, layout, first, count, masked);
  }
  for (; i < queries; ++i) scan_one(query_at(i), layout, first, count, masked);
}

ScanRun TopkTask::run_of(int64_t query, const uint8_t* layout, int64_t count) const {
  const int64_t words = words_of(queries_.width);
  return {queries_.words + query * words, layout, words, count, queries_.width <= 4};
}

// Before the first codes are taken, so many of them that k are among them give a bound.
void TopkTask::bound_by(int64_t query, const uint8_t* layout, int64_t count) {
  constexpr int64_t first_codes = 512;
  const CandidateList& list = queries_.lists[query];
  if (list.size > 0 || list.threshold <= rules_.bits || count < 2 * rules_.k) return;
  const ScanRun run = run_of(query, layout, std::min(count, std::max(first_codes, 2 * rules_.k)));
  const int64_t found = scan_below_(run, int32_t(rules_.bits + 1), hits_.get());
  set_threshold(query, nth_distance(found, rules_.k) + 1);
}

// The distance of the rank-th nearest of the first `count` hits.
int64_t TopkTask::nth_distance(int64_t count, int64_t rank) {
  std::fill(counts_.begin(), counts_.end(), 0);
  for (int64_t i = 0; i < count; ++i) ++counts_[size_t(hits_[size_t(i)].distance)];
  int64_t t = 0;
  for (int64_t below = counts_[0]; below < rank; below += counts_[size_t(t)]) ++t;
  return t;
}

void TopkTask::scan_one(int64_t query, const uint8_t* layout, int64_t first, int64_t count, bool masked) {
  if (!masked) bound_by(query, layout, count);
  const int64_t threshold = queries_.lists[query].threshold;
  if (threshold == 0) return;
  const int64_t found = scan_below_(run_of(query, layout, count), int32_t(threshold), hits_.get());
  if (found) add_hits(query, hits_.get(), found, first, masked);
}

void TopkTask::scan_many(const int64_t* queries, const uint8_t* layout, int64_t first, int64_t count, bool masked) {
  ScanRun runs[scan_queries];
  int32_t thresholds[scan_queries];
  Hit* hits[scan_queries];
  int64_t found[scan_queries] = {};
  for (int q = 0; q < scan_queries; ++q) {
    if (!masked) bound_by(queries[q], layout, count);
    runs[q] = run_of(queries[q], layout, count);
    thresholds[q] = int32_t(queries_.lists[queries[q]].threshold);
    hits[q] = &hits_[size_t(q * (layout_.codes() + hit_slack))];
  }
  scan_below_many_(runs, thresholds, hits, found);
  for (int q = 0; q < scan_queries; ++q)
    if (found[q]) add_hits(queries[q], hits[q], found[q], first, masked);
}

void TopkTask::add_hits(int64_t query, const Hit* hits, int64_t found, int64_t first, bool masked) {
  CandidateList& list = queries_.lists[query];
  for (const Hit* hit = hits; hit != hits + found; ++hit) {
    if (masked && !(allowed_[size_t(hit->place / 64)] >> (hit->place % 64) & 1)) continue;
    if (hit->distance >= list.threshold) continue;
    *list.end() = uint64_t(hit->distance) << position_bits | uint64_t(first + hit->place);
    if (++list.size >= rules_.prune_at()) prune(query);
  }
}

}  // namespace fasthash
