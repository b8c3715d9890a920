// SPDX-License-Identifier: Apache-2.0
// Bit, cast, rounding and atomic functions of CUDA C++. One fibre runs at a time and none is interrupted, so an atomic
// is a plain read and write.
#pragma once

#include <math.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#define FASTHASH_MIN_MAX(T)                           \
  constexpr T min(T a, T b) { return b < a ? b : a; } \
  constexpr T max(T a, T b) { return a < b ? b : a; }
FASTHASH_MIN_MAX(int)
FASTHASH_MIN_MAX(unsigned)
FASTHASH_MIN_MAX(long)
FASTHASH_MIN_MAX(unsigned long)
FASTHASH_MIN_MAX(long long)
FASTHASH_MIN_MAX(unsigned long long)
#undef FASTHASH_MIN_MAX
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(unsigned(x)); }
inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll((unsigned long long)(x)); }

inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int bit = 0; bit < 32; ++bit) reversed |= (x >> bit & 1u) << (31 - bit);
  return reversed;
}
inline unsigned long long __brevll(unsigned long long x) {
  return (unsigned long long)(__brev(unsigned(x))) << 32 | __brev(unsigned(x >> 32));
}
// Bytes 0-3 are those of x, 4-7 those of y; each nibble of the selector picks one, or its sign where bit 3 is set.
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const std::uint64_t bytes = std::uint64_t(y) << 32 | x;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned pick = selector >> 4 * i & 15u;
    unsigned byte = unsigned(bytes >> 8 * (pick & 7u)) & 0xffu;
    if (pick & 8u) byte = byte & 0x80u ? 0xffu : 0u;
    result |= byte << 8 * i;
  }
  return result;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return unsigned((std::uint64_t(high) << 32 | low) << (shift & 31u) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return unsigned((std::uint64_t(high) << 32 | low) >> (shift & 31u));
}
inline unsigned __umulhi(unsigned x, unsigned y) { return unsigned(std::uint64_t(x) * y >> 32); }

namespace fasthash::cuda_on_cpu {
template <class To, class From>
To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}
}  // namespace fasthash::cuda_on_cpu

inline unsigned __float_as_uint(float x) { return fasthash::cuda_on_cpu::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return fasthash::cuda_on_cpu::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return fasthash::cuda_on_cpu::bit_cast<float>(x); }
inline float __int_as_float(int x) { return fasthash::cuda_on_cpu::bit_cast<float>(x); }
inline long long __double_as_longlong(double x) { return fasthash::cuda_on_cpu::bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return fasthash::cuda_on_cpu::bit_cast<double>(x); }

// The host rounds to nearest even and contracts nothing, as the _rn forms promise; the fast forms are exact here.
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline double __dadd_rn(double x, double y) { return x + y; }
inline double __dsub_rn(double x, double y) { return x - y; }
inline double __dmul_rn(double x, double y) { return x * y; }
inline double __fma_rn(double x, double y, double z) { return fma(x, y, z); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }
inline int __float2int_rn(float x) { return int(nearbyintf(x)); }
inline int __float2int_rd(float x) { return int(floorf(x)); }
inline int __float2int_rz(float x) { return int(x); }
inline float __int2float_rn(int x) { return float(x); }

template <class T>
T __ldg(const T* pointer) {
  return *pointer;
}
template <class T>
T __ldcs(const T* pointer) {
  return *pointer;
}
template <class T>
void __stcs(T* pointer, std::common_type_t<T> value) {
  *pointer = value;
}
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
#define __builtin_assume(condition) ((void)0)

namespace fasthash::cuda_on_cpu {

template <class T, class... Allowed>
constexpr bool one_of = (std::is_same_v<T, Allowed> || ...);
template <class T>
constexpr bool has_integer_atomics = one_of<T, int, unsigned, unsigned long long>;

template <class T, class F>
T read_modify_write(T* address, F&& next) {
  const T old = *address;
  *address = next(old);
  return old;
}

}  // namespace fasthash::cuda_on_cpu

#define FASTHASH_ATOMIC(name, allowed, expression)                                                         \
  template <class T>                                                                                       \
  T name(T* address, std::common_type_t<T> value) {                                                        \
    using namespace fasthash::cuda_on_cpu;                                                                 \
    static_assert(allowed, #name " does not exist for this type");                                         \
    return read_modify_write(address, [&]([[maybe_unused]] T old) { return static_cast<T>(expression); }); \
  }
FASTHASH_ATOMIC(atomicAdd, (has_integer_atomics<T> || one_of<T, float, double>), old + value)
FASTHASH_ATOMIC(atomicSub, (one_of<T, int, unsigned>), old - value)
FASTHASH_ATOMIC(atomicExch, (has_integer_atomics<T> || one_of<T, float>), value)
FASTHASH_ATOMIC(atomicMin, (has_integer_atomics<T> || one_of<T, long long>), value < old ? value : old)
FASTHASH_ATOMIC(atomicMax, (has_integer_atomics<T> || one_of<T, long long>), old < value ? value : old)
FASTHASH_ATOMIC(atomicAnd, (has_integer_atomics<T>), old& value)
FASTHASH_ATOMIC(atomicOr, (has_integer_atomics<T>), old | value)
FASTHASH_ATOMIC(atomicXor, (has_integer_atomics<T>), old ^ value)
FASTHASH_ATOMIC(atomicInc, (one_of<T, unsigned>), old >= value ? 0 : old + 1)
FASTHASH_ATOMIC(atomicDec, (one_of<T, unsigned>), old == 0 || old > value ? value : old - 1)
#undef FASTHASH_ATOMIC

template <class T>
T atomicCAS(T* address, std::common_type_t<T> expected, std::common_type_t<T> value) {
  static_assert(fasthash::cuda_on_cpu::has_integer_atomics<T> || std::is_same_v<T, unsigned short>,
                "atomicCAS does not exist for this type");
  return fasthash::cuda_on_cpu::read_modify_write(address, [&](T old) { return old == expected ? value : old; });
}
