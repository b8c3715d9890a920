// SPDX-License-Identifier: Apache-2.0
// Gathers by matrix products of bits on the tensor cores of sm_90a: 128 queries, 64 for each of two warpgroups, against
// tiles of 128 codes. Products are compared where they arise, in registers; what a pair costs there is what matters, so
// each kind of width has its own form, a sum of ANDs over 256 bits at a time:
//
//   narrow (<= 64 bits)   [a, ~a, 1...1] [~q, q, t ones] = distance + t with t = 127 - reach: near where bit 7 is zero,
//                         which an AND of all products of a thread tells, half an instruction a pair
//   direct (<= 128 bits)  [a, ~a] [~q, q] = distance: one minimum a pair
//   wide                  a q, of which |a| + |q| - 2 a q is the distance: one multiplication and one maximum a pair
//
// Not run on a device. Prediction: 16384 pairs of bits a cycle and multiprocessor, that is 64 pairs of codes up to 256
// bits a cycle, or 14.8 T pairs/s on an H200. Two blocks to a multiprocessor overlap the one with the other; chunks of
// wide codes overlap with one another, since a stage is written again only two products later.
#include <type_traits>

#include "common/cuda.h"
#include "common/warp.cuh"
#include "common/wgmma.cuh"
#include "hamming_scan/hamming_words.cuh"
#include "hamming_scan/segments.h"
#include "hamming_topk/hamming_gather.cuh"

namespace fasthash {
namespace {

enum class Form { narrow, direct, wide };

constexpr int group_threads = 128, groups = 2, threads = groups * group_threads;
constexpr int tile_queries = groups * 64, tile_rows = 128, stages = 3;
constexpr int chunk_words = 4;                            // the 256 bits of one product
constexpr int chunk_bytes = tile_rows * chunk_words * 8;  // of codes, or of as many queries
constexpr int near_bit = 128;                             // narrow: in every sum whose distance is beyond reach
static_assert(tile_queries == tile_rows && threads == 2 * tile_rows);

// Word w of a code with zeros beyond its last one.
template <class Words>
__device__ inline uint64_t word_or_zero(const Words& codes, int64_t n, int64_t w, int64_t words) {
  return w < words ? uint64_t(codes(n, w)) : 0;
}

// The lowest `count` bits, of any count.
__device__ inline uint64_t low_bits(int64_t count) {
  return count <= 0 ? 0 : count >= 64 ? ~uint64_t(0) : (uint64_t(1) << count) - 1;
}

// The bits of word w that a code of `width` bytes has.
__device__ inline uint64_t bits_of_word(int64_t width, int64_t w) { return low_bits(8 * (width - 8 * w)); }

struct Half {
  uint64_t low, high;
};
// 16 bytes of row `row` of a chunk.
__device__ inline void store_half(uint8_t* chunk, int half, int row, const Half& words) {
  uint64_t* const at = reinterpret_cast<uint64_t*>(chunk + BitRows::place(tile_rows, half, row));
  *reinterpret_cast<ulonglong2*>(at) = make_ulonglong2(words.low, words.high);
}

// The queries of a block in shared memory, and what a thread knows of its two rows of products.
template <Form kForm>
struct Queries {
  __device__ Queries(const Gathering& args, int64_t first, int64_t chunks, uint8_t* memory)
      : args_(args), first_(first), rows_{args.queries} {
    const int row = int(threadIdx.x) / 2, half = int(threadIdx.x) % 2;
    for (int64_t chunk = 0; chunk < chunks; ++chunk)
      store_half(memory + chunk * chunk_bytes, half, row, half_of(row, chunk, half));
    const int rank = int(threadIdx.x) % group_threads;
    for (int i = 0; i < 2; ++i) {
      const int own = int(threadIdx.x) / group_threads * 64 + product_row(rank, 2 * i);
      query[i] = first + own;
      reach[i] = reach_of(own);
      ones[i] = kForm == Form::wide ? count_ones(query[i]) : 0;
    }
  }

  int64_t query[2];
  int32_t reach[2];  // -1 where there is no such query
  int32_t ones[2];   // |q|

 private:
  __device__ int32_t reach_of(int row) const {
    return first_ + row < args_.queries.count ? args_.reach_of(first_ + row) : -1;
  }
  __device__ Half half_of(int row, int64_t chunk, int half) const {
    const int64_t words = words_of(args_.queries.width), query = first_ + row;
    const auto word = [&](int64_t w) {
      return query < args_.queries.count ? word_or_zero(rows_, query, w, words) : uint64_t(0);
    };
    if constexpr (kForm == Form::wide) {
      const int64_t w = chunk * chunk_words + half * 2;
      return {word(w), word(w + 1)};
    } else if constexpr (kForm == Form::direct) {
      if (half == 1) return {word(0), word(1)};
      return {~word(0) & bits_of_word(args_.queries.width, 0), ~word(1) & bits_of_word(args_.queries.width, 1)};
    } else {
      if (half == 0) return {~word(0) & bits_of_word(args_.queries.width, 0), word(0)};
      const int64_t added = near_bit - 1 - reach_of(row);
      return {low_bits(added), low_bits(added - 64)};
    }
  }
  __device__ int32_t count_ones(int64_t query) const {
    int32_t sum = 0;
    for (int64_t w = 0; w < words_of(args_.queries.width) && query < args_.queries.count; ++w)
      sum += popcount(rows_(query, w));
    return sum;
  }

