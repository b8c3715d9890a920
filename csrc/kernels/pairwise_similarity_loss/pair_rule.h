// SPDX-License-Identifier: Apache-2.0
// What pairs cost and how they are weighted.
#pragma once

#include <cstdint>

namespace fasthash {

// What a pair costs, with s = 1 where it is similar and 0 elsewhere. Sent through operator schemas as integers; the
// order is part of the interface.
//   likelihood     log(1 + exp(t)) - s t, t = scale <x, y>
//   contrast       s D / 2 + (1 - s) max(0, threshold - D) / 2, D = |x - y|^2
//   cauchy         s log(D / threshold) + log(1 + threshold / D), D = max(smallest, |x - y|^2)
//   cosine_cauchy  the same of D = max(smallest, K / 2 (1 - cos(x, y)))
//   graded_likelihood  with multi-hot labels and r = cos of two of their rows: threshold (t + K - 2 K r)^2 where r is
//                      neither 0 nor 1; else, and with ids, likelihood
enum class PairRule : int32_t { likelihood, contrast, cauchy, cosine_cauchy, graded_likelihood };

// Weights, with n pairs, n1 of them similar and n0 not: none 1; both n / n1 and n / n0; similar n / n1 and 1. All 1
// where n1 or n0 is 0.
enum class PairBalance : int32_t { none, both, similar };

}  // namespace fasthash
