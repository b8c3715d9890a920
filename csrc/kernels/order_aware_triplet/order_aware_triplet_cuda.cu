// SPDX-License-Identifier: Apache-2.0
// One block handles one anchor: it sorts the positives and, behind them, the negatives, each by rank; finds by
// bisection how many of the other side stand before each item; and goes over all pairs twice, so that each item's slope
// is summed by one thread (a negative) or one warp (a positive) in a fixed order, without atomics. A second kernel sums
// the anchors, a third scales the gradient.
#include <algorithm>

#include "common/bitonic.cuh"
#include "common/cuda.h"
#include "common/dispatch.h"
#include "common/warp.cuh"
#include "hamming_scan/hamming_math.h"
#include "order_aware_triplet/block_sort.cuh"
#include "order_aware_triplet/order_aware_triplet.h"
#include "order_aware_triplet/order_aware_triplet_math.h"

namespace fasthash {
namespace {

constexpr int threads = 256;
constexpr int warps = threads / kWarpSize;
constexpr int chunk = 64;  // terms that are added in the computing type before they go into a double
constexpr uint64_t negative_bit = uint64_t(1) << 63;

// The room of one anchor, all in the order positives by rank, negatives by rank, items left out.
template <class C>
struct Lists {
  uint64_t* keys;   // (M) side, Hamming distance, distance
  double* partial;  // (P) in the place of the keys: sums over the positives up to this one, of 1 / rank or of gains
  C *distance, *first, *second;  // (M) of positives, margin + distance
  C* gain;                       // (P) with gains only
  uint32_t* items;
  int32_t* before;  // (M) items of the other side that stand before
  // With average ranks only. Positives stand before the negatives that they tie with.
  int32_t* nearer;      // (M) positives of a smaller Hamming distance
  int32_t* tied;        // (M) items of the other side at the same one
  int32_t* twice_rank;  // (M)

  __device__ Lists(unsigned char* room, int64_t capacity, bool graded)
      : keys(reinterpret_cast<uint64_t*>(room)),
        partial(reinterpret_cast<double*>(room)),
        distance(reinterpret_cast<C*>(keys + capacity)),
        first(distance + capacity),
        second(first + capacity),
        gain(second + capacity),
        items(reinterpret_cast<uint32_t*>(graded ? gain + capacity : gain)),
        before(reinterpret_cast<int32_t*>(items + capacity)),
        nearer(before + capacity),
        tied(nearer + capacity),
        twice_rank(tied + capacity) {}
};

struct Counts {
  int positives, negatives;
  double highest_gain;  // 0 without gains
};

struct HigherGain {
  __device__ double operator()(double a, double b) const { return higher_gain(a, b); }
};

__device__ inline uint32_t hamming(const uint8_t* a, const uint8_t* b, int64_t bytes) {
  uint32_t distance = 0;
  for (int64_t i = 0; i < bytes; ++i) distance += uint32_t(word_distance(a[i], b[i]));
  return distance;
}

// One anchor, as seen by one thread of its block.
template <class T, bool squared, bool graded>
struct Anchor {
  using C = Compute<T>;

  const OrderAwareTriplet& args;
  Lists<C> lists;
  int64_t row;
  double* scratch;  // (kMaxWarps) shared

  __device__ const T* distances() const { return static_cast<const T*>(args.distances) + row * args.distance_stride; }
  __device__ C* gradient() const { return static_cast<C*>(args.gradient) + row * args.items; }
  __device__ bool weighted() const { return args.weighting != Weighting::none; }
  __device__ bool averaged() const { return weighted() && args.ties == Ties::mean; }

  // Keys of all items; without weights only the side and the index count.
  __device__ Counts make_keys() const {
    const int8_t* relation = args.relation + row * args.relation_stride;
    const CodeRows& codes = args.item_codes;
    const uint8_t* anchor_code = args.anchor_codes.data + row * args.anchor_codes.stride;
    double positives = 0, negatives = 0, highest = 0;
    for (int m = int(threadIdx.x); m < args.items; m += threads) {
      const int kind = relation[m];
      uint64_t key = kind > 0 ? 0 : negative_bit;
      if (weighted() && kind != 0) {
        key |= uint64_t(hamming(anchor_code, codes.data + m * codes.stride, codes.width)) << 32;
        key |= distance_key(float(load(distances()[m])));
      }
      lists.keys[m] = kind == 0 ? ~uint64_t(0) : key;
      lists.items[m] = uint32_t(m);
      positives += kind > 0;
      negatives += kind < 0;
      if (graded && kind > 0) highest = higher_gain(highest, gain_of_item(m));
    }
    return {int(block_reduce_sum(positives, scratch)), int(block_reduce_sum(negatives, scratch)),
            graded ? block_reduce(highest, HigherGain{}, 0.0, scratch) : 0.0};
  }

