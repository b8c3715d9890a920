// SPDX-License-Identifier: Apache-2.0
// discrete_code_update: cyclic coordinate descent over codes v of ±1, each row of its own, on
//
//     f(v) = v' G v - 2 t' v,    G = U' U (K, K) of relaxed codes U (S, K), t the row's target
//
// Bit k becomes the sign of t_k - sum over l != k of G_kl v_l, bit after bit. The sum is taken in float32 in one order
// on every machine and device (discrete_code_update_math.h): products with ±1 are exact, so that only additions round,
// and the codes are equal everywhere. A bit changes only where that sum is larger than all rounding together can have
// made it: f never rises, in exact arithmetic.
#pragma once

#include <cstdint>
#include <vector>

#include "common/dtype.h"

namespace fasthash {

constexpr int64_t most_code_bits = 1024;

struct DiscreteCodeUpdate {
  const int8_t* codes;       // (N, K), rows `code_stride` elements apart; below zero is -1, all else +1
  const void* relaxed;       // U (S, K), rows `relaxed_stride` elements apart; float64 is rounded to float32
  const float* targets;      // (P, K), rows `target_stride` elements apart
  const int64_t* target_of;  // (N): which target a row has, in [0, P)
  int8_t* updated;           // (N, K), contiguous, -1 and +1; not `codes`
  int64_t* changed;          // how many entries of `updated` are others than in `codes`; zeroed by the caller
  int64_t rows, bits, samples, target_count;
  int64_t code_stride, relaxed_stride, target_stride;
  Dtype dtype;  // of `relaxed`
  int64_t sweeps;
};

// Numbers of a block of four bits stand together; bits are filled up to whole blocks, with zeros.
constexpr int64_t bits_together = 4;
inline int64_t padded_bits(int64_t bits) { return (bits + bits_together - 1) / bits_together * bits_together; }
struct alignas(16) Four {
  float at[bits_together];
};

// Samples are summed in few parts of equal length, each in order, then part after part.
constexpr int64_t most_gram_parts = 16;
inline int64_t gram_columns(int64_t bits) { return (bits + 7) / 8 * 8; }
int64_t gram_part_rows(int64_t samples);
int64_t gram_parts(int64_t samples);

// What the descent reads besides the rows.
struct Descent {
  std::vector<Four> gram;    // (padded / 4, padded): -G_kl of four k, 0 for k = l
  std::vector<float> bound;  // (padded): what rounding can add up to, without the target's share; infinite beyond K
  float relative;            // ... and the target's share, as a factor on |t_k|; a power of two
};

// A part of the sums U' U as (gram_columns, gram_columns), of which l <= k counts; all parts make the descent's
// numbers.
void gram_part_cpu(const DiscreteCodeUpdate& args, int64_t part, double* sums);
Descent descent_of(const DiscreteCodeUpdate& args, const std::vector<double>& parts);

// Rows in the order of their targets: rows that share one are taken together.
std::vector<int64_t> rows_by_target(const DiscreteCodeUpdate& args);
int64_t discrete_code_update_blocks(int64_t rows);
void discrete_code_update_cpu(const DiscreteCodeUpdate& args, const Descent& descent, const std::vector<int64_t>& order,
                              int64_t block);

// Enqueues on `stream` (a cudaStream_t); returns a cudaError_t. The workspace is device memory, 16-byte aligned.
inline int64_t discrete_code_update_cuda_workspace(const DiscreteCodeUpdate& args) {
  const int64_t padded = padded_bits(args.bits);  // the Gram matrix, its parts in float64, the bounds
  return padded * padded * 4 + gram_parts(args.samples) * args.bits * args.bits * 8 + padded * 4;
}
int discrete_code_update_cuda(const DiscreteCodeUpdate& args, void* workspace, void* stream);

}  // namespace fasthash
