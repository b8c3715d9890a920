// SPDX-License-Identifier: Apache-2.0
// One block handles one anchor: it sorts the positives and, behind them, the negatives, each by distance, and then
// finds by bisection where an item stands among the other side. A hinge's slope is a count of items, and an item is
// chosen by a run of the other side, so each slope is summed by one thread (or one warp) in a fixed order, without
// atomics. Smooth terms and swaps go over the pairs. A second kernel sums the anchors, a third scales the gradient.
#include <algorithm>

#include "common/bitonic.cuh"
#include "common/cuda.h"
#include "common/dispatch.h"
#include "common/warp.cuh"
#include "triplet_margin/triplet_margin.h"
#include "triplet_margin/triplet_margin_math.h"

namespace fasthash {
namespace {

constexpr int threads = 256;
constexpr int warps = threads / kWarpSize;
constexpr int chunk = 64;  // terms that are added in the computing type before they go into a double
constexpr int side_bit = 28;
constexpr uint32_t item_mask = (1u << side_bit) - 1;
enum Side : uint32_t { positive_side, negative_side, no_side };

// The room of one anchor, all in the order positives by distance, negatives by distance, items left out.
template <class C>
struct Lists {
  C* distance;      // (M)
  uint32_t* items;  // (M) side << side_bit | item, and after sorting the item alone

  __device__ Lists(unsigned char* room, int64_t capacity)
      : distance(reinterpret_cast<C*>(room)), items(reinterpret_cast<uint32_t*>(distance + capacity)) {}

  __device__ void order(int first, int second) const {
    const uint32_t i = items[first], j = items[second];
    const C a = distance[first], b = distance[second];
    const uint32_t side = i >> side_bit, other = j >> side_bit;
    if (side < other || (side == other && (a < b || (a == b && i < j)))) return;
    distance[first] = b;
    distance[second] = a;
    items[first] = j;
    items[second] = i;
  }
};

struct Counts {
  int positives, negatives, undefined;
};

// The first place in [begin, end) for which `behind` holds, as it does from there on.
template <class Behind>
__device__ inline int first_place(int begin, int end, Behind&& behind) {
  while (begin < end) {
    const int middle = (begin + end) / 2;
    if (behind(middle))
      end = middle;
    else
      begin = middle + 1;
  }
  return begin;
}

// Adds f(i) for i in [begin, end) with a stride: in C over a chunk, then in double.
template <class C, class F>
__device__ inline double chunked_sum(int begin, int end, int stride, F&& f) {
  double total = 0;
  for (int first = begin; first < end; first += chunk * stride) {
    const int last = first + chunk * stride < end ? first + chunk * stride : end;
    C part = 0;
    for (int i = first; i < last; i += stride) part += f(i);
    total += double(part);
  }
  return total;
}

// One anchor, as seen by one thread of its block.
template <class T>
struct Anchor {
  using C = Compute<T>;

  const TripletMargin& args;
  Lists<C> lists;
  int64_t row;
  const uint8_t* finite;  // (A) with swap: whether a row has finite distances at its positives and negatives
  double* scratch;        // (kMaxWarps) shared

  __device__ C at(int64_t r, int64_t m) const {
    return load(static_cast<const T*>(args.distances)[r * args.distance_stride + m]);
  }
  __device__ int kind(int64_t r, int64_t m) const { return args.relation[r * args.relation_stride + m]; }
  __device__ C* gradient() const { return static_cast<C*>(args.gradient) + row * args.items; }
  __device__ C reach(C distance) const { return C(args.margin + double(distance)); }

  // Lists of all items, and zeros in the gradient.
  __device__ Counts make_lists() const {
    double positives = 0, negatives = 0, undefined = 0;
    for (int m = int(threadIdx.x); m < args.items; m += threads) {
      const int related = kind(row, m);
      const C distance = at(row, m);
      const bool ok = margin_finite(distance);
      const Side side = related > 0 ? positive_side : related < 0 ? negative_side : no_side;
      lists.distance[m] = side == no_side || !ok ? C(0) : distance;
      lists.items[m] = uint32_t(side) << side_bit | uint32_t(m);
      gradient()[m] = C(0);
      positives += related > 0;
      negatives += related < 0;
      undefined += related != 0 && !ok;
    }
    return {int(block_reduce_sum(positives, scratch)), int(block_reduce_sum(negatives, scratch)),
            int(block_reduce_sum(undefined, scratch))};
  }

