// SPDX-License-Identifier: Apache-2.0
// Gathers by matrix products of bits on the tensor cores of sm_90a: 128 queries, 64 for each of two warpgroups, against
// tiles of 128 codes. Up to 128 bits, [a, ~a] [~q, q] is the distance itself; of wider codes it is |a| + |q| - 2 (a q).
// Products are compared where they arise, in registers.
//
// Not run on a device. Prediction: 16384 pairs of bits a cycle and multiprocessor, that is 64 pairs of codes up to 256
// bits a cycle, as many as comparisons (one instruction each up to 128 bits, else two and half a load). Two blocks to a
// multiprocessor overlap the one with the other, so 40 to 60 % of 14.8 T pairs/s on an H200, if stores to shared memory
// keep up: 16 bytes a thread and tile.
#include <type_traits>

#include "common/cuda.h"
#include "common/wgmma.cuh"
#include "hamming_scan/hamming_words.cuh"
#include "hamming_scan/segments.h"
#include "hamming_topk/hamming_gather.cuh"

namespace fasthash {
namespace {

constexpr int group_threads = 128, groups = 2, threads = groups * group_threads;
constexpr int tile_queries = groups * 64, tile_rows = 128;
constexpr int chunk_words = 4;                            // the 256 bits of one product
constexpr int chunk_bytes = tile_rows * chunk_words * 8;  // of codes, or of as many queries
static_assert(tile_queries == tile_rows && threads == 2 * tile_rows);

// Word w of a code with zeros beyond its last one.
template <class Words>
__device__ inline uint64_t word_or_zero(const Words& codes, int64_t n, int64_t w, int64_t words) {
  return w < words ? uint64_t(codes(n, w)) : 0;
}

// The bits of word w that a code of `width` bytes has.
__device__ inline uint64_t bits_of_word(int64_t width, int64_t w) {
  const int64_t bytes = width - 8 * w;
  return bytes <= 0 ? 0 : bytes >= 8 ? ~uint64_t(0) : (uint64_t(1) << (8 * bytes)) - 1;
}

struct Half {
  uint64_t low, high;
};
// 16 bytes of row `row` of a chunk. A warp stores 512 bytes side by side.
__device__ inline void store_half(uint8_t* chunk, int half, int row, const Half& words) {
  uint64_t* const at = reinterpret_cast<uint64_t*>(chunk + BitRows::place(tile_rows, half, row));
  *reinterpret_cast<ulonglong2*>(at) = make_ulonglong2(words.low, words.high);
}

// The queries of a block, and what a thread knows of its two rows of products.
template <bool kDirect>
struct Queries {
  __device__ Queries(const Gathering& args, int64_t first, int64_t chunks, uint8_t* memory)
      : args_(args), first_(first), rows_{args.queries} {
    const int row = int(threadIdx.x) % tile_queries, half = int(threadIdx.x) / tile_queries;
    for (int64_t chunk = 0; chunk < chunks; ++chunk)
      store_half(memory + chunk * chunk_bytes, half, row, {word(row, chunk, half, 0), word(row, chunk, half, 1)});
    const int rank = int(threadIdx.x) % group_threads;
    for (int i = 0; i < 2; ++i) {
      rows[i] = int(threadIdx.x) / group_threads * 64 + product_row(rank, 2 * i);
      const int64_t query = first + rows[i];
      ones[i] = kDirect ? 0 : count_ones(query);
      limit[i] = query < args.queries.count ? args.reach_of(query) - ones[i] : INT32_MIN;
    }
  }

  int rows[2];       // in the tile
  int32_t ones[2];   // |q|
  int32_t limit[2];  // of the distance less |q|

