// SPDX-License-Identifier: Apache-2.0
#include "pairwise_similarity_loss/pairwise_similarity_loss.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <vector>

#include "common/dispatch.h"
#include "common/machine.h"
#include "pairwise_similarity_loss/pair_rows.h"
#include "pairwise_similarity_loss/pairwise_similarity_loss_math.h"
#include "pairwise_similarity_loss/pairwise_similarity_loss_seam.h"

namespace fasthash {
namespace {

const Variants<void(const MatrixProducts<float>&)> products_variants{"pair_products", {FH_VARIANTS(pair_products)}};
const Variants<double(const PairTerms<float>&)> terms_variants{"pair_terms", {FH_VARIANTS(pair_terms)}};
const Variants<int64_t(const PairTerms<float>&)> count_variants{"pair_count", {FH_VARIANTS(pair_count)}};

// A tile of pairs: products, anchors and items of it stay in the first two levels of cache up to some hundred bits.
constexpr int64_t group_anchors = 64, tile_items = 96;

int64_t ceil_to(int64_t count, int64_t step) { return (count + step - 1) / step * step; }

template <class C>
void products_scalar(const MatrixProducts<C>& run) {
  for (int64_t r = 0; r < run.rows; ++r) {
    C* sums = run.sums + r * run.sum_stride;
    if (!run.add) std::fill_n(sums, run.width, C(0));
    for (int64_t t = 0; t < run.steps; ++t) {
      const C factor = run.factors[r * run.row_stride + t * run.step_stride];
      const C* lanes = run.lanes + t * run.lane_stride;
      for (int64_t i = 0; i < run.width; ++i) sums[i] += factor * lanes[i];
    }
  }
}

template <class C>
bool are_similar(const PairTerms<C>& run, int64_t j, int64_t i) {
  if (run.rule == PairRule::graded_likelihood) return run.grades[j * run.lanes + i] > C(0);
  if (run.words == 0) return run.lane_ids[i] == run.item_ids[j];
  uint32_t common = 0;
  for (int64_t w = 0; w < run.words; ++w)
    common |= run.lane_words[w * run.lanes + i] & run.item_words[j * run.words + w];
  return common != 0;
}

template <class C>
PairTerm<C> term_of(const PairTerms<C>& run, C product, bool similar, int64_t j, int64_t i) {
  if (run.rule == PairRule::likelihood) return likelihood_term(run.scale * product, similar);
  if (run.rule == PairRule::graded_likelihood)
    return graded_term(run.scale * product, run.grades[j * run.lanes + i], run.lane_counts[i], run.item_counts[j],
                       run.lane_roots[i] * run.item_roots[j], run.bits, run.threshold);
  const C distance =
      of_distances(run.rule) ? run.lane_norms[i] + run.item_norms[j] - C(2) * product : run.scale - run.scale * product;
  if (run.rule == PairRule::contrast) return contrast_term(distance, similar, run.threshold);
  return cauchy_term(distance, similar, run.threshold, run.smallest);
}

template <class C>
double terms_scalar(const PairTerms<C>& run) {
  double loss = 0;
  for (int64_t j = 0; j < run.items; ++j) {
    C slopes = 0;
    for (int64_t i = 0; i < run.lanes; ++i) {
      C& entry = run.tile[j * run.lanes + i];
      const bool similar = are_similar(run, j, i), left_out = run.alone && i == run.own + j;
      const PairTerm<C> term = term_of(run, entry, similar, j, i);
      const C weight = left_out ? C(0) : similar ? run.heavy[i] : run.light[i];
      entry = term.slope * (weight * run.factor);
      loss += double(term.value * weight);
      if (!of_distances(run.rule)) continue;
      run.lane_sums[i] += entry;
      slopes += entry;
    }
    if (of_distances(run.rule)) run.item_sums[j] += slopes;
  }
  return loss;
}

template <class T>
class Work final : public PairwiseWork {
 public:
  using C = Compute<T>;

  explicit Work(const PairwiseLoss& args)
      : args_(args),
        unit_(args.rule == PairRule::cosine_cauchy),
        x_(args.x, args.bits, args.x_stride, unit_, of_distances(args.rule)),
        y_(args.y, args.bits, args.y_stride, unit_, of_distances(args.rule)),
        padded_(padded_lanes(args.anchors)),
        padded_bits_(padded_lanes(args.bits)),
        words_((args.x_labels.bytes + 3) / 4),
        labels_(args.rule == PairRule::graded_likelihood ? 8 * args.x_labels.bytes : 0),
        chunk_(ceil_to(std::max<int64_t>({512, args.bits, (args.items + 31) / 32}), tile_items)),
        products_(products_variants.select()),
        terms_(terms_variants.select()) {
    pack_anchors();
    if (args.x_labels.ids) {
      number_ids();
      if (args.rule == PairRule::graded_likelihood) args_.rule = PairRule::likelihood;
    }
    const int64_t size = blocks();
    counts_.assign(size, 0);
    losses_.assign(size, 0);
    if (args.x_gradient) partial_.resize(size * padded_ * args.bits);
    if (of_distances(args.rule)) partial_sums_.resize(size * padded_);
  }

