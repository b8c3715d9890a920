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
// products would wait for it. Noted is which of a thread's 32 products of a unit of 64 codes are near.
class FoundCodes {
 public:
  static constexpr int room = 128, unit_codes = 64;
  struct alignas(8) Entry {
    uint32_t unit_and_lane, near;
  };
  struct Memory {
    Entry entries[room];
  };

  __device__ explicit FoundCodes(Memory* memory) : memory_(memory) {}

  // By the whole warp: bit i of `near` says that product i is. Calls f, as empty() does, where there is no more room.
  template <class F>
  __device__ void note(int unit, unsigned near, F&& f) {
    const unsigned who = __ballot_sync(kFullWarp, near != 0);
    const int lane = lane_of_thread(), more = __popc(who);
    if (count_ + more > room) empty(f);
    if (near != 0)
      memory_->entries[count_ + __popc(who & ((1u << lane) - 1))] = {uint32_t(unit) << 5 | uint32_t(lane), near};
    count_ += more;
  }

  // By the whole warp: calls f(unit, lane, i) of all that is noted, in any lane.
  template <class F>
  __device__ void empty(F&& f) {
    __syncwarp();
    for (int at = lane_of_thread(); at < count_; at += kWarpSize) {
      const Entry entry = memory_->entries[at];
      for (unsigned near = entry.near; near != 0; near &= near - 1)
        f(int(entry.unit_and_lane >> 5), int(entry.unit_and_lane & 31), __ffs(int(near)) - 1);
    }
    __syncwarp();
    count_ = 0;
  }

 private:
  Memory* memory_;
  int count_ = 0;  // the same in all lanes
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
