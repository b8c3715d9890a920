// SPDX-License-Identifier: Apache-2.0
// Whether one item is relevant to one query.
#pragma once

#include "hamming_histogram/hamming_histogram.h"

namespace fasthash {

FH_HD inline bool is_relevant(const Labels& query_labels, int64_t q, const Labels& database_labels, int64_t n) {
  if (query_labels.ids) return query_labels.ids[q] == database_labels.ids[n];
  const CodeRows &a = query_labels.bits, &b = database_labels.bits;
  for (int64_t i = 0; i < a.width; ++i)
    if (a.data[q * a.stride + i] & b.data[n * b.stride + i]) return true;
  return false;
}

}  // namespace fasthash