  int64_t count_blocks() const override {
    const bool needed = args_.balance != PairBalance::none || args_.normalize;
    return needed && words_ ? blocks() : 0;
  }

  void count(int64_t block) override {
    const auto count = count_variants.select();
    std::vector<uint32_t> words(tile_items * words_);
    for (int64_t first = begin(block); first < end(block); first += tile_items) {
      PairTerms<float> run{};
      run.item_words = words.data();
      run.words = words_;
      run.items = std::min(tile_items, end(block) - first);
      for (int64_t j = 0; j < run.items; ++j)
        read_words(args_.y_labels, first + j, words.data() + j * words_, words_, 1);
      for (int64_t group = 0; group < padded_; group += group_anchors) {
        run.lane_words = lane_words_.data() + group * words_;
        run.lanes = lanes_of(group);
        counts_[block] += count(run);
      }
    }
  }

  void weigh() override {
    double similar = double(similar_ids_), pairs = double(args_.anchors) * double(args_.items);
    for (int64_t count : counts_) similar += double(count);
    if (args_.alone) {
      pairs -= double(args_.anchors);
      similar -= double(own_similar());
    }
    weights_ = pair_weights(args_.balance, args_.cohesion, args_.normalize, pairs, similar);
  }

  int64_t blocks() const override { return (args_.items + chunk_ - 1) / chunk_; }

  void run(int64_t block) override {
    Room room(*this, block);
    for (int64_t first = begin(block); first < end(block); first += tile_items)
      room.run_tile(first, std::min(tile_items, end(block) - first));
    losses_[block] = room.loss;
  }

  int64_t finish_blocks() const override {
    return args_.x_gradient ? (padded_ + group_anchors - 1) / group_anchors : 0;
  }

  // Adds up what the blocks of items found, in their order.
  void finish(int64_t group) override {
    const int64_t first = group * group_anchors, lanes = lanes_of(first), bits = args_.bits;
    std::vector<double> sums(bits * lanes), slopes(lanes), own(bits);
    for (int64_t block = 0; block < blocks(); ++block) {
      const C* part = partial_.data() + (block * padded_ + first) * bits;
      for (int64_t n = 0; n < bits * lanes; ++n) sums[n] += double(part[n]);
      if (of_distances(args_.rule))
        for (int64_t i = 0; i < lanes; ++i) slopes[i] += double(partial_sums_[block * padded_ + first + i]);
    }
    const C* x = lanes_.data() + first * bits;
    for (int64_t i = 0; i < std::min(lanes, args_.anchors - first); ++i) {
      for (int64_t k = 0; k < bits; ++k) {
        const int64_t at = k * lanes + i;
        const double shift = of_distances(args_.rule) ? slopes[i] * double(x[at]) : 0;
        own[k] = (sums[at] - shift) * (args_.alone ? 2 : 1);
      }
      x_.pull_back(first + i, static_cast<C*>(args_.x_gradient) + (first + i) * bits, own.data());
    }
  }

  double loss() const override {
    double total = 0;
    for (double loss : losses_) total += loss;
    return total;
  }

 private:
  // One thread's tiles.
  struct Room {
    Room(Work& of, int64_t number)
        : work(of),
          block(number),
          items(tile_items * of.padded_bits_),
          tile(tile_items * group_anchors),
          norms(tile_items),
          sums(tile_items),
          words(tile_items * of.words_),
          labels(tile_items * of.labels_),
          grades(of.labels_ ? tile_items * group_anchors : 0),
          counts(of.labels_ ? tile_items : 0),
          roots(counts.size()),
          gradient(of.args_.y_gradient ? tile_items * of.padded_bits_ : 0) {
      // A pair of an item with itself has no weight for a moment, so each thread has its own.
      heavy.assign(of.padded_, C(of.weights_.similar));
      light.assign(of.padded_, C(of.weights_.other));
      std::fill(heavy.begin() + of.args_.anchors, heavy.end(), C(0));
      std::fill(light.begin() + of.args_.anchors, light.end(), C(0));
    }