  __device__ void sort_lists() const {
    bitonic_sort(int(args.items), [&](int first, int second) { lists.order(first, second); });
    for (int i = int(threadIdx.x); i < args.items; i += threads) lists.items[i] &= item_mask;
    __syncthreads();
  }

  __device__ double undefined() const {
    for (int m = int(threadIdx.x); m < args.items; m += threads)
      if (kind(row, m) != 0) gradient()[m] = C(NAN);
    return threadIdx.x == 0 ? double(NAN) : 0.0;
  }

  __device__ TripletSum all_hinges(Counts n) const {
    TripletSum total{0, 0, 0};
    const int end = n.positives + n.negatives;
    for (int i = int(threadIdx.x); i < end; i += threads) {
      const C distance = lists.distance[i];
      int count;
      if (i < n.positives) {
        const C far = reach(distance);
        count = first_place(n.positives, end, [&](int j) { return lists.distance[j] >= far; }) - n.positives;
        total.loss += double(count) * (args.margin + double(distance));
        total.nonzero += count;
      } else {
        count = first_place(0, n.positives, [&](int j) { return reach(lists.distance[j]) > distance; }) - n.positives;
        total.loss += double(count) * double(distance);
      }
      gradient()[lists.items[i]] = C(count);
    }
    return total;
  }

  // The term of a positive and a negative by their places.
  __device__ MarginTerm<C> smooth_pair(int positive, int negative) const {
    return margin_term<C>(true, reach(lists.distance[positive]) - lists.distance[negative]);
  }

  __device__ TripletSum all_smooth(Counts n) const {
    TripletSum total{0, 0, 0};
    const int end = n.positives + n.negatives;
    for (int j = n.positives + int(threadIdx.x); j < end; j += threads)
      gradient()[lists.items[j]] =
          C(-chunked_sum<C>(0, n.positives, 1, [&](int i) { return smooth_pair(i, j).slope; }));
    for (int i = warp_of_thread(); i < n.positives; i += warps) {
      const int begin = n.positives + lane_of_thread();
      const double slope = chunked_sum<C>(begin, end, kWarpSize, [&](int j) { return smooth_pair(i, j).slope; });
      total.loss += chunked_sum<C>(begin, end, kWarpSize, [&](int j) { return smooth_pair(i, j).value; });
      const double sum = warp_reduce_sum(slope);
      if (lane_of_thread() == 0) gradient()[lists.items[i]] = C(sum);
    }
    if (threadIdx.x == 0) total.nonzero = int64_t(n.positives) * n.negatives;
    return total;
  }

  __device__ double chosen_x(C positive, C negative) const {
    return args.margin + (double(positive) - double(negative));
  }

  // Negatives of one distance are chosen by a run of positives, or by two that end the list: the first of them gets it.
  __device__ TripletSum semi_hard(Counts n) const {
    TripletSum total{0, 0, 0};
    const C* distance = lists.distance;
    const int end = n.positives + n.negatives;
    const C farthest = distance[end - 1];
    for (int i = int(threadIdx.x); i < n.positives; i += threads) {
      const int place = first_place(n.positives, end, [&](int j) { return distance[j] > distance[i]; });
      const double x = chosen_x(distance[i], place < end ? distance[place] : farthest);
      const MarginTerm<double> term = margin_term(args.smooth, x);
      total.loss += term.value;
      total.nonzero += margin_counts(args.smooth, x);
      gradient()[lists.items[i]] = C(term.slope);
    }
    for (int j = n.positives + int(threadIdx.x); j < end; j += threads) {
      const C here = distance[j];
      const bool first = j == n.positives;
      if (!first && distance[j - 1] == here) continue;
      const int begin = first ? 0 : first_place(0, n.positives, [&](int i) { return distance[i] >= distance[j - 1]; });
      const int last =
          here == farthest ? n.positives : first_place(0, n.positives, [&](int i) { return distance[i] >= here; });
      double slope = 0;
      for (int i = begin; i < last; ++i) slope += margin_term(args.smooth, chosen_x(distance[i], here)).slope;
      gradient()[lists.items[j]] = C(-slope);
    }
    return total;
  }

