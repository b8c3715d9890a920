// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <type_traits>
#include <vector>

#include "common/dispatch.h"
#include "common/machine.h"
#include "order_aware_triplet/anchor_sweep.h"
#include "order_aware_triplet/order_aware_triplet.h"
#include "order_aware_triplet/order_aware_triplet_math.h"
#include "order_aware_triplet/order_aware_triplet_seam.h"
#include "order_aware_triplet/rank_order.h"
#include "order_aware_triplet/triplet_side.h"

namespace fasthash {
namespace {

const Variants<TripletTileSum(const TripletTile<float>&)> tile_variants{"order_aware_triplet",
                                                                        {FH_VARIANTS(triplet_tile)}};

// Float sums of a tile stay those of a few hundred terms; larger lists are added up in double. The arrays of a tile's
// negatives fit the first-level cache.
constexpr int64_t tile_positives = 256, tile_negatives = 1024;

// From so many pairs for each item on a sweep is the faster one, measured with vectors of 512 and of 256 bits.
double sweep_pairs_per_item() {
  const Machine machine = machine_in_use();
  return machine == Machine::avx512 || machine == Machine::avx512_vpopcnt ? 160 : 80;
}
// Weights are differences of potentials. Where most items tie they are far smaller than these, so that rounding of sums
// of potentials would show.
constexpr double largest_sweep_factor = 1e6;

template <class C>
TripletTileSum tile_scalar(const TripletTile<C>& tile) {
  const auto& [p, n, squared, counted] = tile;
  TripletTileSum sum{0, 0};
  for (int64_t i = 0; i < p.count; ++i) {
    double slopes = 0;
    const C gain = p.gain ? p.gain[i] : C(1);
    for (int64_t j = 0; j < n.count; ++j) {
      const bool positive_first = j + n.offset >= p.before[i];
      const C weight = gain * pair_weight<C>(positive_first, {p.first[i], p.second[i]}, {n.first[j], n.second[j]});
      const C h = hinge<C>(p.reach[i] - n.distance[j]);
      const C slope = pair_slope<C>(squared, weight, h);
      sum.loss += double((squared ? slope : weight) * h);
      sum.nonzero += counted && h > 0;
      slopes += double(slope);
      n.slope[j] += slope;
    }
    p.slope[i] += slopes;
  }
  return sum;
}

// One thread's room, and what it does for one anchor after another. T is the type of the distances.
template <class T>
class AnchorLoss {
  using C = Compute<T>;

 public:
  explicit AnchorLoss(const OrderAwareTriplet& args)
      : args_(args),
        order_(args.items, args.item_codes.width),
        positives_(args.items),
        negatives_(args.items),
        partial_(args.items + triplet_padding),
        values_(args.items + 1),
        sweep_(8 * args.item_codes.width),
        places_(args.items) {
    for (int64_t rank = 1; rank <= args.items; ++rank) values_[rank] = rank_value(args.weighting, double(rank));
    if (args.weighting == Weighting::none) no_hamming_.resize(size_t(args.items));
  }

  // `hamming` (M) is null without weights.
  void run(int64_t anchor, const int32_t* hamming) {
    distances_ = static_cast<const T*>(args_.distances) + anchor * args_.distance_stride;
    relation_ = args_.relation + anchor * args_.relation_stride;
    gains_ = args_.gains ? args_.gains + anchor * args_.gain_stride : nullptr;
    C* gradient = static_cast<C*>(args_.gradient) + anchor * args_.items;
    std::fill_n(gradient, args_.items, C(0));
    args_.sums[anchor] = {0, 0, 0};
    count_sides();
    if (positive_count_ == 0 || negative_count_ == 0) return;
    const bool sweeping = sweeps();
    double factor = 1;
    if (hamming)
      factor = list_by_rank(hamming);
    else if (sweeping)
      factor = list_by_rank(no_hamming_.data());
    else
      list_by_index();
    if (sweeping && factor < largest_sweep_factor) return sweep(anchor, factor, gradient);
    positives_.normalize(factor);
    negatives_.normalize(factor);
    const TripletTileSum sum = sum_pairs();
    args_.sums[anchor] = {sum.loss, positive_count_ * negative_count_, sum.nonzero};
    write(positives_, 1.0, gradient);
    write(negatives_, -1.0, gradient);
  }

