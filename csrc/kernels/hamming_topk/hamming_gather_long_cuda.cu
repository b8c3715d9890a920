// SPDX-License-Identifier: Apache-2.0
// Gathers codes of more than 256 bits by matrix products of bits on the tensor cores of sm_90a: 128 queries, 64 for
// each of two warpgroups, against tiles of 128 codes, 256 bits at a time: a q, of which |a| + |q| - 2 a q is the
// distance: one multiplication and one maximum a pair, in registers, where products arise.
#include <type_traits>

#include "hamming_topk/hamming_gather_tensor.cuh"

namespace fasthash {
namespace {

constexpr int tile_rows = 128, stages = 3;
constexpr int chunk_words = 4;                            // the 256 bits of one product
constexpr int chunk_bytes = tile_rows * chunk_words * 8;  // of codes, or of as many queries
static_assert(gather_queries == tile_rows && gather_threads == 2 * tile_rows);

// The queries of a block in shared memory, and what a thread knows of its two rows of products.
class Queries {
 public:
  __device__ Queries(const Gathering& args, int64_t first, int64_t chunks, uint8_t* memory)
      : args_(args), first_(first), rows_{args.queries} {
    const int row = int(threadIdx.x) / 2, half = int(threadIdx.x) % 2;
    for (int64_t chunk = 0; chunk < chunks; ++chunk)
      store_half(memory + chunk * chunk_bytes, tile_rows, half, row, half_of(row, chunk, half));
    const int rank = int(threadIdx.x) % gather_group_threads;
    for (int i = 0; i < 2; ++i) {
      const int own = int(threadIdx.x) / gather_group_threads * 64 + product_row(rank, 2 * i);
      const bool is_query = first + own < args.queries.count;
      limit[i] = is_query ? args.reach_of(first + own) - count_ones(first + own) : INT32_MIN;
      if (is_query && args.reach_of(first + own) < 0) limit[i] = INT32_MIN;
    }
  }

  int32_t limit[2];  // of the distance less |q|

 private:
  __device__ Half half_of(int row, int64_t chunk, int half) const {
    const int64_t words = words_of(args_.queries.width), query = first_ + row;
    if (query >= args_.queries.count) return {0, 0};
    const int64_t w = chunk * chunk_words + half * 2;
    return {word_or_zero(rows_, query, w, words), word_or_zero(rows_, query, w + 1, words)};
  }
  __device__ int32_t count_ones(int64_t query) const {
    int32_t sum = 0;
    for (int64_t w = 0; w < words_of(args_.queries.width); ++w) sum += popcount(rows_(query, w));
    return sum;
  }

  const Gathering& args_;
  int64_t first_;
  RowWords<uint64_t, uint8_t> rows_;
};

// The words of codes, two steps before they are stored: nothing waits for memory where it is asked. A step is a chunk
// of a tile. Codes past the end are not asked for.
template <class Words>
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
  __device__ Half now() const { return next_; }
  // Behind the fence, which would wait for what is asked before it.
  __device__ void step() {
    next_ = after_;
    after_ = read();
  }

 private:
  __device__ Half read() {
    const int w = chunk_ * chunk_words + half_ * 2;
    Half words{0, 0};
    if (left_ > 0 && w < words_) words.low = at_(w);
    if (left_ > 0 && w + 1 < words_) words.high = at_(w + 1);
    if (++chunk_ < chunks_) return words;
    chunk_ = 0;
    left_ -= tile_rows;
    at_.next_tile();
    return words;
  }

