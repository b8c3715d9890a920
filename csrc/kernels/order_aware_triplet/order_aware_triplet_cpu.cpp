// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include "common/dispatch.h"
#include "common/machine.h"
#include "order_aware_triplet/order_aware_triplet.h"
#include "order_aware_triplet/order_aware_triplet_math.h"
#include "order_aware_triplet/order_aware_triplet_seam.h"
#include "order_aware_triplet/rank_order.h"

namespace fasthash {
namespace {

const Variants<TripletTileSum(const TripletTile<float>&)> tile_variants{"order_aware_triplet",
                                                                        {FH_VARIANTS(triplet_tile)}};

// Float sums of a tile stay those of a few hundred terms; larger lists are added up in double. The arrays of a tile's
// negatives fit the first-level cache.
constexpr int64_t tile_positives = 256, tile_negatives = 1024;

template <class C>
TripletTileSum tile_scalar(const TripletTile<C>& tile) {
  const auto& [p, n, squared, counted] = tile;
  TripletTileSum sum{0, 0};
  for (int64_t i = 0; i < p.count; ++i) {
    double slopes = 0;
    for (int64_t j = 0; j < n.count; ++j) {
      const bool positive_first = j + n.offset >= p.before[i];
      const C weight = pair_weight<C>(positive_first, {p.first[i], p.second[i]}, {n.first[j], n.second[j]});
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

// The positives, or the negatives, of one anchor in rank order.
template <class C>
struct Side {
  explicit Side(int64_t capacity)
      : items(capacity),
        before(capacity),
        distance(capacity + triplet_padding),
        first(capacity + triplet_padding),
        second(capacity + triplet_padding),
        potentials(capacity),
        slope(capacity) {}

  void add(uint32_t item, C value, int64_t others_before, Potentials<double> of_item) {
    items[count] = item;
    distance[count] = value;
    before[count] = int32_t(others_before);
    potentials[count++] = of_item;
  }

  void normalize(double factor) {
    for (int64_t i = 0; i < count; ++i) {
      first[i] = C(potentials[i].first * factor);
      second[i] = C(potentials[i].second * factor);
    }
    std::fill_n(slope.begin(), count, 0.0);
  }

  int64_t count = 0;
  std::vector<uint32_t> items;
  std::vector<int32_t> before;  // how many items of the other side stand before
  std::vector<C> distance;      // of positives: margin + distance
  std::vector<C> first, second;
  std::vector<Potentials<double>> potentials;
  std::vector<double> slope;
};

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
        inverse_(args.items + 1) {
    for (int64_t rank = 1; rank <= args.items; ++rank) inverse_[rank] = 1.0 / double(rank);
  }

  // `hamming` (M) is null without weights.
  void run(int64_t anchor, const int32_t* hamming) {
    distances_ = static_cast<const T*>(args_.distances) + anchor * args_.distance_stride;
    relation_ = args_.relation + anchor * args_.relation_stride;
    C* gradient = static_cast<C*>(args_.gradient) + anchor * args_.items;
    std::fill_n(gradient, args_.items, C(0));
    args_.sums[anchor] = {0, 0, 0};
    count_sides();
    if (positive_count_ == 0 || negative_count_ == 0) return;
    if (hamming)
      list_by_rank(hamming);
    else
      list_by_index();
    const TripletTileSum sum = sum_pairs();
    args_.sums[anchor] = {sum.loss, positive_count_ * negative_count_, sum.nonzero};
    for (int64_t i = 0; i < positives_.count; ++i) gradient[positives_.items[i]] = C(positives_.slope[i]);
    for (int64_t i = 0; i < negatives_.count; ++i) gradient[negatives_.items[i]] = C(-negatives_.slope[i]);
  }

 private:
  void count_sides() {
    positive_count_ = negative_count_ = 0;
    for (int64_t m = 0; m < args_.items; ++m) {
      positive_count_ += relation_[m] > 0;
      negative_count_ += relation_[m] < 0;
    }
    positives_.count = negatives_.count = 0;
  }

  void list(uint32_t item, Potentials<double> potentials) {
    const C distance = load(distances_[item]);
    if (relation_[item] > 0)
      positives_.add(item, C(args_.margin + double(distance)), negatives_.count, potentials);
    else
      negatives_.add(item, distance, positives_.count, potentials);
  }

  // Every pair weighs one: all negatives count as standing behind the positives, with potentials one apart.
  void list_by_index() {
    for (int64_t m = 0; m < args_.items; ++m)
      if (relation_[m] != 0) list(uint32_t(m), {relation_[m] > 0 ? 0.0 : 1.0, 0.0});
    std::fill_n(positives_.before.begin(), positives_.count, 0);
    positives_.normalize(1.0);
    negatives_.normalize(1.0);
  }

  void list_by_rank(const int32_t* hamming) {
    const uint32_t* ranked = rank(hamming);
    double partial = 0, weights = 0;
    for (int64_t i = 0; i < order_.count(); ++i) {
      const double inverse_rank = inverse_[i + 1];
      const bool positive = relation_[ranked[i]] > 0;
      if (positive) partial += inverse_rank;
      const auto potentials = item_potentials(partial, double(positives_.count + positive), inverse_rank);
      weights += positive ? positive_weight_share(potentials, double(negatives_.count), double(negative_count_))
                          : negative_weight_share(potentials, double(positives_.count), double(positive_count_));
      list(ranked[i], potentials);
    }
    const double normalizer = weight_normalizer(weights, double(positive_count_) * double(negative_count_));
    positives_.normalize(normalizer);
    negatives_.normalize(normalizer);
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
             positives_.before.data() + p, positives_.slope.data() + p, std::min(tile_positives, positives_.count - p)},
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
  int64_t positive_count_ = 0, negative_count_ = 0;
  RankOrder order_;
  Side<C> positives_, negatives_;
  std::vector<C> partial_;       // slopes of the negatives over one tile of positives
  std::vector<double> inverse_;  // 1 / rank
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
