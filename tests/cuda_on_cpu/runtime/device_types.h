// SPDX-License-Identifier: Apache-2.0
// Qualifiers, index and vector types of CUDA C++, spelled so that g++ reads them.
#pragma once

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
// Plain `static` variables keep what the block before left in them; FH_SHARED holds garbage and has exact bounds.
#define __shared__ static

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};

// The alignment is the device's, so that a misaligned vector access is seen by -fsanitize=alignment.
#define FASTHASH_VECTOR_TYPES(name, scalar)                                                         \
  struct alignas(2 * sizeof(scalar)) name##2 { scalar x, y; };                                      \
  struct alignas(4 * sizeof(scalar) < 16 ? 4 * sizeof(scalar) : 16) name##4 { scalar x, y, z, w; }; \
  inline name##2 make_##name##2(scalar x, scalar y) { return {x, y}; }                              \
  inline name##4 make_##name##4(scalar x, scalar y, scalar z, scalar w) { return {x, y, z, w}; }

FASTHASH_VECTOR_TYPES(char, signed char)
FASTHASH_VECTOR_TYPES(uchar, unsigned char)
FASTHASH_VECTOR_TYPES(short, short)
FASTHASH_VECTOR_TYPES(ushort, unsigned short)
FASTHASH_VECTOR_TYPES(int, int)
FASTHASH_VECTOR_TYPES(uint, unsigned)
FASTHASH_VECTOR_TYPES(longlong, long long)
FASTHASH_VECTOR_TYPES(ulonglong, unsigned long long)
FASTHASH_VECTOR_TYPES(float, float)
FASTHASH_VECTOR_TYPES(double, double)
#undef FASTHASH_VECTOR_TYPES

// Set before a fibre is entered; kernels only read them.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;