  const Gathering& args_;
  int64_t first_;
  RowWords<uint64_t, uint8_t> rows_;
};

// The words of codes, two steps before they are stored: nothing waits for memory where it is asked. A step is a chunk
// of a tile.
template <Form kForm, class Words>
class Reader {
 public:
  __device__ Reader(const Words& codes, int64_t begin, int64_t end, int64_t words, int chunks, int row, int half)
      : codes_(codes), begin_(begin), end_(end), words_(words), at_(begin + row), chunks_(chunks), half_(half) {
    next_ = read();
    after_ = read();
  }

  // The half of this step's chunk that the thread stores.
  __device__ Half now() const {
    if (kForm == Form::narrow) return {next_.low, ~next_.low};
    return kForm == Form::direct && half_ == 1 ? Half{~next_.low, ~next_.high} : next_;
  }
  // Behind the fence, which would wait for what is asked before it.
  __device__ void step() {
    next_ = after_;
    after_ = read();
  }

 private:
  __device__ Half read() {
    const int64_t n = at_ < end_ ? at_ : begin_;
    const int64_t w = kForm == Form::wide ? chunk_ * chunk_words + half_ * 2 : 0;
    const Half words{word_or_zero(codes_, n, w, words_),
                     kForm == Form::narrow ? 0 : word_or_zero(codes_, n, w + 1, words_)};
    if (kForm == Form::wide && ++chunk_ < chunks_) return words;
    chunk_ = 0;
    at_ += tile_rows;
    return words;
  }

  const Words& codes_;
  int64_t begin_, end_, words_, at_;
  int chunks_, half_, chunk_ = 0;
  Half next_{}, after_{};
};

constexpr int part = 8;  // products that are looked at one by one where any of them is near

// Whether any of `part` products of a thread, from `first` on, is near; all are multiples of `part`, so that rows and
// columns fall alike. Those of wide codes become distances less |q|.
template <Form kForm>
__device__ inline bool any_near(int32_t (&d)[64], int first, const Queries<kForm>& queries, const int32_t* ones,
                                int rank) {
  if constexpr (kForm == Form::narrow) {
    int32_t all = near_bit;
#pragma unroll
    for (int i = first; i < first + part; ++i) all &= d[i];
    return all == 0;
  } else {
    int32_t least[2] = {INT32_MAX, INT32_MAX};
#pragma unroll
    for (int i = first; i < first + part; ++i) {
      if (kForm == Form::wide) d[i] = ones[product_column(rank, i)] - 2 * d[i];
      least[i / 2 % 2] = min(least[i / 2 % 2], d[i]);
    }
    return least[0] <= queries.reach[0] - queries.ones[0] || least[1] <= queries.reach[1] - queries.ones[1];
  }
}

// What a warp has found and not yet appended: an addition to a list in global memory takes so long that a tile of
// products would wait for it.
class Found {
 public:
  static constexpr int room = 128, full = 96;
  struct Memory {
    int32_t count;
    int32_t place[room], query[room], distance[room];
  };

  __device__ explicit Found(Memory* memory) : memory_(memory) {
    if (lane_of_thread() == 0) memory_->count = 0;
    __syncwarp();
  }

  // By any lanes, at any time.
  __device__ void add(const Gathering& args, int64_t query, int64_t n, int32_t distance) {
    const int at = atomicAdd(&memory_->count, 1);
    if (at >= room) return args.append(query, n, distance);
    memory_->place[at] = int32_t(n);
    memory_->query[at] = int32_t(query);
    memory_->distance[at] = distance;
  }

  // By the whole warp.
  __device__ void append(const Gathering& args, int least) {
    __syncwarp();
    const int count = memory_->count < room ? memory_->count : room;
    if (count < least) return;
    for (int i = lane_of_thread(); i < count; i += kWarpSize)
      args.append(memory_->query[i], memory_->place[i], memory_->distance[i]);
    __syncwarp();
    if (lane_of_thread() == 0) memory_->count = 0;
    __syncwarp();
  }

