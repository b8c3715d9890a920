// SPDX-License-Identifier: Apache-2.0
// What the machine can do at best, one thread: a read-only stream, a copy, and Hamming distances out of the first
// cache. Compiled for the machine at hand by bench/limits.py and called through ctypes.
#include <cstddef>
#include <cstdint>
#include <cstring>
#if defined(__AVX512VPOPCNTDQ__)
#include <immintrin.h>
#endif

extern "C" {

void copy_bytes(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }

// XOR of (n) words, n a multiple of 64: eight sums in flight.
uint64_t read_words(const uint64_t* words, size_t n) {
  uint64_t sums[64] = {};
  for (size_t i = 0; i < n; i += 64) {
    for (size_t j = 0; j < 64; ++j) sums[j] ^= words[i + j];
  }
  uint64_t all = 0;
  for (uint64_t sum : sums) all ^= sum;
  return all;
}

// Least distance of 4 queries (4, W) to `codes` codes, word-major in blocks of 8 (codes / 8, W, 8), `repeats` times.
// codes is a multiple of 32. The bare arithmetic of a scan: xor, popcount, add, min.
uint64_t scan(const uint64_t* queries, const uint64_t* database, size_t words, size_t codes, size_t repeats) {
#if defined(__AVX512VPOPCNTDQ__)
  __m512i least[16];
  for (auto& lane : least) lane = _mm512_set1_epi32(-1);
  for (size_t repeat = 0; repeat < repeats; ++repeat) {
    for (size_t block = 0; block < codes / 8; block += 4) {
      const uint64_t* rows = database + block * words * 8;
      __m512i sums[16] = {};
      for (size_t w = 0; w < words; ++w) {
        for (int v = 0; v < 4; ++v) {
          const __m512i row = _mm512_loadu_si512(rows + (v * words + w) * 8);
          for (int q = 0; q < 4; ++q) {
            const __m512i differ = _mm512_xor_si512(row, _mm512_set1_epi64(int64_t(queries[q * words + w])));
            sums[q * 4 + v] = _mm512_add_epi32(sums[q * 4 + v], _mm512_popcnt_epi64(differ));
          }
        }
      }
      for (int i = 0; i < 16; ++i) least[i] = _mm512_min_epu32(least[i], sums[i]);
    }
  }
  uint64_t total = 0;
  for (auto& lane : least) total += uint64_t(_mm512_reduce_add_epi64(lane));
  return total;
#else
  uint64_t total = 0;
  for (size_t repeat = 0; repeat < repeats; ++repeat) {
    for (size_t q = 0; q < 4; ++q) {
      uint64_t least = ~uint64_t(0);
      for (size_t block = 0; block < codes / 8; ++block) {
        uint64_t sums[8] = {};
        for (size_t w = 0; w < words; ++w) {
          for (size_t lane = 0; lane < 8; ++lane) {
            sums[lane] +=
                uint64_t(__builtin_popcountll(database[(block * words + w) * 8 + lane] ^ queries[q * words + w]));
          }
        }
        for (uint64_t sum : sums) least = sum < least ? sum : least;
      }
      total += least;
    }
  }
  return total;
#endif
}
}
