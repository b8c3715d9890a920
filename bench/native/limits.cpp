// SPDX-License-Identifier: Apache-2.0
// What the machine can do at best, one thread: a read-only stream, a copy, and Hamming distances out of the first
// cache. Compiled for the machine at hand by bench/limits.py and called through ctypes.
#include <cstddef>
#include <cstdint>
#include <cstring>
#if defined(__AVX512VPOPCNTDQ__)
#include <immintrin.h>
#endif

namespace {

// The compiler is to believe that memory was read and changed here: repeated work is not merged.
void keep_apart() { asm volatile("" ::: "memory"); }

#if defined(__AVX512VPOPCNTDQ__)
__m512i differ(__m512i row, uint64_t query) {
  return _mm512_popcnt_epi64(_mm512_xor_si512(row, _mm512_set1_epi64(int64_t(query))));
}

__m512i differ(__m512i rows, uint32_t query) {
  return _mm512_popcnt_epi32(_mm512_xor_si512(rows, _mm512_set1_epi32(int32_t(query))));
}

// Adds to least[q] the distances of 4 blocks of 8 codes from query q: xor, popcount, add but for the first word, min.
template <size_t kWords>  // 0: as many as `words` says
void scan_blocks(const uint64_t* queries, const uint64_t* rows, size_t words, __m512i (&least)[4]) {
  if (kWords != 0) words = kWords;
  __m512i sums[4][4];
  for (int v = 0; v < 4; ++v) {
    const __m512i row = _mm512_loadu_si512(rows + v * words * 8);
    for (int q = 0; q < 4; ++q) sums[q][v] = differ(row, queries[q * words]);
  }
  for (size_t w = 1; w < words; ++w) {
    for (int v = 0; v < 4; ++v) {
      const __m512i row = _mm512_loadu_si512(rows + (v * words + w) * 8);
      for (int q = 0; q < 4; ++q) sums[q][v] = _mm512_add_epi32(sums[q][v], differ(row, queries[q * words + w]));
    }
  }
  for (int q = 0; q < 4; ++q) {
    for (int v = 0; v < 4; ++v) least[q] = _mm512_min_epu32(least[q], sums[q][v]);
  }
}

template <size_t kWords>
uint64_t scan_all(const uint64_t* queries, const uint64_t* database, size_t words, size_t codes, size_t repeats) {
  __m512i least[4];
  for (auto& lanes : least) lanes = _mm512_set1_epi32(-1);
  for (size_t repeat = 0; repeat < repeats; ++repeat) {
    for (size_t block = 0; block < codes / 8; block += 4) {
      scan_blocks<kWords>(queries, database + block * words * 8, words, least);
    }
    keep_apart();
  }
  uint64_t total = 0;
  for (auto& lanes : least) total += uint64_t(_mm512_reduce_add_epi64(lanes));
  return total;
}

// The same for codes of 32 bits, 16 in a vector.
uint64_t scan_halves(const uint32_t* queries, const uint32_t* database, size_t codes, size_t repeats) {
  __m512i least[4];
  for (auto& lanes : least) lanes = _mm512_set1_epi32(-1);
  for (size_t repeat = 0; repeat < repeats; ++repeat) {
    for (size_t i = 0; i < codes; i += 64) {
      for (int v = 0; v < 4; ++v) {
        const __m512i rows = _mm512_loadu_si512(database + i + v * 16);
        for (int q = 0; q < 4; ++q) least[q] = _mm512_min_epu32(least[q], differ(rows, queries[q]));
      }
    }
    keep_apart();
  }
  uint64_t total = 0;
  for (auto& lanes : least) total += uint64_t(_mm512_reduce_add_epi64(lanes));
  return total;
}
#else
template <size_t kWords>
uint64_t scan_all(const uint64_t* queries, const uint64_t* database, size_t words, size_t codes, size_t repeats) {
  uint64_t total = 0;
  for (size_t repeat = 0; repeat < repeats; ++repeat) {
    for (size_t q = 0; q < 4; ++q) {
      uint64_t least = ~uint64_t(0);
      for (size_t block = 0; block < codes / 8; ++block) {
        const uint64_t* rows = database + block * words * 8;
        uint64_t sums[8] = {};
        for (size_t w = 0; w < words; ++w) {
          for (size_t lane = 0; lane < 8; ++lane) {
            sums[lane] += uint64_t(__builtin_popcountll(rows[w * 8 + lane] ^ queries[q * words + w]));
          }
        }
        for (uint64_t sum : sums) least = sum < least ? sum : least;
      }
      total += least;
    }
    keep_apart();
  }
  return total;
}

uint64_t scan_halves(const uint32_t* queries, const uint32_t* database, size_t codes, size_t repeats) {
  uint64_t total = 0;
  for (size_t repeat = 0; repeat < repeats; ++repeat) {
    for (size_t q = 0; q < 4; ++q) {
      uint32_t least = ~uint32_t(0);
      for (size_t i = 0; i < codes; ++i) {
        const uint32_t distance = uint32_t(__builtin_popcount(database[i] ^ queries[q]));
        least = distance < least ? distance : least;
      }
      total += least;
    }
    keep_apart();
  }
  return total;
}
#endif

}  // namespace

extern "C" {

void copy_bytes(void* to, const void* from, size_t bytes, size_t repeats) {
  for (size_t repeat = 0; repeat < repeats; ++repeat) {
    std::memcpy(to, from, bytes);
    keep_apart();
  }
}

// XOR of n words, n a multiple of 64: eight vectors in flight. Asks for lines `ahead` words before they are due, or
// leaves it to the processor where that is 0.
uint64_t read_words(const uint64_t* words, size_t n, size_t ahead, size_t repeats) {
  typedef uint64_t Vector __attribute__((vector_size(64), aligned(8), may_alias));
  Vector sums[8] = {};
  for (size_t repeat = 0; repeat < repeats; ++repeat) {
    for (size_t i = 0; i < n; i += 64) {
      const Vector* vectors = reinterpret_cast<const Vector*>(words + i);
      if (ahead != 0) {
        for (int v = 0; v < 8; ++v) __builtin_prefetch(words + i + ahead + v * 8);
      }
      for (int v = 0; v < 8; ++v) sums[v] ^= vectors[v];
    }
    keep_apart();
  }
  uint64_t all = 0;
  for (const Vector& sum : sums) {
    for (int lane = 0; lane < 8; ++lane) all ^= sum[lane];
  }
  return all;
}

// Least distances of 4 queries (4, W) to codes, word-major in blocks of 8 (codes / 8, W, 8); codes a multiple of 32.
uint64_t scan(const uint64_t* queries, const uint64_t* database, size_t words, size_t codes, size_t repeats) {
  if (words == 1) return scan_all<1>(queries, database, words, codes, repeats);
  return scan_all<0>(queries, database, words, codes, repeats);
}

// The same of 32-bit codes as they stand; codes a multiple of 64.
uint64_t scan_32(const uint32_t* queries, const uint32_t* database, size_t codes, size_t repeats) {
  return scan_halves(queries, database, codes, repeats);
}
}