 private:
  void count_sides() {
    positive_count_ = negative_count_ = 0;
    highest_gain_ = 0;
    for (int64_t m = 0; m < args_.items; ++m) {
      positive_count_ += relation_[m] > 0;
      negative_count_ += relation_[m] < 0;
    }
    for (int64_t m = 0; gains_ && m < args_.items; ++m)
      if (relation_[m] > 0) highest_gain_ = higher_gain(highest_gain_, double(gains_[m]));
    positives_.count = negatives_.count = 0;
  }

  // Whether the anchor's triplets are added up by a sweep: where that is exact, and asked for or faster.
  bool sweeps() const {
    const double p = double(positive_count_), n = double(negative_count_);
    if (args_.method == TripletMethod::pairs) return false;
    if (args_.method == TripletMethod::automatic && p * n < sweep_pairs_per_item() * (p + n)) return false;
    double farthest = 0;
    bool finite = std::isfinite(highest_gain_);
    for (int64_t m = 0; m < args_.items; ++m) {
      if (relation_[m] == 0) continue;
      const double distance = std::abs(double(load(distances_[m])));
      finite = finite && distance <= std::numeric_limits<float>::max();
      farthest = std::max(farthest, distance);
    }
    // The ranks take distances in float32, so those that are equal there must not be a margin apart.
    return finite && args_.margin > farthest * 0x1p-20;
  }

  void list(uint32_t item, int32_t hamming, Potentials<double> potentials) {
    const C distance = load(distances_[item]);
    TripletSide<C>& side = relation_[item] > 0 ? positives_ : negatives_;
    places_[item] = int32_t(side.count);
    if (relation_[item] > 0)
      side.add(item, C(args_.margin + double(distance)), hamming, negatives_.count, potentials, gain_of(item));
    else
      side.add(item, distance, hamming, positives_.count, potentials, 1.0);
  }

  // Every pair weighs one: all negatives count as standing behind the positives.
  void list_by_index() {
    for (int64_t m = 0; m < args_.items; ++m)
      if (relation_[m] != 0) list(uint32_t(m), 0, unweighted_potentials(relation_[m] > 0));
    std::fill_n(positives_.before.begin(), positives_.count, 0);
  }

  double gain_of(uint32_t positive) const {
    return gains_ ? relative_gain(double(gains_[positive]), highest_gain_) : 1.0;
  }

  // Returns the factor on the weights.
  double list_by_rank(const int32_t* hamming) {
    const uint32_t* ranked = rank(hamming);
    const double all_gains = gains_ ? add_gains(0, ranked, 0, order_.count()) : double(positive_count_);
    double partial = 0, weights = 0, gains = 0;
    for (int64_t first = 0, last = 0; first < order_.count(); first = last) {
      last = end_of_tie(ranked, first, hamming);
      const double value = value_of(first, last);
      const Tie tie = tie_at(ranked, first, last, gains);
      const auto shared = item_potentials(args_.weighting, partial, double(tie.nearer_positives), value);
      for (int64_t i = first; i < last; ++i) {
        const bool positive = relation_[ranked[i]] > 0;
        const auto potentials = args_.weighting == Weighting::none ? unweighted_potentials(positive) : shared;
        weights += positive ? gain_of(ranked[i]) * positive_share(potentials, tie)
                            : weight_share(false, potentials, gains, all_gains - tie.gains);
        list(ranked[i], hamming[ranked[i]], potentials);
      }
      partial += double(tie.positives) * value;
      gains = tie.gains;
    }
    if (weights <= 0) return 0.0;  // all ranks are one: sums of potentials need not cancel to the last bit
    if (args_.normalize) return weight_normalizer(weights, double(positive_count_) * double(negative_count_));
    return weight_factor(args_.weighting, double(positive_count_), ideal_gain());
  }

  // What the positives would gain in the best order.
  double ideal_gain() {
    falling_gains_.assign(positives_.gain.begin(), positives_.gain.begin() + positives_.count);
    if (gains_ && std::isfinite(highest_gain_))
      std::sort(falling_gains_.begin(), falling_gains_.end(), std::greater<>());
    return std::inner_product(falling_gains_.begin(), falling_gains_.end(), values_.begin() + 1, 0.0);
  }

  // Items that share a rank.
  struct Tie {
    int64_t nearer_positives, nearer_negatives, positives, size;
    double gains;  // of its positives and all nearer ones
  };

