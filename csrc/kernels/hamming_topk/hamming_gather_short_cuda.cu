// SPDX-License-Identifier: Apache-2.0
// Gathers codes of at most 256 bits by matrix products of bits on the tensor cores of sm_90a: 128 queries, 64 for each
// of two warpgroups, against tiles of 256 codes. Products are sums of ANDs over 256 bits; added up they are
//
//   [a, ~a, 1...1] [~q, q, t ones] = distance + t with t = near_bit - 1 - reach: near where bit near_bit is zero,
//
// which an AND of all products of a thread tells, half an instruction a pair. Up to 64 bits that is one product, up to
// 128 bits two, up to 256 bits three; the ones of the codes' side are the same for all of them.
//
// A tile is looked at by quarters of 64 codes, with two sets of registers: while one holds what is looked at, the
// tensor cores fill the other one. What is found is only noted (code and query, in shared memory, by a few instructions
// that stand once), and appended when a warp has noted many, since an addition to a list in global memory holds a tile
// up for as long as it takes to multiply it; the distance is counted then.
#include <type_traits>

#include "hamming_topk/hamming_gather_tensor.cuh"

namespace fasthash {
namespace {

constexpr int tile_rows = 256, quarter = 64, stages = 3;
constexpr int chunk_bytes = tile_rows * 32, query_bytes = gather_queries * 32, ones_bytes = quarter * 32;
static_assert(gather_threads == tile_rows && quarter == FoundCodes::unit_codes);

constexpr int words_by_products(int products) { return products == 1 ? 1 : products == 2 ? 2 : 4; }

// What a block holds in shared memory, by the number of products.
template <int kProducts>
struct Layout {
  static constexpr int words = words_by_products(kProducts);
  static constexpr int near_bit = kProducts == 1 ? 128 : 256;
  static constexpr int chunks = kProducts == 1 ? 1 : kProducts - 1;  // of a tile; the ones are the last product's
  static constexpr int ones = kProducts * query_bytes, codes = ones + (kProducts == 1 ? 0 : ones_bytes);
  static constexpr int bytes = codes + stages * chunks * chunk_bytes;
};

// By thread `row` < 128: [~q, q, t ones] of a query, and zeros with `near_bit` ones for one that is not there.
template <int kProducts>
__device__ inline void store_query(const Gathering& args, int64_t query, int row, uint8_t* memory) {
  using In = Layout<kProducts>;
  const RowWords<uint64_t, uint8_t> rows{args.queries};
  const bool is_query = query < args.queries.count;
  uint64_t q[In::words] = {}, inverse[In::words] = {};
  for (int w = 0; w < In::words; ++w) {
    if (!is_query) continue;
    q[w] = word_or_zero(rows, query, w, words_of(args.queries.width));
    inverse[w] = ~q[w] & bits_of_word(args.queries.width, w);
  }
  const int64_t reach = is_query ? args.reach_of(query) : -1, added = In::near_bit - 1 - (reach < -1 ? -1 : reach);
  const auto store = [&](int product, int half, uint64_t low, uint64_t high) {
    store_half(memory + product * query_bytes, gather_queries, half, row, {low, high});
  };
  if constexpr (kProducts == 1) {
    store(0, 0, inverse[0], q[0]);
    store(0, 1, low_bits(added), low_bits(added - 64));
  } else {
    if constexpr (kProducts == 2) {
      store(0, 0, inverse[0], inverse[1]);
      store(0, 1, q[0], q[1]);
    }
    for (int half = 0; half < 2; ++half) {
      if constexpr (kProducts == 3) {
        store(0, half, inverse[2 * half], inverse[2 * half + 1]);
        store(1, half, q[2 * half], q[2 * half + 1]);
      }
      store(kProducts - 1, half, low_bits(added - 128 * half), low_bits(added - 128 * half - 64));
    }
  }
}

// Word w of query `row` as stored.
template <int kProducts>
__device__ inline uint64_t query_word(const uint8_t* memory, int row, int w) {
  if (kProducts == 1) return word_of_half(memory, gather_queries, 0, row, 1);
  if (kProducts == 2) return word_of_half(memory, gather_queries, 1, row, w);
  return word_of_half(memory + query_bytes, gather_queries, w / 2, row, w % 2);
}

// A thread's code of each tile, two tiles before it is stored: nothing waits for memory where it is asked. Codes past
// the end are not asked for.
template <int kProducts, class Words>
class Reader {
 public:
  static constexpr int words = words_by_products(kProducts);