 private:
  __device__ uint64_t word(int row, int64_t chunk, int half, int i) const {
    const int64_t query = first_ + row, words = words_of(args_.queries.width);
    if (query >= args_.queries.count) return 0;
    if (!kDirect) return word_or_zero(rows_, query, chunk * chunk_words + half * 2 + i, words);
    const uint64_t code = word_or_zero(rows_, query, i, words);
    return half == 0 ? ~code & bits_of_word(args_.queries.width, i) : code;
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

// Steps are (tile, chunk). A thread reads its half of a code for the next step while this one's products are made.
template <class Words, bool kDirect>
__global__ void __launch_bounds__(threads, 2)
    gather_tensor_kernel(Gathering args, Words codes, int64_t segment_codes, int64_t chunks) {
  FH_DYNAMIC_SHARED(uint8_t, memory);            // (chunks) of queries, (2) of codes
  FH_SHARED(int32_t[2][2][tile_rows], ones_of);  // |a| by tile, half
  uint8_t* const stages = memory + chunks * chunk_bytes;
  const int64_t first_query = int64_t(blockIdx.x) * tile_queries, begin = int64_t(blockIdx.y) * segment_codes;
  const int64_t past = begin + segment_codes, end = past < args.database.count ? past : args.database.count;
  const int64_t words = words_of(args.database.width);
  const int thread = int(threadIdx.x), rank = thread % group_threads, group = thread / group_threads;
  const int row = thread % tile_rows, half = thread / tile_rows;
  const Queries<kDirect> queries(args, first_query, chunks, memory);
  const auto read = [&](int64_t tile, int64_t chunk) -> Half {
    const int64_t n = tile + row < end ? tile + row : begin;
    const int64_t w = kDirect ? 0 : chunk * chunk_words + half * 2;
    const uint64_t low = word_or_zero(codes, n, w, words), high = word_or_zero(codes, n, w + 1, words);
    return kDirect && half == 1 ? Half{~low, ~high} : Half{low, high};
  };
  BitProducts products(rank);
  int32_t d[64] = {};
  int32_t ones = 0;
  int stage = 0, parity = 0;
  Half next = read(begin, 0);
  for (int64_t tile = begin; tile < end; tile += tile_rows, parity ^= 1) {
    for (int64_t chunk = 0; chunk < chunks; ++chunk, stage ^= 1) {
      uint8_t* const held = stages + stage * chunk_bytes;
      store_half(held, half, row, next);
      if (!kDirect) {
        ones = (chunk == 0 ? 0 : ones) + popcount(next.low) + popcount(next.high);
        if (chunk + 1 == chunks) ones_of[parity][half][row] = ones;
      }
      BitProducts::fence_shared();
      __syncthreads();
      const uint8_t* const rows = memory + chunk * chunk_bytes + group * 64 * 16;
      products.multiply(d, {rows, tile_queries}, {held, tile_rows}, chunk > 0);
      const bool last = chunk + 1 == chunks;
      if (!last || tile + tile_rows < end) next = read(last ? tile + tile_rows : tile, last ? 0 : chunk + 1);
      products.wait(d);
    }
    bool near = false;
#pragma unroll
    for (int i = 0; i < 64; ++i) {
      const int column = product_column(rank, i);
      if (!kDirect) d[i] = ones_of[parity][0][column] + ones_of[parity][1][column] - 2 * d[i];
      near |= d[i] <= queries.limit[i / 2 % 2];
    }
    if (!near) continue;
#pragma unroll
    for (int i = 0; i < 64; ++i) {
      const int64_t n = tile + product_column(rank, i);
      if (d[i] <= queries.limit[i / 2 % 2] && n < end && is_allowed(args.allow, n))
        args.append(first_query + queries.rows[i / 2 % 2], n, d[i] + queries.ones[i / 2 % 2]);
    }
  }
}

template <bool kDirect, class Words>
cudaError_t launch_tensor(const Gathering& args, const Words& words, int64_t chunks, cudaStream_t stream) {
  constexpr int64_t blocks = 1 << 12, least_codes = 32 * tile_rows;
  const auto kernel = gather_tensor_kernel<Words, kDirect>;
#if !defined(FASTHASH_CUDA_ON_CPU)
  cudaFuncAttributes built{};
  const cudaError_t error = cudaFuncGetAttributes(&built, kernel);
  if (error != cudaSuccess) return error;
  if (built.binaryVersion != 90 || built.ptxVersion != 90) return cudaErrorNotSupported;
#endif
  const int64_t query_tiles = ceil_div(args.queries.count, tile_queries);
  const Segments segments = cut_segments(args.database.count, query_tiles, blocks, least_codes, tile_rows);
  const dim3 grid(unsigned(query_tiles), unsigned(segments.count));
  return launch(kernel, grid, threads, size_t((chunks + 2) * chunk_bytes), stream, args, words, segments.codes, chunks);
}

}  // namespace

int gather_codes_tensor_cuda(const Gathering& args, void* stream) {
  const int64_t words = words_of(args.database.width), chunks = ceil_div(words, chunk_words);
  return with_words(args.database, [&](const auto& codes) {
    const auto on = static_cast<cudaStream_t>(stream);
    if (words <= 2) return int(launch_tensor<true>(args, codes, 1, on));
    return int(launch_tensor<false>(args, codes, chunks, on));
  });
}

}  // namespace fasthash