    void run_tile(int64_t first, int64_t count) {
      const PairwiseLoss& args = work.args_;
      for (int64_t j = 0; j < count; ++j) {
        norms[j] = work.y_.read(first + j, items.data() + j * work.padded_bits_);
        if (work.labels_) {
          counts[j] = read_labels(args.y_labels, first + j, labels.data() + j * work.labels_, 1);
          roots[j] = root_of(counts[j]);
        }
        if (work.words_) read_words(args.y_labels, first + j, words.data() + j * work.words_, work.words_, 1);
      }
      std::fill(sums.begin(), sums.end(), C(0));
      for (int64_t group = 0; group < work.padded_; group += group_anchors) run_group(first, count, group);
      if (args.y_gradient) write_gradient(first, count);
    }

    void run_group(int64_t first, int64_t count, int64_t group) {
      const PairwiseLoss& args = work.args_;
      const int64_t lanes = work.lanes_of(group), bits = args.bits, padded_bits = work.padded_bits_;
      work.products({items.data(), work.lanes_.data() + group * bits, tile.data(), count, bits, lanes, padded_bits, 1,
                     lanes, lanes, false});
      if (work.labels_)
        work.products({labels.data(), work.lane_labels_.data() + group * work.labels_, grades.data(), count,
                       work.labels_, lanes, work.labels_, 1, lanes, lanes, false});
      loss += work.terms(terms(first, count, group));
      if (args.x_gradient) {
        C* partial = work.partial_.data() + block * work.padded_ * bits + group * bits;
        work.products({items.data(), tile.data(), partial, bits, count, lanes, 1, padded_bits, lanes, lanes, true});
      }
      if (args.y_gradient)
        work.products({tile.data(), work.rows_.data() + group * padded_bits, gradient.data(), count, lanes, padded_bits,
                       lanes, 1, padded_bits, padded_bits, group > 0});
    }

    PairTerms<C> terms(int64_t first, int64_t count, int64_t group) {
      const PairwiseLoss& args = work.args_;
      PairTerms<C> run{};
      run.tile = tile.data();
      if (args.x_labels.ids) {
        run.lane_ids = work.lane_ids_.data() + group;
        run.item_ids = work.item_ids_.data() + first;
      }
      run.lane_words = work.lane_words_.data() + group * work.words_;
      run.item_words = words.data();
      run.grades = grades.data();
      run.lane_counts = work.lane_counts_.data() + (work.labels_ ? group : 0);
      run.item_counts = counts.data();
      run.lane_roots = work.lane_roots_.data() + (work.labels_ ? group : 0);
      run.item_roots = roots.data();
      run.lane_norms = work.lane_norms_.data() + group;
      run.item_norms = norms.data();
      run.heavy = heavy.data() + group;
      run.light = light.data() + group;
      if (of_distances(args.rule)) run.lane_sums = work.partial_sums_.data() + block * work.padded_ + group;
      run.item_sums = sums.data();
      run.items = count;
      run.lanes = work.lanes_of(group);
      run.words = work.words_;
      run.own = first - group;
      run.alone = args.alone;
      run.rule = args.rule;
      run.bits = C(args.bits);
      run.scale = C(work.unit_ ? double(args.bits) / 2 : args.scale);
      run.threshold = C(args.threshold);
      run.smallest = C(args.smallest);
      run.factor = C(slope_factor(args.rule, args.scale, args.bits));
      return run;
    }

    void write_gradient(int64_t first, int64_t count) {
      const int64_t bits = work.args_.bits;
      for (int64_t j = 0; j < count; ++j) {
        C* own = gradient.data() + j * work.padded_bits_;
        if (of_distances(work.args_.rule))
          for (int64_t k = 0; k < bits; ++k) own[k] -= sums[j] * items[j * work.padded_bits_ + k];
        work.y_.pull_back(first + j, static_cast<C*>(work.args_.y_gradient) + (first + j) * bits, own);
      }
    }

    Work& work;
    int64_t block;
    double loss = 0;
    std::vector<C> items, tile, norms, sums;
    std::vector<uint32_t> words;
    std::vector<C> labels, grades, counts, roots, gradient, heavy, light;
  };

  int64_t begin(int64_t block) const { return block * chunk_; }
  int64_t end(int64_t block) const { return std::min(args_.items, (block + 1) * chunk_); }
  static C root_of(C count) { return count > C(0) ? C(1 / std::sqrt(double(count))) : C(0); }
  int64_t lanes_of(int64_t group) const { return std::min(group_anchors, padded_ - group); }