  __device__ double gain_of_item(int64_t item) const { return double(args.gains[row * args.gain_stride + item]); }
  // Of a positive.
  __device__ double gain_of(int i, Counts n) const {
    return graded ? relative_gain(gain_of_item(lists.items[i]), n.highest_gain) : 1.0;
  }

  __device__ void find_places(Counts n) const {
    for (int i = int(threadIdx.x); i < n.positives + n.negatives; i += threads) {
      const bool positive = i < n.positives;
      if (!weighted()) {  // every negative behind all positives
        lists.before[i] = positive ? 0 : n.positives;
        continue;
      }
      if (averaged()) {
        find_average(i, n);
        continue;
      }
      const int begin = positive ? n.positives : 0, count = positive ? n.negatives : n.positives;
      lists.before[i] =
          count_before(lists.keys + begin, lists.items + begin, count, lists.keys[i] ^ negative_bit, lists.items[i]);
    }
    __syncthreads();
  }

  // How many items of one side are nearer in Hamming distance than a key is, or at most as near as it.
  __device__ int count_nearer(bool positive, uint64_t key, bool as_near, Counts n) const {
    const int begin = positive ? 0 : n.positives, count = positive ? n.positives : n.negatives;
    const uint64_t first = (positive ? 0 : negative_bit) | (key & ~negative_bit) >> 32 << 32;
    const uint32_t last = 0xffffffffu;
    return count_before(lists.keys + begin, lists.items + begin, count, as_near ? first | last : first,
                        as_near ? last : 0u);
  }

  __device__ void find_average(int i, Counts n) const {
    const bool positive = i < n.positives;
    const uint64_t key = lists.keys[i];
    const int positives = count_nearer(true, key, false, n), negatives = count_nearer(false, key, false, n);
    const int tied_positives = count_nearer(true, key, true, n) - positives;
    const int tied_negatives = count_nearer(false, key, true, n) - negatives;
    lists.before[i] = positive ? negatives : positives + tied_positives;
    lists.nearer[i] = positives;
    lists.tied[i] = positive ? tied_negatives : tied_positives;
    lists.twice_rank[i] = 2 * (positives + negatives) + tied_positives + tied_negatives + 1;
  }

  __device__ double rank_of(int i, Counts n) const {
    if (averaged()) return 0.5 * double(lists.twice_rank[i]);
    return double((i < n.positives ? i : i - n.positives) + 1 + lists.before[i]);
  }

  // Overwrites the keys.
  __device__ void sum_positives_up(Counts n) const {
    double carried = 0;
    for (int begin = 0; begin < n.positives; begin += threads) {
      const int i = begin + int(threadIdx.x);
      const double term = i >= n.positives ? 0.0 : graded ? gain_of(i, n) : 1.0 / rank_of(i, n);
      const Scan<double> scan = block_exclusive_scan(term, scratch);
      if (i < n.positives) lists.partial[i] = carried + scan.before + term;
      carried += scan.total;
    }
    __syncthreads();
  }

  __device__ double partial_of(int positives) const { return positives ? lists.partial[positives - 1] : 0.0; }

  __device__ Potentials<double> potentials_of(int i, Counts n) const {
    const bool positive = i < n.positives;
    if (!weighted()) return unweighted_potentials(positive);
    const int count = averaged() ? lists.nearer[i] : positive ? i : lists.before[i];  // positives before it
    return item_potentials(args.weighting, partial_of(count), count, rank_value(args.weighting, rank_of(i, n)));
  }

  __device__ double share_of(int i, Counts n) const {
    const bool positive = i < n.positives;
    const int before = lists.before[i], behind = (positive ? n.negatives : n.positives) - before;
    const int tied = averaged() ? lists.tied[i] : 0;
    const Potentials<double> item = potentials_of(i, n);
    if (positive) return gain_of(i, n) * weight_share(true, item, before, behind - tied);
    if (!graded) return weight_share(false, item, before - tied, behind);
    return weight_share(false, item, partial_of(before - tied), partial_of(n.positives) - partial_of(before));
  }