  Cursor<Words, tile_rows> at_;
  int left_, words_, chunks_, half_, chunk_ = 0;
  Half next_{}, after_{};
};

// Whether any of a thread's products is near. They become distances less |q|.
__device__ inline bool any_near(int32_t (&d)[64], const int32_t (&limit)[2], const int32_t* ones, int rank) {
  int32_t least[2] = {INT32_MAX, INT32_MAX};
#pragma unroll
  for (int i = 0; i < 64; ++i) {
    d[i] = ones[product_column(rank, i)] - 2 * d[i];
    least[i / 2 % 2] = min(least[i / 2 % 2], d[i]);
  }
  return least[0] <= limit[0] || least[1] <= limit[1];
}

// Which of 32 products, from `first` on, are near.
template <int first>
__device__ inline unsigned which_near(const int32_t (&d)[64], const int32_t (&limit)[2]) {
  unsigned near = 0;
#pragma unroll
  for (int i = 0; i < 32; ++i) near |= unsigned(d[first + i] <= limit[i / 2 % 2]) << i;
  return near;
}

template <class Words>
__global__ void __launch_bounds__(gather_threads, 2)
    gather_long_kernel(Gathering args, Words codes, int64_t segment_codes, int chunks) {
  FH_DYNAMIC_SHARED(uint8_t, memory);         // (chunks) of queries, (stages) of codes
  FH_SHARED(int32_t[2][tile_rows], ones_of);  // |a| by tile
  FH_SHARED(FoundCodes::Memory[gather_threads / kWarpSize], found_memory);
  uint8_t* const held = memory + chunks * chunk_bytes;
  const int64_t begin = int64_t(blockIdx.y) * segment_codes, past = begin + segment_codes;
  const int64_t end = past < args.positions ? past : args.positions;
  const int words = int(words_of(args.database.width));
  const int thread = int(threadIdx.x), rank = thread % gather_group_threads, group = thread / gather_group_threads;
  const int row = thread / 2, half = thread % 2;
  const Queries queries(args, int64_t(blockIdx.x) * gather_queries, chunks, memory);
  Reader<Words> reader(args, codes, begin, end, chunks, row, half);
  BitProducts<128> products(rank);
  FoundCodes found(&found_memory[warp_of_thread()]);
  const auto append = [&](int unit, int lane, int i) {
    const int of_rank = rank / kWarpSize * kWarpSize + lane, of = group * 64 + product_row(of_rank, i);
    const int64_t position = begin + int64_t(unit) * FoundCodes::unit_codes + product_column(of_rank, i);
    if (position >= end) return;
    const int64_t n = args.code_at(position);
    if (!is_allowed(args.allow, n)) return;
    int32_t distance = 0;
    for (int w = 0; w < words; ++w) {
      const uint8_t* const chunk = memory + w / chunk_words * chunk_bytes;
      distance += popcount(uint64_t(codes(n, w)) ^ word_of_half(chunk, tile_rows, w % chunk_words / 2, of, w % 2));
    }
    args.append(int64_t(blockIdx.x) * gather_queries + of, n, distance);
  };
  int32_t d[64] = {};
  int32_t ones = 0;
  int stage = 0, parity = 0;
  const auto multiply = [&](int chunk) {
    const Half own = reader.now();
    store_half(held + stage * chunk_bytes, tile_rows, half, row, own);
    ones = (chunk == 0 ? 0 : ones) + popcount(own.low) + popcount(own.high);
    const int32_t both = ones + __shfl_xor_sync(kFullWarp, ones, 1);
    if (chunk + 1 == chunks && half == 0) ones_of[parity][row] = both;
    products.fence_shared();
    __syncthreads();
    const uint8_t* const rows = memory + chunk * chunk_bytes + group * 64 * 16;
    products.multiply(d, {rows, gather_queries}, {held + stage * chunk_bytes, tile_rows}, chunk > 0);
    products.commit();
    stage = stage + 1 == stages ? 0 : stage + 1;
    reader.step();
  };
  for (int64_t tile = begin; tile < end; tile += tile_rows, parity ^= 1) {
    for (int chunk = 0; chunk + 1 < chunks; ++chunk) {
      multiply(chunk);
      products.template wait<1>(d);
    }
    multiply(chunks - 1);
    products.template wait<0>(d);
    const bool near = any_near(d, queries.limit, ones_of[parity], rank);
    if (!__any_sync(kFullWarp, near)) continue;
    // Products 32 and up are those of the second 64 codes.
    const int unit = int((tile - begin) / FoundCodes::unit_codes);
    found.note(unit, which_near<0>(d, queries.limit), append);
    found.note(unit + 1, which_near<32>(d, queries.limit), append);
  }
  found.empty(append);
}

}  // namespace

int gather_long_codes_cuda(const Gathering& args, void* stream) {
  const int chunks = int(ceil_div(words_of(args.database.width), int64_t(chunk_words)));
  return with_words(args.database, [&](const auto& codes) {
    const auto kernel = gather_long_kernel<std::decay_t<decltype(codes)>>;
    const size_t shared = size_t((chunks + stages) * chunk_bytes);
    return int(launch_tensor_gather(kernel, args, codes, tile_rows, shared, chunks, static_cast<cudaStream_t>(stream)));
  });
}

bool gathers_on_tensor_cores() {
#if defined(FASTHASH_CUDA_ON_CPU)
  return true;
#else
  cudaFuncAttributes built{};
  if (cudaFuncGetAttributes(&built, gather_long_kernel<PackedWords<uint64_t>>) != cudaSuccess) {
    (void)cudaGetLastError();
    return false;
  }
  return built.binaryVersion == 90 && built.ptxVersion == 90;
#endif
}

int gather_codes_tensor_cuda(const Gathering& args, void* stream) {
  return args.database.width <= 32 ? gather_short_codes_cuda(args, stream) : gather_long_codes_cuda(args, stream);
}

}  // namespace fasthash