  int64_t end_of_tie(const uint32_t* ranked, int64_t first, const int32_t* hamming) const {
    int64_t last = first + 1;
    if (args_.ties == Ties::index || args_.weighting == Weighting::none) return last;
    while (last < order_.count() && hamming[ranked[last]] == hamming[ranked[first]]) ++last;
    return last;
  }

  double value_of(int64_t first, int64_t last) const {
    return last == first + 1 ? values_[last] : rank_value(args_.weighting, double(first + last + 1) / 2);
  }

  // `gains` are those of the nearer positives.
  Tie tie_at(const uint32_t* ranked, int64_t first, int64_t last, double gains) const {
    int64_t positives = 0;
    for (int64_t i = first; i < last; ++i) positives += relation_[ranked[i]] > 0;
    gains = gains_ ? add_gains(gains, ranked, first, last) : gains + double(positives);
    return {positives_.count, negatives_.count, positives, last - first, gains};
  }

  // Always in rank order, so that all of them have one sum.
  double add_gains(double sum, const uint32_t* ranked, int64_t first, int64_t last) const {
    for (int64_t i = first; i < last; ++i)
      if (relation_[ranked[i]] > 0) sum += gain_of(ranked[i]);
    return sum;
  }

  // Without ties the positive itself is all of `tie`.
  double positive_share(Potentials<double> potentials, const Tie& tie) const {
    const int64_t before = tie.nearer_negatives, tied = tie.size - tie.positives;
    return weight_share(true, potentials, double(before), double(negative_count_ - before - tied));
  }

  // The sides are in rank order; their places by distance come from the order in which ranking began.
  void sweep(int64_t anchor, double factor, C* gradient) {
    int64_t p = 0, n = 0;
    for (int64_t i = 0; i < order_.count(); ++i) {
      const uint32_t item = order_.by_distance(i);
      if (relation_[item] > 0)
        positives_.by_distance[p++] = places_[item];
      else
        negatives_.by_distance[n++] = places_[item];
    }
    sort_by_distance(positives_);
    sort_by_distance(negatives_);
    const SweepSum sum = sweep_.run(positives_.swept(), negatives_.swept(), args_.squared);
    args_.sums[anchor] = {sum.loss * factor, positive_count_ * negative_count_, sum.nonzero};
    write(positives_, factor, gradient);
    write(negatives_, -factor, gradient);
  }

  // They are so in float32: in float64, neighbours may still change places.
  static void sort_by_distance(TripletSide<C>& side) {
    if constexpr (std::is_same_v<C, double>) {
      const auto nearer = [&](int32_t a, int32_t b) { return side.distance[a] < side.distance[b]; };
      std::stable_sort(side.by_distance.begin(), side.by_distance.begin() + side.count, nearer);
    }
  }

  static void write(const TripletSide<C>& side, double factor, C* gradient) {
    for (int64_t i = 0; i < side.count; ++i) gradient[side.items[i]] = C(side.slope[i] * factor);
  }

  const uint32_t* rank(const int32_t* hamming) {
    order_.clear();
    for (int64_t m = 0; m < args_.items; ++m)
      if (relation_[m] != 0) order_.add(uint32_t(m), distance_key(float(load(distances_[m]))));
    return order_.sort(hamming);
  }

  TripletTileSum sum_pairs() {
    TripletTileSum total{0, 0};
    for (int64_t p = 0; p < positives_.count; p += tile_positives) {
      std::fill_n(partial_.begin(), negatives_.count, C(0));
      for (int64_t n = 0; n < negatives_.count; n += tile_negatives) {
        const TripletTileSum part = sum_tile(tile_at(p, n));
        total.loss += part.loss;
        total.nonzero += part.nonzero;
      }
      for (int64_t n = 0; n < negatives_.count; ++n) negatives_.slope[n] += double(partial_[n]);
    }
    return total;
  }

  TripletTile<C> tile_at(int64_t p, int64_t n) {
    return {{positives_.distance.data() + p, positives_.first.data() + p, positives_.second.data() + p,
             gains_ ? positives_.gain.data() + p : nullptr, positives_.before.data() + p, positives_.slope.data() + p,
             std::min(tile_positives, positives_.count - p)},
            {negatives_.distance.data() + n, negatives_.first.data() + n, negatives_.second.data() + n,
             partial_.data() + n, std::min(tile_negatives, negatives_.count - n), n},
            args_.squared,
            args_.reduction == Reduction::avg_nonzero};
  }