  // The factor on the weights, whose sum over all pairs this thread knows a part of.
  __device__ double factor_of(double weights, Counts n) const {
    if (!weighted()) return 1.0;
    if (args.normalize)
      return weight_normalizer(block_reduce_sum(weights, scratch), double(n.positives) * double(n.negatives));
    if (graded) sort_gains(n);
    double ideal = 0;
    for (int i = int(threadIdx.x); i < n.positives; i += threads)
      ideal += rank_value(args.weighting, double(i + 1)) * (graded ? lists.partial[i] : 1.0);
    return weight_factor(args.weighting, double(n.positives), block_reduce_sum(ideal, scratch));
  }

  // Falling, in the place of the partial sums, which weights by NDCG need for their sum alone.
  __device__ void sort_gains(Counts n) const {
    __syncthreads();
    for (int i = int(threadIdx.x); i < n.positives; i += threads) lists.partial[i] = gain_of(i, n);
    bitonic_sort(n.positives, [&](int first, int second) {
      const double a = lists.partial[first], b = lists.partial[second];
      if (!(a < b)) return;
      lists.partial[first] = b;
      lists.partial[second] = a;
    });
  }

  __device__ void fill_lists(Counts n) const {
    double sum = 0;
    for (int i = int(threadIdx.x); i < n.positives + n.negatives; i += threads) sum += share_of(i, n);
    const double factor = factor_of(sum, n);
    for (int i = int(threadIdx.x); i < n.positives + n.negatives; i += threads) {
      const Potentials<double> item = potentials_of(i, n);
      const C distance = load(distances()[lists.items[i]]);
      lists.distance[i] = i < n.positives ? C(args.margin + double(distance)) : distance;
      lists.first[i] = C(item.first * factor);
      lists.second[i] = C(item.second * factor);
      if (graded && i < n.positives) lists.gain[i] = C(gain_of(i, n));
    }
    __syncthreads();
  }

  struct Pair {
    C weight, hinge, slope;
  };
  __device__ Pair pair(int positive, int negative, bool positive_first) const {
    C weight = pair_weight<C>(positive_first, {lists.first[positive], lists.second[positive]},
                              {lists.first[negative], lists.second[negative]});
    if (graded) weight *= lists.gain[positive];
    const C h = hinge<C>(lists.distance[positive] - lists.distance[negative]);
    return {weight, h, pair_slope<C>(squared, weight, h)};
  }

  // A thread for each negative.
  __device__ void sum_negatives(Counts n) const {
    for (int j = n.positives + int(threadIdx.x); j < n.positives + n.negatives; j += threads) {
      const int before = lists.before[j];
      double slope = 0;
      for (int begin = 0; begin < n.positives; begin += chunk) {
        const int end = begin + chunk < n.positives ? begin + chunk : n.positives;
        C part = 0;
        for (int i = begin; i < end; ++i) part += pair(i, j, i < before).slope;
        slope += double(part);
      }
      gradient()[lists.items[j]] = C(-slope);
    }
  }

  // A warp for each positive. Returns what this thread saw of the loss and of the hinges above zero.
  __device__ TripletSum sum_positives(Counts n) const {
    TripletSum total{0, 0, 0};
    for (int i = warp_of_thread(); i < n.positives; i += warps) {
      double slope = 0;
      for (int begin = 0; begin < n.negatives; begin += chunk * kWarpSize) {
        const int end = begin + chunk * kWarpSize < n.negatives ? begin + chunk * kWarpSize : n.negatives;
        C part = 0, loss = 0;
        for (int j = begin + lane_of_thread(); j < end; j += kWarpSize) {
          const Pair at = pair(i, n.positives + j, j >= lists.before[i]);
          part += at.slope;
          loss += (squared ? at.slope : at.weight) * at.hinge;
          total.nonzero += at.hinge > C(0);
        }
        slope += double(part);
        total.loss += double(loss);
      }
      slope = warp_reduce_sum(slope);
      if (lane_of_thread() == 0) gradient()[lists.items[i]] = C(slope);
    }
    return total;
  }