  void products(const MatrixProducts<float>& run) const { products_(run); }
  void products(const MatrixProducts<double>& run) const { products_scalar(run); }
  double terms(const PairTerms<float>& run) const { return terms_(run); }
  double terms(const PairTerms<double>& run) const { return terms_scalar(run); }

  // Groups of anchors, each (K, lanes); and rows (anchors, K padded) where items need a gradient.
  void pack_anchors() {
    const int64_t bits = args_.bits;
    lanes_.resize(padded_ * bits);
    lane_norms_.resize(padded_);
    lane_words_.resize(padded_ * words_);
    lane_labels_.resize(padded_ * labels_);
    lane_counts_.resize(labels_ ? padded_ : 0);
    lane_roots_.resize(lane_counts_.size());
    if (args_.y_gradient) rows_.resize(padded_ * padded_bits_);
    std::vector<C> row(bits);
    for (int64_t i = 0; i < args_.anchors; ++i) {
      const int64_t group = i / group_anchors * group_anchors, lanes = lanes_of(group);
      lane_norms_[i] = x_.read(i, row.data());
      for (int64_t k = 0; k < bits; ++k) lanes_[group * bits + k * lanes + i - group] = row[k];
      if (args_.y_gradient) std::copy(row.begin(), row.end(), rows_.begin() + i * padded_bits_);
      if (labels_) {
        lane_counts_[i] = read_labels(args_.x_labels, i, lane_labels_.data() + group * labels_ + i - group, lanes);
        lane_roots_[i] = root_of(lane_counts_[i]);
      }
      if (words_) read_words(args_.x_labels, i, lane_words_.data() + group * words_ + i - group, words_, lanes);
    }
  }

  // Ids become small numbers, that a float holds; counts the pairs that share one.
  void number_ids() {
    std::unordered_map<int64_t, int64_t> numbers;
    std::vector<int64_t> counts;
    lane_ids_.assign(padded_, -2);
    for (int64_t i = 0; i < args_.anchors; ++i) {
      const auto [found, added] = numbers.try_emplace(args_.x_labels.ids[i], int64_t(numbers.size()));
      if (added) counts.push_back(0);
      ++counts[found->second];
      lane_ids_[i] = float(found->second);
    }
    item_ids_.assign(args_.items, -1);
    for (int64_t j = 0; j < args_.items; ++j) {
      const auto found = numbers.find(args_.y_labels.ids[j]);
      if (found == numbers.end()) continue;
      item_ids_[j] = float(found->second);
      similar_ids_ += counts[found->second];
    }
  }

  // Items that share a label with themselves: all but rows without a label.
  int64_t own_similar() const {
    if (args_.x_labels.ids) return args_.anchors;
    int64_t count = 0;
    for (int64_t i = 0; i < args_.anchors; ++i) {
      const uint8_t* bits = args_.x_labels.bits + i * args_.x_labels.bytes;
      count += std::any_of(bits, bits + args_.x_labels.bytes, [](uint8_t byte) { return byte != 0; });
    }
    return count;
  }

  PairwiseLoss args_;
  bool unit_;
  PairRows<T> x_, y_;
  int64_t padded_, padded_bits_, words_, labels_, chunk_;
  std::vector<C> lanes_, rows_, lane_norms_, lane_labels_, lane_counts_, lane_roots_;
  std::vector<uint32_t> lane_words_;
  std::vector<float> lane_ids_, item_ids_;
  int64_t similar_ids_ = 0;
  std::vector<int64_t> counts_;  // similar pairs of each block
  PairWeights weights_{};
  std::vector<double> losses_;
  std::vector<C> partial_, partial_sums_;  // of each block: groups (K, lanes), and lanes
  void (*products_)(const MatrixProducts<float>&);
  double (*terms_)(const PairTerms<float>&);
};

}  // namespace

void pair_products_scalar(const MatrixProducts<float>& run) { products_scalar(run); }
double pair_terms_scalar(const PairTerms<float>& run) { return terms_scalar(run); }
int64_t pair_count_scalar(const PairTerms<float>& run) {
  int64_t count = 0;
  for (int64_t j = 0; j < run.items; ++j)
    for (int64_t i = 0; i < run.lanes; ++i) count += are_similar(run, j, i);
  return count;
}

std::unique_ptr<PairwiseWork> pairwise_similarity_loss_cpu(const PairwiseLoss& args) {
  return for_float_dtype(args.dtype, [&](auto tag) -> std::unique_ptr<PairwiseWork> {
    return std::make_unique<Work<decltype(tag)>>(args);
  });
}

}  // namespace fasthash
