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
// Ran on an H100: 29.6 T products of 256 bits a second out of shared memory, of which nothing here comes near; what
// binds is the instructions a pair and what a tile waits for. Seen with 128 queries against 10 M codes of 64 bits: a
// tile of 16384 pairs takes 400 cycles of a multiprocessor and was held up another 450 by each code found, when it was
// appended at once (an atomic addition in global memory), and still when all 64 products had code of their own to
// append them. So what is found is only noted (code and query, in shared memory, by a few instructions that stand
// once), and appended when a warp has noted many; the distance is counted then.
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
      limit[i] = reach_of(own) - (kForm == Form::wide ? count_ones(first + own) : 0);
      if (reach_of(own) < 0) limit[i] = INT32_MIN;  // no such query
    }
  }

  int32_t limit[2];  // of the distance, or of the distance less |q|

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

// Where a code's words are: one after the other at a fixed distance in the scan layout, where the next tile is a fixed
// distance away too; elsewhere wherever the reader of the database finds them.
template <class Words>
class Cursor {
 public:
  __device__ Cursor(const Words& codes, int64_t n, int64_t every) : codes_(codes), n_(n), step_(tile_rows * every) {}
  __device__ void next_tile() { n_ += step_; }
  __device__ uint64_t operator()(int w) const { return uint64_t(codes_(n_, w)); }

 private:
  const Words& codes_;
  int64_t n_, step_;
};
template <class W>
class Cursor<PackedWords<W>> {
 public:
  __device__ Cursor(const PackedWords<W>& codes, int64_t n, int64_t every)
      : code_(codes.data + (n / lanes * codes.words) * lanes + n % lanes), step_(codes.words * tile_rows * every) {}
  __device__ void next_tile() { code_ += step_; }
  __device__ uint64_t operator()(int w) const { return uint64_t(code_[w * lanes]); }

 private:
  static constexpr int lanes = 64 / sizeof(W);
  static_assert(tile_rows % lanes == 0 && lanes % group_codes == 0);
  const W* code_;
  int64_t step_;
};

// The words of codes, two steps before they are stored: nothing waits for memory where it is asked. A step is a chunk
// of a tile. Codes past the end are not asked for.
template <Form kForm, class Words>
class Reader {
 public:
  __device__ Reader(const Gathering& args, const Words& codes, int64_t begin, int64_t end, int chunks, int row,
                    int half)
      : at_(codes, args.code_at(begin + row), args.every),
        left_(int(end - begin) - row),
        words_(int(words_of(args.database.width))),
        chunks_(chunks),
        half_(half) {
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
    const int w = kForm == Form::wide ? chunk_ * chunk_words + half_ * 2 : 0;
    Half words{0, 0};
    if (left_ > 0 && w < words_) words.low = at_(w);
    if (kForm != Form::narrow && left_ > 0 && w + 1 < words_) words.high = at_(w + 1);
    if (kForm == Form::wide && ++chunk_ < chunks_) return words;
    chunk_ = 0;
    left_ -= tile_rows;
    at_.next_tile();
    return words;
  }

  Cursor<Words> at_;
  int left_, words_, chunks_, half_, chunk_ = 0;
  Half next_{}, after_{};
};

// Whether any of a thread's products is near. Those of wide codes become distances less |q|.
template <Form kForm>
__device__ inline bool any_near(int32_t (&d)[64], const int32_t (&limit)[2], const int32_t* ones, int rank) {
  if constexpr (kForm == Form::narrow) {
    int32_t all = near_bit;
#pragma unroll
    for (int i = 0; i < 64; ++i) all &= d[i];
    return all == 0;
  } else {
    int32_t least[2] = {INT32_MAX, INT32_MAX};
#pragma unroll
    for (int i = 0; i < 64; ++i) {
      if (kForm == Form::wide) d[i] = ones[product_column(rank, i)] - 2 * d[i];
      least[i / 2 % 2] = min(least[i / 2 % 2], d[i]);
    }
    return least[0] <= limit[0] || least[1] <= limit[1];
  }
}

// Which of 32 products, from `first` on, are near.
template <Form kForm, int first>
__device__ inline unsigned which_near(const int32_t (&d)[64], const int32_t (&limit)[2]) {
  unsigned near = 0;
#pragma unroll
  for (int i = 0; i < 32; ++i) {
    const int32_t product = d[first + i];
    near |= unsigned(kForm == Form::narrow ? (product & near_bit) == 0 : product <= limit[i / 2 % 2]) << i;
  }
  return near;
}

// What a warp has found and not yet appended: an addition to a list in global memory takes so long that a tile of
// products would wait for it.
class Found {
 public:
  static constexpr int room = 128, full = 96;
  struct Memory {
    int32_t count;
    int32_t place[room], row[room];
  };

  __device__ explicit Found(Memory* memory) : memory_(memory) {
    if (lane_of_thread() == 0) memory_->count = 0;
    __syncwarp();
  }

  // By any lanes, at any time; false where there is no room left.
  __device__ bool note(int64_t n, int row) {
    const int at = atomicAdd(&memory_->count, 1);
    if (at >= room) return false;
    memory_->place[at] = int32_t(n);
    memory_->row[at] = row;
    return true;
  }

