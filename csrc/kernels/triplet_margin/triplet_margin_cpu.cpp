// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "common/dispatch.h"
#include "common/machine.h"
#include "triplet_margin/anchor_row.h"
#include "triplet_margin/triplet_margin.h"
#include "triplet_margin/triplet_margin_math.h"
#include "triplet_margin/triplet_margin_seam.h"

namespace fasthash {
namespace {

const Variants<MarginSum(const MarginPairs<float>&)> pairs_variants{"triplet_margin", {FH_VARIANTS(margin_pairs)}};
const Variants<MarginSum(const MarginSwap<float>&)> swap_variants{"triplet_margin_swap", {FH_VARIANTS(margin_swap)}};

// Slopes of an item are added up in float over this many positives, then in double.
constexpr int64_t tile_positives = 256;

template <class C>
MarginSum pairs_scalar(const MarginPairs<C>& run) {
  MarginSum total{0, 0, 0};
  for (int64_t i = 0; i < run.positives; ++i) {
    double slope = 0;
    for (int64_t j = 0; j < run.items; ++j) {
      const MarginTerm<C> term = margin_term<C>(run.smooth, run.reach[i] - run.distance[j]);
      total.loss += run.smooth ? double(term.value) : 0.0;
      slope += double(term.slope);
      run.item_slope[j] += term.slope;
    }
    run.slope[i] = slope;
    total.slope += slope;
  }
  if (!run.smooth) total.nonzero = int64_t(total.slope);
  return total;
}

template <class C>
MarginSum swap_scalar(const MarginSwap<C>& run) {
  MarginSum total{0, 0, 0};
  for (int64_t j = 0; j < run.items; ++j) {
    const C distance = run.distance[j], other = run.other[j];
    if (std::isinf(distance)) continue;
    const C x = run.reach - (distance < other ? distance : other);
    const MarginTerm<C> term = margin_term<C>(run.smooth, x);
    total.loss += double(term.value);
    total.slope += double(term.slope);
    total.nonzero += margin_counts(run.smooth, x);
    run.item_slope[j] += term.slope * (run.of_other ? swap_share(other, distance) : swap_share(distance, other));
  }
  return total;
}

// One thread's room, and what it does for one anchor after another. T is the type of the distances.
template <class T>
class AnchorMargin {
  using C = Compute<T>;

 public:
  explicit AnchorMargin(const TripletMargin& args)
      : args_(args),
        row_(args.items),
        partner_(args.swap ? args.items : 0),
        other_(args.swap ? args.items + margin_padding : 0),
        partial_(args.items + margin_padding),
        slopes_(args.items),
        positive_slopes_(args.items),
        places_(args.items + margin_padding),
        nearest_(args.items + 1),
        counts_(args.items + 1),
        pairs_(args.mining == Mining::all && !args.swap ? pairs_variants.select() : nullptr),
        swap_(args.swap ? swap_variants.select() : nullptr) {}

  void run(int64_t anchor) {
    anchor_ = anchor;
    C* gradient = static_cast<C*>(args_.gradient) + anchor * args_.items;
    row_.load_row(distances(anchor), relation(anchor), args_.mining == Mining::all ? args_.margin : 0.0);
    TripletSum& sum = args_.sums[anchor];
    sum = {0, 0, 0};
    std::fill(slopes_.begin(), slopes_.end(), 0.0);
    if (row_.positive_count() > 0 && row_.negative_count() > 0) {
      sum = row_.finite() ? mined() : undefined();
    }
    if (args_.swap) add_swapped();
    for (int64_t m = 0; m < args_.items; ++m) gradient[m] = C(slopes_[m]);
  }

 private:
  const T* distances(int64_t row) const { return static_cast<const T*>(args_.distances) + row * args_.distance_stride; }
  const int8_t* relation(int64_t row) const { return args_.relation + row * args_.relation_stride; }

  TripletSum mined() {
    if (args_.mining == Mining::semi_hard) return semi_hard();
    if (args_.mining == Mining::hard) return hard();
    if (args_.swap) return all_swapped();
    return args_.smooth || direct_is_cheaper() ? all_pairs() : all_sorted();
  }

  // A NaN or infinite distance makes the anchor's loss and the gradients of its items NaN.
  TripletSum undefined() {
    for (int64_t m = 0; m < args_.items; ++m)
      if (relation(anchor_)[m] != 0) slopes_[m] = NAN;
    return {NAN, triplets(), 0};
  }

  int64_t triplets() const {
    if (args_.mining == Mining::hard) return 1;
    return row_.positive_count() * (args_.mining == Mining::all ? row_.negative_count() : 1);
  }