  __device__ TripletSum hard(Counts n) const {
    if (threadIdx.x != 0) return {0, 0, 0};
    const C farthest = lists.distance[n.positives - 1], nearest = lists.distance[n.positives];
    const int positive = first_place(0, n.positives, [&](int i) { return lists.distance[i] == farthest; });
    const double x = chosen_x(farthest, nearest);
    const MarginTerm<double> term = margin_term(args.smooth, x);
    gradient()[lists.items[positive]] = C(term.slope);
    gradient()[lists.items[n.positives]] = C(-term.slope);
    return {term.value, 0, margin_counts(args.smooth, x)};
  }

  __device__ C smaller(C a, C b) const { return a < b ? a : b; }

  // The term of positive p and negative m of this anchor, where the smaller of two distances counts.
  __device__ MarginTerm<C> swap_pair(int p, int m, C* x) const {
    *x = reach(at(row, p)) - smaller(at(row, m), at(p, m));
    return margin_term<C>(args.smooth, *x);
  }

  __device__ TripletSum all_swapped(Counts n) const {
    TripletSum total{0, 0, 0};
    const int end = n.positives + n.negatives;
    C x;
    for (int j = n.positives + int(threadIdx.x); j < end; j += threads) {
      const int m = int(lists.items[j]);
      gradient()[m] = C(-chunked_sum<C>(0, n.positives, 1, [&](int i) {
        const int p = int(lists.items[i]);
        return swap_pair(p, m, &x).slope * swap_share(at(row, m), at(p, m));
      }));
    }
    for (int i = warp_of_thread(); i < n.positives; i += warps) {
      const int p = int(lists.items[i]), begin = n.positives + lane_of_thread();
      const double slope = chunked_sum<C>(begin, end, kWarpSize, [&](int j) {
        const MarginTerm<C> term = swap_pair(p, int(lists.items[j]), &x);
        total.nonzero += margin_counts(args.smooth, x);
        return term.slope;
      });
      total.loss +=
          chunked_sum<C>(begin, end, kWarpSize, [&](int j) { return swap_pair(p, int(lists.items[j]), &x).value; });
      const double sum = warp_reduce_sum(slope);
      if (lane_of_thread() == 0) gradient()[p] = C(sum);
    }
    return total;
  }

  // Of the triplets whose positive this anchor is, the gradient by its distances to their negatives.
  __device__ void add_swapped() const {
    for (int m = int(threadIdx.x); m < args.items; m += threads) {
      const C own = at(row, m);
      const double slope = chunked_sum<C>(0, int(args.items), 1, [&](int q) {
        if (kind(q, row) <= 0 || kind(q, m) >= 0 || !finite[q]) return C(0);
        const C other = at(q, m);
        const C x = reach(at(q, row)) - smaller(own, other);
        return margin_term<C>(args.smooth, x).slope * swap_share(own, other);
      });
      gradient()[m] = C(double(gradient()[m]) - slope);
    }
  }

  __device__ TripletSum mined(Counts n) const {
    if (n.undefined) return {undefined(), 0, 0};
    sort_lists();
    if (args.mining == Mining::semi_hard) return semi_hard(n);
    if (args.mining == Mining::hard) return hard(n);
    if (args.swap) return all_swapped(n);
    return args.smooth ? all_smooth(n) : all_hinges(n);
  }