  // By the whole warp: calls f(n, row) of all that are noted, where these are at least so many.
  template <class F>
  __device__ void empty(int least, F&& f) {
    __syncwarp();
    const int count = memory_->count < room ? memory_->count : room;
    if (count < least) return;
    for (int i = lane_of_thread(); i < count; i += kWarpSize) f(int64_t(memory_->place[i]), memory_->row[i]);
    __syncwarp();
    if (lane_of_thread() == 0) memory_->count = 0;
    __syncwarp();
  }

 private:
  Memory* memory_;
};

// Word w of query `row` among the queries that a block holds in shared memory.
template <Form kForm>
__device__ inline uint64_t query_word(const uint8_t* memory, int row, int w) {
  const int chunk = kForm == Form::wide ? w / chunk_words : 0;
  const int half = kForm == Form::wide ? w % chunk_words / 2 : kForm == Form::direct ? 1 : 0;
  const int place = kForm == Form::narrow ? 1 : w % 2;
  const uint8_t* const at = memory + chunk * chunk_bytes + BitRows::place(tile_rows, half, row) + 8 * place;
  return *reinterpret_cast<const uint64_t*>(at);
}

template <class Words, Form kForm>
__global__ void __launch_bounds__(threads, 2)
    gather_tensor_kernel(Gathering args, Words codes, int64_t segment_codes, int chunks) {
  FH_DYNAMIC_SHARED(uint8_t, memory);         // (chunks) of queries, (stages) of codes
  FH_SHARED(int32_t[2][tile_rows], ones_of);  // |a| by tile
  FH_SHARED(Found::Memory[threads / kWarpSize], found_memory);
  uint8_t* const held = memory + chunks * chunk_bytes;
  const int64_t begin = int64_t(blockIdx.y) * segment_codes, past = begin + segment_codes;
  const int64_t end = past < args.positions ? past : args.positions;
  const int words = int(words_of(args.database.width));
  const int thread = int(threadIdx.x), rank = thread % group_threads, group = thread / group_threads;
  const int row = thread / 2, half = thread % 2;
  const Queries<kForm> queries(args, int64_t(blockIdx.x) * tile_queries, chunks, memory);
  const bool stores = kForm != Form::narrow || half == 0;
  if (kForm == Form::narrow && half == 1)
    for (int i = 0; i < stages; ++i) store_half(held + i * chunk_bytes, 1, row, {~uint64_t(0), ~uint64_t(0)});
  Reader<kForm, Words> reader(args, codes, begin, end, chunks, row, half);
  BitProducts products(rank);
  Found found(&found_memory[warp_of_thread()]);
  const auto append = [&](int64_t n, int of) {
    int32_t distance = 0;
    for (int w = 0; w < words; ++w) distance += popcount(uint64_t(codes(n, w)) ^ query_word<kForm>(memory, of, w));
    args.append(int64_t(blockIdx.x) * tile_queries + of, n, distance);
  };
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
    const bool near = any_near<kForm>(d, queries.limit, ones_of[parity], rank);
    if (!__any_sync(kFullWarp, near)) continue;
    if (near) {
      unsigned low = which_near<kForm, 0>(d, queries.limit), high = which_near<kForm, 32>(d, queries.limit);
      while ((low | high) != 0) {
        const int i = low != 0 ? __ffs(int(low)) - 1 : __ffs(int(high)) + 31;
        if (low != 0)
          low &= low - 1;
        else
          high &= high - 1;
        const int64_t position = tile + product_column(rank, i), n = args.code_at(position);
        const int of = group * 64 + product_row(rank, i);
        if (position < end && is_allowed(args.allow, n) && !found.note(n, of)) append(n, of);
      }
    }
    found.empty(Found::full, append);
  }
  found.empty(1, append);
}

template <Form kForm, class Words>
cudaError_t launch_tensor(const Gathering& args, const Words& words, int chunks, cudaStream_t stream) {
  constexpr int64_t blocks = 1 << 12, least_codes = 32 * tile_rows;
  const auto kernel = gather_tensor_kernel<Words, kForm>;
  const int64_t query_tiles = ceil_div(args.queries.count, tile_queries);
  const Segments segments = cut_segments(args.positions, query_tiles, blocks, least_codes, tile_rows);
  const dim3 grid(unsigned(query_tiles), unsigned(segments.count));
  return launch(kernel, grid, threads, size_t((chunks + stages) * chunk_bytes), stream, args, words, segments.codes,
                chunks);
}

}  // namespace

bool gathers_on_tensor_cores() {
#if defined(FASTHASH_CUDA_ON_CPU)
  return true;
#else
  cudaFuncAttributes built{};
  const auto kernel = gather_tensor_kernel<PackedWords<uint64_t>, Form::narrow>;
  if (cudaFuncGetAttributes(&built, kernel) != cudaSuccess) {
    (void)cudaGetLastError();
    return false;
  }
  return built.binaryVersion == 90 && built.ptxVersion == 90;
#endif
}

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