  // All pairs cost some P * M / lanes compares; sorting and searching, M * log P steps that do not use lanes.
  bool direct_is_cheaper() const {
    const int64_t lanes = std::is_same_v<C, float> ? machine_lanes() : 1;
    return row_.positive_count() <= 6 * lanes;
  }
  static int64_t machine_lanes() {
    const Machine machine = machine_in_use();
    return machine == Machine::scalar ? 1 : machine == Machine::avx2 ? 8 : machine == Machine::neon ? 4 : 16;
  }

  TripletSum all_pairs() {
    TripletSum total{0, triplets(), 0};
    for (int64_t i = 0; i < row_.positive_count(); i += tile_positives) {
      const int64_t count = std::min(tile_positives, row_.positive_count() - i);
      std::fill(partial_.begin(), partial_.end(), C(0));
      const MarginSum part = pairs({row_.reach() + i, positive_slopes_.data() + i, row_.negative(), partial_.data(),
                                    count, args_.items, args_.smooth});
      total.loss += part.loss;
      total.nonzero += part.nonzero;
      for (int64_t m = 0; m < args_.items; ++m) slopes_[m] -= double(partial_[m]);
    }
    return finished(total);
  }

  // Of the positives in order, those from a negative's place on have a hinge above zero with it.
  TripletSum all_sorted() {
    TripletSum total{0, triplets(), 0};
    row_.sort_positives();
    row_.template place_negatives<false>(places_.data());
    const int64_t positives = row_.positive_count();
    std::fill_n(counts_.begin(), positives + 1, 0);
    for (int64_t m = 0; m < args_.items; ++m) {
      ++counts_[places_[m]];
      slopes_[m] = double(places_[m] - positives);
    }
    int64_t before = 0;
    for (int64_t i = 0; i < positives; ++i) {
      before += counts_[i];
      positive_slopes_[i] = double(before);
      total.nonzero += before;
    }
    return finished(total);
  }

  // The slopes of the positives take their places. A sum of hinges is that of slope * distance, with each slope a
  // count, which doubles add up without loss worth a name.
  TripletSum finished(TripletSum total) {
    double margins = 0;
    for (int64_t i = 0; i < row_.positive_count(); ++i) {
      slopes_[row_.positives()[i]] = positive_slopes_[i];
      margins += positive_slopes_[i];
    }
    if (args_.smooth) {
      total.nonzero = total.triplets;
      return total;
    }
    total.loss = args_.margin * margins + slopes_times_distances();
    return total;
  }

  double slopes_times_distances() const {
    constexpr int lanes = 8;  // sums side by side
    const T* const row = distances(anchor_);
    double sums[lanes] = {};
    int64_t m = 0;
    for (; m + lanes <= args_.items; m += lanes)
      for (int k = 0; k < lanes; ++k) sums[k] += times(slopes_[m + k], row[m + k]);
    for (; m < args_.items; ++m) sums[0] += times(slopes_[m], row[m]);
    return std::accumulate(sums, sums + lanes, 0.0);
  }
  static double times(double slope, T distance) { return slope != 0 ? slope * double(C(load(distance))) : 0.0; }

  // A negative is farther away than the positives before its place; the nearest such one lies in the next place that
  // is not empty.
  TripletSum semi_hard() {
    TripletSum total{0, triplets(), 0};
    row_.sort_positives();
    row_.template place_negatives<true>(places_.data());
    const int64_t positives = row_.positive_count();
    std::fill_n(nearest_.begin(), positives + 1, -1);
    const C* const negative = row_.negative();
    for (int64_t m = 0; m < args_.items; ++m) {
      int32_t& best = nearest_[places_[m]];
      if (best < 0 ? !std::isinf(negative[m]) : negative[m] < negative[best]) best = int32_t(m);
    }
    int64_t chosen = farthest_negative();
    for (int64_t i = positives; i-- > 0;) {
      if (nearest_[i + 1] >= 0) chosen = nearest_[i + 1];
      add_triplet(total, row_.positives()[i], chosen);
    }
    return total;
  }

  int64_t farthest_negative() const {
    const C* const negative = row_.negative();
    int64_t best = -1;
    for (int64_t m = 0; m < args_.items; ++m)
      if (!std::isinf(negative[m]) && (best < 0 || negative[m] > negative[best])) best = m;
    return best;
  }

  TripletSum hard() {
    TripletSum total{0, triplets(), 0};
    int64_t positive = 0;
    for (int64_t i = 1; i < row_.positive_count(); ++i)
      if (row_.reach()[i] > row_.reach()[positive]) positive = i;
    const C* const negative = row_.negative();
    add_triplet(total, row_.positives()[positive], std::min_element(negative, negative + args_.items) - negative);
    return total;
  }

  void add_triplet(TripletSum& total, int64_t positive, int64_t negative) {
    const T* const row = distances(anchor_);
    const double x = args_.margin + (double(C(load(row[positive]))) - double(C(load(row[negative]))));
    const MarginTerm<double> term = margin_term(args_.smooth, x);
    total.loss += term.value;
    total.nonzero += margin_counts(args_.smooth, x);
    slopes_[positive] += term.slope;
    slopes_[negative] -= term.slope;
  }