  __device__ TripletSum run() const {
    const Counts n = make_lists();
    TripletSum sum{0, 0, 0};
    if (n.positives && n.negatives) {
      sum = mined(n);
      sum.loss = block_reduce_sum(sum.loss, scratch);
      sum.nonzero = int64_t(block_reduce_sum(double(sum.nonzero), scratch));  // exact up to 2^53
      sum.triplets =
          args.mining == Mining::hard ? 1 : int64_t(n.positives) * (args.mining == Mining::all ? n.negatives : 1);
    }
    __syncthreads();
    if (args.swap) add_swapped();
    return sum;
  }
};

template <class T>
__global__ void __launch_bounds__(threads) finite_kernel(TripletMargin args, uint8_t* finite) {
  FH_SHARED(double[kMaxWarps], scratch);
  for (int64_t row = blockIdx.x; row < args.anchors; row += gridDim.x) {
    double undefined = 0;
    for (int64_t m = threadIdx.x; m < args.items; m += threads) {
      const Compute<T> distance = load(static_cast<const T*>(args.distances)[row * args.distance_stride + m]);
      undefined += args.relation[row * args.relation_stride + m] != 0 && !margin_finite(distance);
    }
    undefined = block_reduce_sum(undefined, scratch);
    if (threadIdx.x == 0) finite[row] = undefined == 0;
  }
}

// A block goes over anchors with the stride of the grid. Its room is shared memory, or, with `rooms`, global memory.
template <class T>
__global__ void __launch_bounds__(threads) margin_kernel(TripletMargin args, TripletSum* sums, const uint8_t* finite,
                                                         unsigned char* rooms, int64_t room_bytes) {
  FH_DYNAMIC_SHARED(unsigned char, shared);
  FH_SHARED(double[kMaxWarps], scratch);
  unsigned char* room = rooms ? rooms + blockIdx.x * room_bytes : shared;
  for (int64_t row = blockIdx.x; row < args.anchors; row += gridDim.x) {
    const Anchor<T> anchor{args, Lists<Compute<T>>(room, args.items), row, finite, scratch};
    const TripletSum sum = anchor.run();
    if (threadIdx.x == 0) sums[row] = sum;
    __syncthreads();  // before the next anchor takes the room
  }
}

template <class C>
__global__ void __launch_bounds__(threads)
    margin_batch_kernel(TripletMargin args, const TripletSum* sums, TripletScale* scale, C* loss) {
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
  *scale = margin_scale({batch_loss, int64_t(triplets), int64_t(nonzero)}, args.reduction);
  *loss = C(scale->loss);
}

template <class C>
__global__ void __launch_bounds__(threads)
    margin_rescale_kernel(C* gradient, int64_t count, const TripletScale* scale) {
  const C factor = C(scale->gradient);
  for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < count; i += int64_t(gridDim.x) * threads)
    gradient[i] *= factor;
}

template <class T>
cudaError_t launch_all(const TripletMargin& args, void* loss, unsigned char* workspace, cudaStream_t stream) {
  using C = Compute<T>;
  TripletSum* sums = reinterpret_cast<TripletSum*>(workspace);
  TripletScale* scale = reinterpret_cast<TripletScale*>(sums + args.anchors);
  uint8_t* finite = reinterpret_cast<uint8_t*>(scale + 1);
  const int64_t room = margin_cuda_room_bytes(args);
  const bool shared = room <= margin_cuda_shared_bytes;
  const int64_t rooms = shared ? args.anchors : std::min(args.anchors, margin_cuda_max_rooms);
  unsigned char* memory = shared ? nullptr : workspace + triplet_margin_cuda_workspace(args) - rooms * room;
  const unsigned grid = unsigned(std::min<int64_t>(rooms, 1 << 30));
  cudaError_t error = cudaSuccess;
  if (args.swap) error = launch(finite_kernel<T>, grid, threads, 0, stream, args, finite);
  if (error != cudaSuccess) return error;
  error = launch(margin_kernel<T>, grid, threads, shared ? size_t(room) : 0, stream, args, sums, finite, memory, room);
  if (error != cudaSuccess) return error;
  error = launch(margin_batch_kernel<C>, 1, threads, 0, stream, args, sums, scale, static_cast<C*>(loss));
  if (error != cudaSuccess) return error;
  const int64_t count = args.anchors * args.items;
  const unsigned blocks = unsigned(std::min<int64_t>((count + threads - 1) / threads, 4096));
  return launch(margin_rescale_kernel<C>, blocks, threads, 0, stream, static_cast<C*>(args.gradient), count, scale);
}

}  // namespace

int triplet_margin_cuda(const TripletMargin& args, void* loss, void* workspace, void* stream) {
  return for_float_dtype(args.dtype, [&](auto tag) {
    return int(launch_all<decltype(tag)>(args, loss, static_cast<unsigned char*>(workspace),
                                         static_cast<cudaStream_t>(stream)));
  });
}

}  // namespace fasthash