  __device__ Reader(const Gathering& args, const Words& codes, int64_t begin, int64_t end, int row)
      : at_(codes, args.code_at(begin + row), args.every),
        left_(int(end - begin) - row),
        of_code_(int(words_of(args.database.width))) {
    read(next_);
    read(after_);
  }

  __device__ void store(uint8_t* tile, int row) const {
    if constexpr (kProducts == 1) store_half(tile, tile_rows, 0, row, {next_[0], ~next_[0]});
    if constexpr (kProducts == 2) {
      store_half(tile, tile_rows, 0, row, {next_[0], next_[1]});
      store_half(tile, tile_rows, 1, row, {~next_[0], ~next_[1]});
    }
    if constexpr (kProducts == 3) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        store_half(tile, tile_rows, half, row, {next_[2 * half], next_[2 * half + 1]});
        store_half(tile + chunk_bytes, tile_rows, half, row, {~next_[2 * half], ~next_[2 * half + 1]});
      }
    }
  }

  // Behind the fence, which would wait for what is asked before it.
  __device__ void step() {
#pragma unroll
    for (int w = 0; w < words; ++w) next_[w] = after_[w];
    read(after_);
  }

 private:
  __device__ void read(uint64_t (&to)[words]) {
#pragma unroll
    for (int w = 0; w < words; ++w) to[w] = left_ > 0 && w < of_code_ ? at_(w) : 0;
    left_ -= tile_rows;
    at_.next_tile();
  }

  Cursor<Words, tile_rows> at_;
  int left_, of_code_;
  uint64_t next_[words], after_[words];
};