  // The triplets of this anchor, as far as their gradient falls on its own row.
  TripletSum all_swapped() {
    TripletSum total{0, triplets(), 0};
    clear_partial();
    for (int64_t i = 0; i < row_.positive_count(); ++i) {
      load_other(row_.positives()[i]);
      const MarginSum part =
          swap({row_.reach()[i], row_.negative(), other_.data(), partial_.data(), args_.items, args_.smooth, false});
      positive_slopes_[i] = part.slope;
      total.loss += part.loss;
      total.nonzero += part.nonzero;
      flush_partial(i);
    }
    flush_partial(-1);
    for (int64_t i = 0; i < row_.positive_count(); ++i) slopes_[row_.positives()[i]] += positive_slopes_[i];
    return total;
  }

  // Of the triplets whose positive this anchor is, the gradient by its distances to their negatives.
  void add_swapped() {
    load_other(anchor_);
    clear_partial();
    for (int64_t q = 0; q < args_.items; ++q) {
      if (relation(q)[anchor_] <= 0) continue;
      partner_.load_row(distances(q), relation(q), args_.margin);
      if (!partner_.finite()) continue;
      const C reach = C(args_.margin + double(C(load(distances(q)[anchor_]))));
      swap({reach, partner_.negative(), other_.data(), partial_.data(), args_.items, args_.smooth, true});
      flush_partial(q);
    }
    flush_partial(-1);
  }

  void load_other(int64_t row) {
    for (int64_t m = 0; m < args_.items; ++m) other_[m] = load(distances(row)[m]);
  }
  void clear_partial() { std::fill(partial_.begin(), partial_.end(), C(0)); }
  void flush_partial(int64_t step) {
    if (step >= 0 && step % 64 != 63) return;
    for (int64_t m = 0; m < args_.items; ++m) slopes_[m] -= double(partial_[m]);
    clear_partial();
  }

  MarginSum pairs(const MarginPairs<float>& run) const { return pairs_(run); }
  MarginSum pairs(const MarginPairs<double>& run) const { return pairs_scalar(run); }
  MarginSum swap(const MarginSwap<float>& run) const { return swap_(run); }
  MarginSum swap(const MarginSwap<double>& run) const { return swap_scalar(run); }

  TripletMargin args_;
  int64_t anchor_ = 0;
  AnchorRow<C> row_, partner_;
  std::vector<C> other_;    // (M) a row of distances
  std::vector<C> partial_;  // (M) slopes of the items over some positives
  std::vector<double> slopes_, positive_slopes_;
  std::vector<int32_t> places_, nearest_, counts_;
  // Chosen where used, so that the counts of variants tell what ran.
  MarginSum (*pairs_)(const MarginPairs<float>&);
  MarginSum (*swap_)(const MarginSwap<float>&);
};

// Anchors that share one thread's room: few enough to keep all threads busy.
int64_t block_anchors(int64_t anchors) { return std::clamp<int64_t>(anchors / 64, 1, 16); }

}  // namespace

MarginSum margin_pairs_scalar(const MarginPairs<float>& run) { return pairs_scalar(run); }
MarginSum margin_swap_scalar(const MarginSwap<float>& run) { return swap_scalar(run); }

int64_t triplet_margin_blocks(int64_t anchors) {
  return (anchors + block_anchors(anchors) - 1) / block_anchors(anchors);
}

void triplet_margin_cpu(const TripletMargin& args, int64_t block) {
  const int64_t step = block_anchors(args.anchors);
  for_float_dtype(args.dtype, [&](auto tag) {
    AnchorMargin<decltype(tag)> loss(args);
    for (int64_t anchor = block * step; anchor < std::min(args.anchors, (block + 1) * step); ++anchor) loss.run(anchor);
  });
}

TripletScale triplet_margin_scale(const TripletMargin& args) {
  TripletSum batch{0, 0, 0};
  for (int64_t anchor = 0; anchor < args.anchors; ++anchor) {
    batch.loss += args.sums[anchor].loss;
    batch.triplets += args.sums[anchor].triplets;
    batch.nonzero += args.sums[anchor].nonzero;
  }
  return margin_scale(batch, args.reduction);
}

void triplet_margin_rescale_cpu(const TripletMargin& args, double scale, int64_t block) {
  const int64_t step = block_anchors(args.anchors), begin = block * step * args.items;
  const int64_t end = std::min(args.anchors, (block + 1) * step) * args.items;
  if (args.dtype == Dtype::float64)
    for (int64_t i = begin; i < end; ++i) static_cast<double*>(args.gradient)[i] *= scale;
  else
    for (int64_t i = begin; i < end; ++i) static_cast<float*>(args.gradient)[i] *= float(scale);
}

}  // namespace fasthash
