// SPDX-License-Identifier: Apache-2.0
// Barriers, votes and shuffles. Each suspends the calling fibre until the threads it must meet have come.
#pragma once

#include "scheduler.h"

using FhSite = fasthash::cuda_on_cpu::Site;

inline void __syncthreads(FhSite site = FhSite::here()) {
  fasthash::cuda_on_cpu::meet_block("__syncthreads", false, site);
}
inline int __syncthreads_count(int predicate, FhSite site = FhSite::here()) {
  return fasthash::cuda_on_cpu::meet_block("__syncthreads_count", predicate != 0, site);
}
inline int __syncthreads_or(int predicate, FhSite site = FhSite::here()) {
  return fasthash::cuda_on_cpu::meet_block("__syncthreads_or", predicate != 0, site) != 0;
}
inline int __syncthreads_and(int predicate, FhSite site = FhSite::here()) {
  return fasthash::cuda_on_cpu::meet_block("__syncthreads_and", predicate == 0, site) == 0;
}
inline void __syncwarp(unsigned mask = 0xffffffffu, FhSite site = FhSite::here()) {
  fasthash::cuda_on_cpu::meet_warp("__syncwarp", mask, 0, site);
}
inline void __nanosleep(unsigned, FhSite site = FhSite::here()) { fasthash::cuda_on_cpu::let_others_run(site); }

[[noreturn]] inline void __trap() { fasthash::cuda_on_cpu::fault("__trap()"); }

// A device may give any set of lanes that happen to run together; the smallest is the caller alone.
inline unsigned __activemask() { return 1u << fasthash::cuda_on_cpu::lane_index(); }

namespace fasthash::cuda_on_cpu {

inline void check_width(const char* operation, int width) {
  if (width < 1 || width > 32 || (width & (width - 1)) != 0) {
    fault(std::string(operation) + ": width must be a power of two up to 32, got " + std::to_string(width));
  }
}

// The value of lane `source`; a lane that did not come has an undefined value, and one outside its segment (-1) does
// not replace the caller's own.
template <class T>
T exchange(const char* operation, unsigned mask, T value, int source, Site site) {
  const Exchange& all = meet_warp(operation, mask, to_bits(value), site);
  if (source < 0) return value;
  return from_bits<T>((all.present >> source & 1u) != 0 ? all.value[source] : garbage());
}

inline unsigned lanes_where(const Exchange& all, std::uint64_t value) {
  unsigned lanes = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if ((all.present >> lane & 1u) != 0 && all.value[lane] == value) lanes |= 1u << lane;
  }
  return lanes;
}

template <class T, class F>
T fold(const char* operation, unsigned mask, T value, Site site, F combine) {
  const Exchange& all = meet_warp(operation, mask, to_bits(value), site);
  T result = value;
  for (int lane = 0; lane < 32; ++lane) {
    if ((all.present >> lane & 1u) != 0 && lane != lane_index())
      result = combine(result, from_bits<T>(all.value[lane]));
  }
  return result;
}

}  // namespace fasthash::cuda_on_cpu

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, FhSite site = FhSite::here()) {
  fasthash::cuda_on_cpu::check_width("__shfl_sync", width);
  const int first = fasthash::cuda_on_cpu::lane_index() & ~(width - 1);
  return fasthash::cuda_on_cpu::exchange("__shfl_sync", mask, value, first | (source & (width - 1)), site);
}

template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, FhSite site = FhSite::here()) {
  fasthash::cuda_on_cpu::check_width("__shfl_up_sync", width);
  const int lane = fasthash::cuda_on_cpu::lane_index();
  const bool inside = delta <= unsigned(lane & (width - 1));
  return fasthash::cuda_on_cpu::exchange("__shfl_up_sync", mask, value, inside ? lane - int(delta) : -1, site);
}

template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, FhSite site = FhSite::here()) {
  fasthash::cuda_on_cpu::check_width("__shfl_down_sync", width);
  const int lane = fasthash::cuda_on_cpu::lane_index();
  const bool inside = delta < unsigned(width - (lane & (width - 1)));
  return fasthash::cuda_on_cpu::exchange("__shfl_down_sync", mask, value, inside ? lane + int(delta) : -1, site);
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, FhSite site = FhSite::here()) {
  fasthash::cuda_on_cpu::check_width("__shfl_xor_sync", width);
  const int lane = fasthash::cuda_on_cpu::lane_index();
  const int source = lane ^ lanes;
  const bool inside = source >= 0 && source <= (lane | (width - 1));
  return fasthash::cuda_on_cpu::exchange("__shfl_xor_sync", mask, value, inside ? source : -1, site);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, FhSite site = FhSite::here()) {
  const auto& all = fasthash::cuda_on_cpu::meet_warp("__ballot_sync", mask, predicate != 0, site);
  return fasthash::cuda_on_cpu::lanes_where(all, 1);
}
inline int __any_sync(unsigned mask, int predicate, FhSite site = FhSite::here()) {
  const auto& all = fasthash::cuda_on_cpu::meet_warp("__any_sync", mask, predicate != 0, site);
  return fasthash::cuda_on_cpu::lanes_where(all, 1) != 0;
}
inline int __all_sync(unsigned mask, int predicate, FhSite site = FhSite::here()) {
  const auto& all = fasthash::cuda_on_cpu::meet_warp("__all_sync", mask, predicate != 0, site);
  return fasthash::cuda_on_cpu::lanes_where(all, 0) == 0;
}

template <class T>
unsigned __match_any_sync(unsigned mask, T value, FhSite site = FhSite::here()) {
  const std::uint64_t bits = fasthash::cuda_on_cpu::to_bits(value);
  return fasthash::cuda_on_cpu::lanes_where(fasthash::cuda_on_cpu::meet_warp("__match_any_sync", mask, bits, site),
                                            bits);
}

template <class T>
unsigned __match_all_sync(unsigned mask, T value, int* equal, FhSite site = FhSite::here()) {
  const std::uint64_t bits = fasthash::cuda_on_cpu::to_bits(value);
  const auto& all = fasthash::cuda_on_cpu::meet_warp("__match_all_sync", mask, bits, site);
  *equal = fasthash::cuda_on_cpu::lanes_where(all, bits) == all.present;
  return *equal ? all.present : 0;
}

template <class T>
T __reduce_add_sync(unsigned mask, T value, FhSite site = FhSite::here()) {
  static_assert(std::is_integral_v<T> && sizeof(T) == 4, "__reduce_add_sync takes int or unsigned");
  const auto add = [](T a, T b) { return T(unsigned(a) + unsigned(b)); };
  return fasthash::cuda_on_cpu::fold("__reduce_add_sync", mask, value, site, add);
}
template <class T>
T __reduce_min_sync(unsigned mask, T value, FhSite site = FhSite::here()) {
  static_assert(std::is_integral_v<T> && sizeof(T) == 4, "__reduce_min_sync takes int or unsigned");
  return fasthash::cuda_on_cpu::fold("__reduce_min_sync", mask, value, site, [](T a, T b) { return a < b ? a : b; });
}
template <class T>
T __reduce_max_sync(unsigned mask, T value, FhSite site = FhSite::here()) {
  static_assert(std::is_integral_v<T> && sizeof(T) == 4, "__reduce_max_sync takes int or unsigned");
  return fasthash::cuda_on_cpu::fold("__reduce_max_sync", mask, value, site, [](T a, T b) { return a > b ? a : b; });
}