template <class Words, int kProducts>
__global__ void __launch_bounds__(gather_threads, 2)
    gather_short_kernel(Gathering args, Words codes, int64_t segment_codes, int) {
  using In = Layout<kProducts>;
  using Products = BitProducts<quarter>;
  FH_DYNAMIC_SHARED(uint8_t, memory);
  FH_SHARED(FoundCodes::Memory[gather_threads / kWarpSize], found_memory);
  const int64_t begin = int64_t(blockIdx.y) * segment_codes, past = begin + segment_codes;
  const int64_t end = past < args.positions ? past : args.positions;
  const int64_t first_query = int64_t(blockIdx.x) * gather_queries;
  const int thread = int(threadIdx.x), rank = thread % gather_group_threads, group = thread / gather_group_threads;
  const int words = int(words_of(args.database.width));
  const uint64_t all_ones = ~uint64_t(0);
  if (thread < gather_queries) store_query<kProducts>(args, first_query + thread, thread, memory);
  if (kProducts == 1)
    for (int i = 0; i < stages; ++i)
      store_half(memory + In::codes + i * chunk_bytes, tile_rows, 1, thread, {all_ones, all_ones});
  else if (thread < 2 * quarter)
    store_half(memory + In::ones, quarter, thread / quarter, thread % quarter, {all_ones, all_ones});
  Reader<kProducts, Words> reader(args, codes, begin, end, thread);
  Products products(rank);
  FoundCodes found(&found_memory[warp_of_thread()]);
  const auto append = [&](int unit, int lane, int i) {
    const int of_rank = rank / kWarpSize * kWarpSize + lane, of = group * 64 + product_row(of_rank, i);
    const int64_t position = begin + int64_t(unit) * quarter + product_column(of_rank, i);
    if (position >= end) return;
    const int64_t n = args.code_at(position);
    if (!is_allowed(args.allow, n)) return;
    int32_t distance = 0;
    for (int w = 0; w < words; ++w) distance += popcount(uint64_t(codes(n, w)) ^ query_word<kProducts>(memory, of, w));
    args.append(first_query + of, n, distance);
  };
  const auto tile_at = [&](int stage) { return memory + In::codes + stage * In::chunks * chunk_bytes; };
  const auto multiply = [&](typename Products::Values& d, int stage, int part) {
    const uint8_t* const own = memory + group * 64 * 16;
#pragma unroll
    for (int chunk = 0; chunk < In::chunks; ++chunk)
      products.multiply(d, {own + chunk * query_bytes, gather_queries},
                        {tile_at(stage) + chunk * chunk_bytes + part * quarter * 16, tile_rows}, chunk > 0);
    if constexpr (kProducts > 1)
      products.multiply(d, {own + In::chunks * query_bytes, gather_queries}, {memory + In::ones, quarter}, true);
    products.commit();
  };
  constexpr std::integral_constant<int, 0> none{};
  constexpr std::integral_constant<int, 1> one{};
  const auto look_at = [&](typename Products::Values& d, int unit, auto left) {
    constexpr int parts = 4, values = quarter / 2 / parts;
    products.template wait<decltype(left)::value>(d);
    int32_t all[parts], every = In::near_bit;
#pragma unroll
    for (int part = 0; part < parts; ++part) {
      all[part] = In::near_bit;
#pragma unroll
      for (int i = 0; i < values; ++i) all[part] &= d[part * values + i];
      every &= all[part];
    }
    if (!__any_sync(kFullWarp, every == 0)) return;
    unsigned near = 0;
#pragma unroll
    for (int part = 0; part < parts; ++part) {
      if (!__any_sync(kFullWarp, all[part] == 0)) continue;
#pragma unroll
      for (int i = part * values; i < (part + 1) * values; ++i) near |= unsigned((d[i] & In::near_bit) == 0) << i;
    }
    found.note(unit, near, append);
  };
  typename Products::Values even, odd;
#pragma unroll
  for (int i = 0; i < quarter / 2; ++i) even[i] = odd[i] = 0;
  int stage = 0;
  const auto bring = [&](int to) {
    reader.store(tile_at(to), thread);
    products.fence_shared();
    __syncthreads();
    reader.step();
  };
  bring(0);
  // What is stored over was looked at by all threads before the barrier of the tile before.
  const int units = int(ceil_div(end - begin, int64_t(tile_rows))) * (tile_rows / quarter);
  for (int unit = 0; unit < units; unit += tile_rows / quarter) {
    const int next = stage + 1 == stages ? 0 : stage + 1;
    multiply(even, stage, 0);
    multiply(odd, stage, 1);
    bring(next);
    look_at(even, unit, one);
    multiply(even, stage, 2);
    look_at(odd, unit + 1, one);
    multiply(odd, stage, 3);
    look_at(even, unit + 2, one);
    look_at(odd, unit + 3, none);
    stage = next;
  }
  found.empty(append);
}

template <int kProducts, class Words>
int launch_short(const Gathering& args, const Words& words, void* stream) {
  return int(launch_tensor_gather(gather_short_kernel<Words, kProducts>, args, words, tile_rows,
                                  size_t(Layout<kProducts>::bytes), 0, static_cast<cudaStream_t>(stream)));
}

}  // namespace

int gather_short_codes_cuda(const Gathering& args, void* stream) {
  return with_words(args.database, [&](const auto& codes) {
    if (args.database.width <= 8) return launch_short<1>(args, codes, stream);
    if (args.database.width <= 16) return launch_short<2>(args, codes, stream);
    return launch_short<3>(args, codes, stream);
  });
}

}  // namespace fasthash
