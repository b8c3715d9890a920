// SPDX-License-Identifier: Apache-2.0
// What the instruction-set variants of the scan implement. The layout of blocks is described in hamming_scan.h.
#pragma once

#include <cstdint>

namespace fasthash {

// Codes (count, width) bytes, `stride` bytes apart, into groups of a block; the rest of the last group stays as it is.
struct FillRun {
  const uint8_t* codes;
  int64_t count, width, stride;
  uint64_t* groups;  // (ceil(count / 8), ceil(width / 8), 8), 64-byte aligned
};
void fill_groups_scalar(const FillRun& run);
void fill_groups_avx2(const FillRun& run);

struct ScanRun {
  const uint64_t* query;  // (words)
  const void* codes;      // a block of whole tiles, any alignment
  int64_t words, count;   // count of real codes; those that fill the last tile are never reported
  bool half = false;      // codes of 32-bit words: scan_below only
};

// A code near enough: its place in the block and its distance.
struct Hit {
  int32_t place, distance;
};
constexpr int64_t hit_slack = 8;  // a variant may write this many hits past the last one

// Writes the codes with distance < threshold by rising place, and returns their number.
int64_t scan_below_scalar(const ScanRun& run, int32_t threshold, Hit* hits);
int64_t scan_below_avx2(const ScanRun& run, int32_t threshold, Hit* hits);
int64_t scan_below_avx512(const ScanRun& run, int32_t threshold, Hit* hits);
int64_t scan_below_avx512_vpopcnt(const ScanRun& run, int32_t threshold, Hit* hits);
int64_t scan_below_neon(const ScanRun& run, int32_t threshold, Hit* hits);

// The same for scan_queries queries against the same codes of more than two words, which are loaded once for all of
// them; counts from `found` on.
using ScanBelowMany = void(const ScanRun* runs, const int32_t* thresholds, Hit* const* hits, int64_t* found);
void scan_below_many_scalar(const ScanRun* runs, const int32_t* thresholds, Hit* const* hits, int64_t* found);
void scan_below_many_neon(const ScanRun* runs, const int32_t* thresholds, Hit* const* hits, int64_t* found);
void scan_below_many_avx2(const ScanRun* runs, const int32_t* thresholds, Hit* const* hits, int64_t* found);
void scan_below_many_avx512(const ScanRun* runs, const int32_t* thresholds, Hit* const* hits, int64_t* found);
void scan_below_many_avx512_vpopcnt(const ScanRun* runs, const int32_t* thresholds, Hit* const* hits, int64_t* found);
constexpr int scan_queries = 4;

// Writes the distance of every code.
void scan_all_scalar(const ScanRun& run, int32_t* distances);
void scan_all_avx2(const ScanRun& run, int32_t* distances);
void scan_all_avx512(const ScanRun& run, int32_t* distances);
void scan_all_avx512_vpopcnt(const ScanRun& run, int32_t* distances);
void scan_all_neon(const ScanRun& run, int32_t* distances);

using ScanBelow = int64_t(const ScanRun& run, int32_t threshold, Hit* hits);
using ScanAll = void(const ScanRun& run, int32_t* distances);

// The variants of the machine in use.
ScanBelow* select_scan_below();
// Whether a walk through memory is faster where the program asks for what it needs ahead. Not on AMD's family 19h
// (Zen 3 and 4), whose own prefetching does better alone.
bool asks_ahead() noexcept;
ScanBelowMany* select_scan_below_many();
ScanAll* select_scan_all();

}  // namespace fasthash