  __device__ TripletSum run() const {
    const Counts n = make_keys();
    block_sort(lists.keys, lists.items, int(args.items));
    const int first_ignored = n.positives && n.negatives ? n.positives + n.negatives : 0;
    for (int i = first_ignored + int(threadIdx.x); i < args.items; i += threads) gradient()[lists.items[i]] = C(0);
    if (first_ignored == 0) return {0, 0, 0};
    find_places(n);
    if (weighted()) sum_positives_up(n);
    fill_lists(n);
    sum_negatives(n);
    TripletSum sum = sum_positives(n);
    sum.loss = block_reduce_sum(sum.loss, scratch);
    sum.nonzero = int64_t(block_reduce_sum(double(sum.nonzero), scratch));  // exact up to 2^53
    sum.triplets = int64_t(n.positives) * n.negatives;
    return sum;
  }
};

// A block goes over anchors with the stride of the grid. Its room is shared memory, or, with `rooms`, global memory.
template <class T, bool squared, bool graded>
__global__ void __launch_bounds__(threads)
    anchors_kernel(OrderAwareTriplet args, TripletSum* sums, unsigned char* rooms, int64_t room_bytes) {
  FH_DYNAMIC_SHARED(unsigned char, shared);
  FH_SHARED(double[kMaxWarps], scratch);
  unsigned char* room = rooms ? rooms + blockIdx.x * room_bytes : shared;
  for (int64_t row = blockIdx.x; row < args.anchors; row += gridDim.x) {
    const Anchor<T, squared, graded> anchor{args, Lists<Compute<T>>(room, args.items, graded), row, scratch};
    const TripletSum sum = anchor.run();
    if (threadIdx.x == 0) sums[row] = sum;
    __syncthreads();  // before the next anchor takes the room
  }
}

template <class C>
__global__ void __launch_bounds__(threads)
    batch_kernel(OrderAwareTriplet args, const TripletSum* sums, TripletScale* scale, C* loss) {
  FH_SHARED(double[kMaxWarps], scratch);
  double batch_loss = 0, triplets = 0, nonzero = 0;
  for (int64_t i = threadIdx.x; i < args.anchors; i += threads) {
    batch_loss += sums[i].loss;
    triplets += double(sums[i].triplets);
    nonzero += double(sums[i].nonzero);
  }
  batch_loss = block_reduce_sum(batch_loss, scratch);
  triplets = block_reduce_sum(triplets, scratch);
  nonzero = block_reduce_sum(nonzero, scratch);
  if (threadIdx.x != 0) return;
  *scale = triplet_scale({batch_loss, int64_t(triplets), int64_t(nonzero)}, args.reduction, args.squared);
  *loss = C(scale->loss);
}

template <class C>
__global__ void __launch_bounds__(threads) rescale_kernel(C* gradient, int64_t count, const TripletScale* scale) {
  const C factor = C(scale->gradient);
  for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < count; i += int64_t(gridDim.x) * threads)
    gradient[i] *= factor;
}

template <class T>
cudaError_t launch_all(const OrderAwareTriplet& args, void* loss, unsigned char* workspace, cudaStream_t stream) {
  using C = Compute<T>;
  TripletSum* sums = reinterpret_cast<TripletSum*>(workspace);
  TripletScale* scale = reinterpret_cast<TripletScale*>(sums + args.anchors);
  const int64_t room = triplet_cuda_room_bytes(args);
  const bool shared = room <= triplet_cuda_shared_bytes;
  const int64_t rooms = shared ? args.anchors : std::min(args.anchors, triplet_cuda_max_rooms);
  unsigned char* memory = shared ? nullptr : workspace + order_aware_triplet_cuda_workspace(args) - rooms * room;
  const auto kernel = args.gains     ? args.squared ? anchors_kernel<T, true, true> : anchors_kernel<T, false, true>
                      : args.squared ? anchors_kernel<T, true, false>
                                     : anchors_kernel<T, false, false>;
  const unsigned grid = unsigned(std::min<int64_t>(rooms, 1 << 30));
  cudaError_t error = launch(kernel, grid, threads, shared ? size_t(room) : 0, stream, args, sums, memory, room);
  if (error != cudaSuccess) return error;
  error = launch(batch_kernel<C>, 1, threads, 0, stream, args, sums, scale, static_cast<C*>(loss));
  if (error != cudaSuccess) return error;
  const int64_t count = args.anchors * args.items;
  const unsigned blocks = unsigned(std::min<int64_t>((count + threads - 1) / threads, 4096));
  return launch(rescale_kernel<C>, blocks, threads, 0, stream, static_cast<C*>(args.gradient), count, scale);
}

}  // namespace

int order_aware_triplet_cuda(const OrderAwareTriplet& args, void* loss, void* workspace, void* stream) {
  return for_float_dtype(args.dtype, [&](auto tag) {
    return int(launch_all<decltype(tag)>(args, loss, static_cast<unsigned char*>(workspace),
                                         static_cast<cudaStream_t>(stream)));
  });
}

}  // namespace fasthash