 private:
  Memory* memory_;
};

template <Form kForm>
__device__ inline int32_t distance_of(int32_t product, int32_t reach, int32_t ones) {
  if constexpr (kForm == Form::narrow) return product - (near_bit - 1 - reach);
  return product + ones;
}

template <class Words, Form kForm>
__global__ void __launch_bounds__(threads, 2)
    gather_tensor_kernel(Gathering args, Words codes, int64_t segment_codes, int chunks) {
  FH_DYNAMIC_SHARED(uint8_t, memory);         // (chunks) of queries, (stages) of codes
  FH_SHARED(int32_t[2][tile_rows], ones_of);  // |a| by tile
  FH_SHARED(Found::Memory[threads / kWarpSize], found_memory);
  uint8_t* const held = memory + chunks * chunk_bytes;
  const int64_t begin = int64_t(blockIdx.y) * segment_codes, past = begin + segment_codes;
  const int64_t end = past < args.database.count ? past : args.database.count;
  const int64_t words = words_of(args.database.width);
  const int thread = int(threadIdx.x), rank = thread % group_threads, group = thread / group_threads;
  const int row = thread / 2, half = thread % 2;
  const Queries<kForm> queries(args, int64_t(blockIdx.x) * tile_queries, chunks, memory);
  const bool stores = kForm != Form::narrow || half == 0;
  if (kForm == Form::narrow && half == 1)
    for (int i = 0; i < stages; ++i) store_half(held + i * chunk_bytes, 1, row, {~uint64_t(0), ~uint64_t(0)});
  Reader<kForm, Words> reader(codes, begin, end, words, chunks, row, half);
  BitProducts products(rank);
  Found found(&found_memory[warp_of_thread()]);
  int32_t d[64] = {};
  int32_t ones = 0;
  int stage = 0, parity = 0;
  const auto multiply = [&](int chunk) {
    const Half own = reader.now();
    if (stores) store_half(held + stage * chunk_bytes, half, row, own);
    if constexpr (kForm == Form::wide) {
      ones = (chunk == 0 ? 0 : ones) + popcount(own.low) + popcount(own.high);
      const int32_t both = ones + __shfl_xor_sync(kFullWarp, ones, 1);
      if (chunk + 1 == chunks && half == 0) ones_of[parity][row] = both;
    }
    BitProducts::fence_shared();
    __syncthreads();
    const uint8_t* const rows = memory + chunk * chunk_bytes + group * 64 * 16;
    products.multiply(d, {rows, tile_queries}, {held + stage * chunk_bytes, tile_rows}, chunk > 0);
    stage = stage + 1 == stages ? 0 : stage + 1;
    reader.step();
  };
  for (int64_t tile = begin; tile < end; tile += tile_rows, parity ^= 1) {
    for (int chunk = 0; kForm == Form::wide && chunk + 1 < chunks; ++chunk) {
      multiply(chunk);
      products.wait_for_one_before();
    }
    multiply(kForm == Form::wide ? chunks - 1 : 0);
    products.wait(d);
    unsigned near = 0;
#pragma unroll
    for (int i = 0; i < 64; i += part) near |= unsigned(any_near(d, i, queries, ones_of[parity], rank)) << (i / part);
    if (!__any_sync(kFullWarp, near != 0)) continue;
#pragma unroll
    for (int first = 0; first < 64; first += part) {
      if ((near >> (first / part) & 1) == 0) continue;
#pragma unroll
      for (int i = first; i < first + part; ++i) {
        const int own = i / 2 % 2;
        const int64_t n = tile + product_column(rank, i);
        const int32_t distance = distance_of<kForm>(d[i], queries.reach[own], queries.ones[own]);
        if (distance <= queries.reach[own] && n < end && is_allowed(args.allow, n))
          found.add(args, queries.query[own], n, distance);
      }
    }
    found.append(args, Found::full);
  }
  found.append(args, 1);
}

template <Form kForm, class Words>
cudaError_t launch_tensor(const Gathering& args, const Words& words, int chunks, cudaStream_t stream) {
  constexpr int64_t blocks = 1 << 12, least_codes = 32 * tile_rows;
  const auto kernel = gather_tensor_kernel<Words, kForm>;
#if !defined(FASTHASH_CUDA_ON_CPU)
  cudaFuncAttributes built{};
  const cudaError_t error = cudaFuncGetAttributes(&built, kernel);
  if (error != cudaSuccess) return error;
  if (built.binaryVersion != 90 || built.ptxVersion != 90) return cudaErrorNotSupported;
#endif
  const int64_t query_tiles = ceil_div(args.queries.count, tile_queries);
  const Segments segments = cut_segments(args.database.count, query_tiles, blocks, least_codes, tile_rows);
  const dim3 grid(unsigned(query_tiles), unsigned(segments.count));
  return launch(kernel, grid, threads, size_t((chunks + stages) * chunk_bytes), stream, args, words, segments.codes,
                chunks);
}

}  // namespace

int gather_codes_tensor_cuda(const Gathering& args, void* stream) {
  const int64_t words = words_of(args.database.width);
  return with_words(args.database, [&](const auto& codes) {
    const auto on = static_cast<cudaStream_t>(stream);
    if (args.database.width <= 8) return int(launch_tensor<Form::narrow>(args, codes, 1, on));
    if (words <= 2) return int(launch_tensor<Form::direct>(args, codes, 1, on));
    return int(launch_tensor<Form::wide>(args, codes, int(ceil_div(words, chunk_words)), on));
  });
}

}  // namespace fasthash
