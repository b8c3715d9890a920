// SPDX-License-Identifier: Apache-2.0
// What the operators on packed codes share: the checks of a matrix of codes, and its rows as kernels read them.
#pragma once

#include "bindings/view.h"
#include "hamming_scan/hamming_scan.h"

namespace fasthash::bindings {

constexpr int64_t max_code_bytes = INT32_MAX / 8;  // distances are int32

inline void check_packed(const Argument& argument, const View& view) {
  argument.expect(view.dtype == Dtype::uint8, "a tensor of dtype uint8", dtype_name(view.dtype));
  argument.expect(view.rank() == 2 && view.sizes[1] > 0, "of shape (rows, bytes > 0)", text(view.sizes));
  argument.expect(view.sizes[1] <= max_code_bytes, "of less than 2^31 bits in a row", text(view.sizes));
}

// Queries (Q, W) and a database (N, W) that fit each other.
inline void check_pair(const char* op, const View& queries, const View& database) {
  const Argument first{op, "queries"}, second{op, "database"};
  check_packed(first, queries);
  check_packed(second, database);
  second.expect(database.sizes[1] == queries.sizes[1],
                "of shape (rows, " + std::to_string(queries.sizes[1]) + ") like queries", text(database.sizes));
  second.expect(database.device == queries.device, "on " + text(queries.device), text(database.device));
}

// A tensor whose rows kernels can read, copied only where its strides ask for it; the tensor keeps the rows alive.
template <class Door>
struct RowsOf {
  explicit RowsOf(const typename Door::Tensor& source) : tensor(source) {
    if (const auto found = as_rows(Door::view(tensor))) {
      rows = *found;
    } else {
      tensor = Door::contiguous(source);
      rows = *as_rows(Door::view(tensor));
    }
  }
  const void* data() const { return Door::view(tensor).data; }
  CodeRows codes() const { return {static_cast<const uint8_t*>(data()), rows.count, rows.length, rows.stride}; }

  typename Door::Tensor tensor;
  Rows rows{};
};

}  // namespace fasthash::bindings
