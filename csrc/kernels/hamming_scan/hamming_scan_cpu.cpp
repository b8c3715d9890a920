// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "common/machine.h"
#include "hamming_scan/hamming_math.h"
#include "hamming_scan/hamming_scan.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace fasthash {
namespace {

constexpr int64_t block_bytes = 32 << 10;

bool find_out_asks_ahead() {
#if defined(__x86_64__)
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (!__get_cpuid(0, &eax, &ebx, &ecx, &edx) || ebx != signature_AMD_ebx) return true;
  __get_cpuid(1, &eax, &ebx, &ecx, &edx);
  return ((eax >> 8) & 0xf) + ((eax >> 20) & 0xff) != 0x19;
#else
  return true;
#endif
}
const bool found_to_ask_ahead = find_out_asks_ahead();

#if defined(FASTHASH_X86_VARIANTS)
#define SCAN_VARIANTS(name) FH_VARIANTS(name), FH_VARIANT(name, avx512_vpopcnt)
#define FILL_VARIANTS FH_VARIANT(fill_groups, scalar), FH_VARIANT(fill_groups, avx2)
#else
#define SCAN_VARIANTS(name) FH_VARIANTS(name)
#define FILL_VARIANTS FH_VARIANT(fill_groups, scalar)
#endif
const Variants<ScanBelow> below_variants{"hamming_scan_below", {SCAN_VARIANTS(scan_below)}};
const Variants<ScanBelowMany> below_many_variants{"hamming_scan_below_many", {SCAN_VARIANTS(scan_below_many)}};
const Variants<ScanAll> all_variants{"hamming_scan_all", {SCAN_VARIANTS(scan_all)}};
const Variants<void(const FillRun&)> fill_variants{"hamming_fill_groups", {FILL_VARIANTS}};

// Distances of the 8 codes of a group.
void group_distances(const ScanRun& run, int64_t group, int32_t (&distances)[group_codes]) {
  const char* at = static_cast<const char*>(run.codes) + group * run.words * 64;
  std::fill(distances, distances + group_codes, 0);
  for (int64_t w = 0; w < run.words; ++w, at += 64) {
    uint64_t lanes[group_codes];
    std::memcpy(lanes, at, sizeof(lanes));
    for (int64_t i = 0; i < group_codes; ++i) distances[i] += word_distance(run.query[w], lanes[i]);
  }
}

template <class F>  // f(place, distance)
void for_each_distance(const ScanRun& run, const F& f) {
  for (int64_t first = 0; first < run.count; first += group_codes) {
    int32_t distances[group_codes];
    group_distances(run, first / group_codes, distances);
    const int64_t live = std::min(group_codes, run.count - first);
    for (int64_t i = 0; i < live; ++i) f(int32_t(first + i), distances[i]);
  }
}

int64_t scan_half(const ScanRun& run, int32_t threshold, Hit* hits) {
  const char* at = static_cast<const char*>(run.codes);
  int64_t found = 0;
  for (int64_t i = 0; i < run.count; ++i) {
    uint32_t code;
    std::memcpy(&code, at + 4 * i, 4);
    const int32_t distance = word_distance(code, uint32_t(*run.query));
    hits[found] = {int32_t(i), distance};
    found += distance < threshold;
  }
  return found;
}

// The bytes of one code as words, `step` words apart.
void spread_words(const uint8_t* code, int64_t width, uint64_t* words, int64_t step) {
  const int64_t whole = width / 8, rest = width % 8;
  for (int64_t w = 0; w < whole; ++w) std::memcpy(words + w * step, code + w * 8, 8);
  if (!rest) return;
  words[whole * step] = 0;
  std::memcpy(words + whole * step, code + whole * 8, size_t(rest));
}

}  // namespace

void fill_groups_scalar(const FillRun& run) {
  const int64_t words = words_of(run.width);
  for (int64_t i = 0; i < run.count; ++i) {
    uint64_t* group = run.groups + i / group_codes * words * group_codes;
    spread_words(run.codes + i * run.stride, run.width, group + i % group_codes, group_codes);
  }
}

int64_t scan_below_scalar(const ScanRun& run, int32_t threshold, Hit* hits) {
  if (run.half) return scan_half(run, threshold, hits);
  int64_t found = 0;
  for_each_distance(run, [&](int32_t place, int32_t distance) {
    hits[found] = {place, distance};
    found += distance < threshold;
  });
  return found;
}

void scan_below_many_scalar(const ScanRun* runs, const int32_t* thresholds, Hit* const* hits, int64_t* found) {
  for (int q = 0; q < scan_queries; ++q) found[q] += scan_below_scalar(runs[q], thresholds[q], hits[q] + found[q]);
}

void scan_all_scalar(const ScanRun& run, int32_t* distances) {
  for_each_distance(run, [&](int32_t place, int32_t distance) { distances[place] = distance; });
}

ScanBelow* select_scan_below() { return below_variants.select(); }
bool asks_ahead() noexcept { return found_to_ask_ahead; }
ScanBelowMany* select_scan_below_many() { return below_many_variants.select(); }
ScanAll* select_scan_all() { return all_variants.select(); }

void fill_groups(const FillRun& run) { fill_variants.select()(run); }

int64_t block_codes(int64_t words) { return std::max(tile_codes, block_bytes / (8 * words) / tile_codes * tile_codes); }

void load_words(const CodeRows& rows, int64_t first, int64_t count, uint64_t* words) {
  const int64_t step = words_of(rows.width);
  for (int64_t i = 0; i < count; ++i)
    spread_words(rows.data + (first + i) * rows.stride, rows.width, words + i * step, 1);
}

CodeBlock::CodeBlock(int64_t words) : groups_(block_codes(words) / group_codes * words) {}

const void* CodeBlock::load(const Database& database, int64_t first, int64_t count) {
  if (database.packed()) return load_packed(database, first, count);
  const CodeRows rows = database.rows();
  const uint8_t* code = rows.data + first * rows.stride;
  if (rows.width == 8 && rows.stride == 8 && count % tile_codes == 0) return code;
  fill_groups({code, count, rows.width, rows.stride, groups_.data()->lane});
  return groups_.data();
}

const void* CodeBlock::load_packed(const Database& database, int64_t first, int64_t count) {
  const uint8_t* code = database.data + packed_place(database.width, first, 0);
  if (word_bytes(database.width) == 8) return code;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t word;
    std::memcpy(&word, code + i * 4, 4);
    groups_[i / group_codes].lane[i % group_codes] = word;
  }
  return groups_.data();
}

}  // namespace fasthash
