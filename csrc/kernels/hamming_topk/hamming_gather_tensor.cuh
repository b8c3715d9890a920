// SPDX-License-Identifier: Apache-2.0
// What the two gathering passes on tensor cores share (short codes and long ones): how words come into shared memory,
// and how what is found gets into lists.
//
// Ran on an H100: 30 T products of 256 bits a second out of shared memory, of which nothing here comes near; what
// binds is the instructions a pair and what a tile waits for.
#pragma once

#include "common/cuda.h"
#include "common/warp.cuh"
#include "common/wgmma.cuh"
#include "hamming_scan/hamming_words.cuh"
#include "hamming_scan/segments.h"
#include "hamming_topk/hamming_gather.cuh"

namespace fasthash {

constexpr int gather_group_threads = 128, gather_groups = 2, gather_threads = gather_groups * gather_group_threads;
constexpr int gather_queries = gather_groups * 64;  // 64 for each of two warpgroups

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
// 16 bytes of row `row` of a chunk of `rows` rows.
__device__ inline void store_half(uint8_t* chunk, int rows, int half, int row, const Half& words) {
  uint64_t* const at = reinterpret_cast<uint64_t*>(chunk + BitRows::place(rows, half, row));
  *reinterpret_cast<ulonglong2*>(at) = make_ulonglong2(words.low, words.high);
}

// Word 0 or 1 of 16 bytes of a row.
__device__ inline uint64_t word_of_half(const uint8_t* chunk, int rows, int half, int row, int word) {
  return reinterpret_cast<const uint64_t*>(chunk + BitRows::place(rows, half, row))[word];
}

// Where a code's words are: one after the other at a fixed distance in the scan layout, where the next tile is a fixed
// distance away too; elsewhere wherever the reader of the database finds them.
template <class Words, int kTile>
class Cursor {
 public:
  __device__ Cursor(const Words& codes, int64_t n, int64_t every) : codes_(codes), n_(n), step_(kTile * every) {}
  __device__ void next_tile() { n_ += step_; }
  __device__ uint64_t operator()(int w) const { return uint64_t(codes_(n_, w)); }

 private:
  const Words& codes_;
  int64_t n_, step_;
};
template <class W, int kTile>
class Cursor<PackedWords<W>, kTile> {
 public:
  __device__ Cursor(const PackedWords<W>& codes, int64_t n, int64_t every)
      : code_(codes.data + (n / lanes * codes.words) * lanes + n % lanes), step_(codes.words * kTile * every) {}
  __device__ void next_tile() { code_ += step_; }
  __device__ uint64_t operator()(int w) const { return uint64_t(code_[w * lanes]); }

 private:
  static constexpr int lanes = 64 / sizeof(W);
  static_assert(kTile % lanes == 0 && lanes % group_codes == 0);
  const W* code_;
  int64_t step_;
};

// What a warp has found and not yet appended: an addition to a list in global memory takes so long that a tile of
// products would wait for it.
class FoundCodes {
 public:
  static constexpr int room = 128, full = 96;
  struct Memory {
    int32_t count;
    int32_t place[room], row[room];
  };

  __device__ explicit FoundCodes(Memory* memory) : memory_(memory) {
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

// Launch a kernel with (query tiles, segments) blocks.
template <class Kernel, class Words>
cudaError_t launch_tensor_gather(Kernel kernel, const Gathering& args, const Words& words, int tile, size_t shared,
                                 int chunks, cudaStream_t stream) {
  constexpr int64_t blocks = 1 << 12, least_codes = 4096;
  const int64_t query_tiles = ceil_div(args.queries.count, gather_queries);
  const Segments segments = cut_segments(args.positions, query_tiles, blocks, least_codes, tile);
  const dim3 grid(unsigned(query_tiles), unsigned(segments.count));
  return launch(kernel, grid, gather_threads, shared, stream, args, words, segments.codes, chunks);
}

// The two: codes of at most 32 bytes, and longer ones.
int gather_short_codes_cuda(const Gathering& args, void* stream);
int gather_long_codes_cuda(const Gathering& args, void* stream);

}  // namespace fasthash