  TripletTileSum sum_tile(const TripletTile<float>& tile) const { return tile_variant_(tile); }
  TripletTileSum sum_tile(const TripletTile<double>& tile) const { return tile_scalar(tile); }

  OrderAwareTriplet args_;
  const T* distances_ = nullptr;
  const int8_t* relation_ = nullptr;
  const float* gains_ = nullptr;
  double highest_gain_ = 0;
  int64_t positive_count_ = 0, negative_count_ = 0;
  RankOrder order_;
  TripletSide<C> positives_, negatives_;
  std::vector<C> falling_gains_;
  std::vector<C> partial_;      // slopes of the negatives over one tile of positives
  std::vector<double> values_;  // of the ranks
  AnchorSweep sweep_;
  std::vector<int32_t> places_;  // of the items in their side
  std::vector<int32_t> no_hamming_;
  TripletTileSum (*tile_variant_)(const TripletTile<float>&) = tile_variants.select();
};

// Anchors that share one thread's room: few enough to keep all threads busy.
int64_t block_anchors(int64_t anchors) { return std::clamp<int64_t>(anchors / 64, 1, 16); }

struct AnchorRange {
  int64_t begin, end;
};
AnchorRange anchors_of_block(int64_t anchors, int64_t block) {
  const int64_t step = block_anchors(anchors);
  return {block * step, std::min(anchors, (block + 1) * step)};
}

// Hamming distances of a block (anchors, M), empty without weights.
std::vector<int32_t> hamming_of_block(const OrderAwareTriplet& args, AnchorRange range) {
  if (args.weighting == Weighting::none) return {};
  const int64_t words = words_of(args.item_codes.width), rows = range.end - range.begin, step = block_codes(words);
  std::vector<uint64_t> anchors(rows * words);
  load_words(args.anchor_codes, range.begin, rows, anchors.data());
  std::vector<int32_t> distances(rows * args.items);
  CodeBlock block(words);
  ScanAll* const scan = select_scan_all();
  for (int64_t first = 0; first < args.items; first += step) {
    const int64_t count = std::min(step, args.items - first);
    const void* codes = block.load(as_database(args.item_codes), first, count);
    for (int64_t i = 0; i < rows; ++i)
      scan({&anchors[i * words], codes, words, count}, &distances[i * args.items + first]);
  }
  return distances;
}

template <class C>
void rescale(C* gradient, int64_t count, C scale) {
  for (int64_t i = 0; i < count; ++i) gradient[i] *= scale;
}

}  // namespace

TripletTileSum triplet_tile_scalar(const TripletTile<float>& tile) { return tile_scalar(tile); }

int64_t order_aware_triplet_blocks(int64_t anchors) {
  return (anchors + block_anchors(anchors) - 1) / block_anchors(anchors);
}

void order_aware_triplet_cpu(const OrderAwareTriplet& args, int64_t block) {
  const AnchorRange range = anchors_of_block(args.anchors, block);
  const std::vector<int32_t> hamming = hamming_of_block(args, range);
  for_float_dtype(args.dtype, [&](auto tag) {
    AnchorLoss<decltype(tag)> loss(args);
    for (int64_t anchor = range.begin; anchor < range.end; ++anchor)
      loss.run(anchor, hamming.empty() ? nullptr : &hamming[(anchor - range.begin) * args.items]);
  });
}

TripletScale order_aware_triplet_scale(const OrderAwareTriplet& args) {
  TripletSum batch{0, 0, 0};
  for (int64_t anchor = 0; anchor < args.anchors; ++anchor) {
    batch.loss += args.sums[anchor].loss;
    batch.triplets += args.sums[anchor].triplets;
    batch.nonzero += args.sums[anchor].nonzero;
  }
  return triplet_scale(batch, args.reduction, args.squared);
}

void order_aware_triplet_rescale_cpu(const OrderAwareTriplet& args, double scale, int64_t block) {
  const AnchorRange range = anchors_of_block(args.anchors, block);
  const int64_t begin = range.begin * args.items, count = (range.end - range.begin) * args.items;
  if (args.dtype == Dtype::float64)
    rescale(static_cast<double*>(args.gradient) + begin, count, scale);
  else
    rescale(static_cast<float*>(args.gradient) + begin, count, float(scale));
}

}  // namespace fasthash
