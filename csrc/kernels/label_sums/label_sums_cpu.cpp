// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "common/dispatch.h"
#include "label_sums/label_sums.h"

namespace fasthash {
namespace {

constexpr int64_t block_columns = 16, block_queries = 32;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

inline double wide(int8_t x) { return x; }
template <class T>
double wide(T x) {
  return double(load(x));
}

template <class F>
void for_value_dtype(Dtype dtype, F&& f) {
  if (dtype == Dtype::int8) return f(int8_t{});
  for_float_dtype(dtype, f);
}

template <class T>
void add_row(double* __restrict__ sums, const T* __restrict__ values, int64_t count) {
  for (int64_t k = 0; k < count; ++k) sums[k] += wide(values[k]);
}

template <class T>
void add_columns(const LabelSums& args, const FirstQueries& first, int64_t begin, int64_t count) {
  const T* values = static_cast<const T*>(args.values) + begin;
  double* sums = args.sums + begin;
  for (int64_t a = 0; a < args.queries.count; ++a) std::fill_n(sums + a * args.columns, count, 0.0);
  for (int64_t m = 0; m < args.items.count; ++m) {
    const int64_t query = first.of_items[size_t(m)];
    if (query >= 0) add_row(sums + query * args.columns, values + m * args.value_stride, count);
  }
}

// Labels as whole words, spare bits zero.
class LabelWords {
 public:
  explicit LabelWords(const ItemLabels& labels) : width_(ceil_div(labels.bytes, 8)) {
    words_.resize(size_t(labels.count * width_));
    for (int64_t i = 0; i < labels.count; ++i)
      std::memcpy(&words_[size_t(i * width_)], labels.bits + i * labels.stride, size_t(labels.bytes));
  }
  bool meet(int64_t i, const uint64_t* other) const {
    const uint64_t* own = &words_[size_t(i * width_)];
    uint64_t common = 0;
    for (int64_t w = 0; w < width_; ++w) common |= own[w] & other[w];
    return common != 0;
  }
  const uint64_t* row(int64_t i) const { return &words_[size_t(i * width_)]; }

 private:
  int64_t width_;
  std::vector<uint64_t> words_;
};

template <class T>
void add_related(const LabelSums& args, int64_t begin, int64_t end) {
  const T* values = static_cast<const T*>(args.values);
  const LabelWords items(args.items);
  ItemLabels asked = args.queries;
  asked.bits += begin * asked.stride;
  asked.count = end - begin;
  const LabelWords queries(asked);
  for (int64_t a = begin; a < end; ++a) {
    double* sums = args.sums + a * args.columns;
    std::fill_n(sums, args.columns, 0.0);
    args.counts[a] = 0;
    for (int64_t m = 0; m < args.items.count; ++m) {
      if (!items.meet(m, queries.row(a - begin))) continue;
      add_row(sums, values + m * args.value_stride, args.columns);
      ++args.counts[a];
    }
  }
}

}  // namespace

FirstQueries label_sums_first_queries(const LabelSums& args) {
  FirstQueries first{std::vector<int64_t>(size_t(args.items.count)), std::vector<int64_t>(size_t(args.queries.count))};
  std::unordered_map<int64_t, int64_t> query_of;
  query_of.reserve(size_t(args.queries.count));
  for (int64_t a = 0; a < args.queries.count; ++a)
    first.of_queries[size_t(a)] = query_of.emplace(args.queries.ids[a], a).first->second;
  for (int64_t m = 0; m < args.items.count; ++m) {
    const auto found = query_of.find(args.items.ids[m]);
    first.of_items[size_t(m)] = found == query_of.end() ? -1 : found->second;
  }
  return first;
}

int64_t label_sums_id_blocks(int64_t columns) { return ceil_div(columns, block_columns); }

void label_sums_ids_cpu(const LabelSums& args, const FirstQueries& first, int64_t block) {
  const int64_t begin = block * block_columns, count = std::min(block_columns, args.columns - begin);
  for_value_dtype(args.dtype, [&](auto tag) { add_columns<decltype(tag)>(args, first, begin, count); });
}

void label_sums_ids_finish_cpu(const LabelSums& args, const FirstQueries& first) {
  std::fill_n(args.counts, args.queries.count, int64_t(0));
  for (int64_t query : first.of_items)
    if (query >= 0) ++args.counts[query];
  for (int64_t a = 0; a < args.queries.count; ++a) {
    const int64_t same = first.of_queries[size_t(a)];
    if (same == a) continue;
    args.counts[a] = args.counts[same];
    std::copy_n(args.sums + same * args.columns, args.columns, args.sums + a * args.columns);
  }
}

int64_t label_sums_bit_blocks(int64_t queries) { return ceil_div(queries, block_queries); }

void label_sums_bits_cpu(const LabelSums& args, int64_t block) {
  const int64_t begin = block * block_queries, end = std::min(args.queries.count, begin + block_queries);
  for_value_dtype(args.dtype, [&](auto tag) { add_related<decltype(tag)>(args, begin, end); });
}

}  // namespace fasthash
