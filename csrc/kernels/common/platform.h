// SPDX-License-Identifier: Apache-2.0
// Marks for functions that the host compiler and nvcc both read.
#pragma once

#if defined(__CUDACC__)
#define FH_HD __host__ __device__
#else
#define FH_HD
#endif
