// SPDX-License-Identifier: Apache-2.0
// What the operators on packed codes share: queries, databases, ids and masks, checked and as kernels read them.
#pragma once

#include "bindings/view.h"
#include "hamming_scan/codes.h"

namespace fasthash::bindings {

// A candidate of a search is one word of 64 bits: 24 for its distance, 40 for its position.
constexpr int64_t max_code_bytes = (int64_t(1) << 21) - 1, max_codes = int64_t(1) << 40;

inline void check_packed(const Argument& argument, const View& view) {
  argument.expect(view.dtype == Dtype::uint8, "a tensor of dtype uint8", dtype_name(view.dtype));
  argument.expect(view.rank() == 2 && view.sizes[1] > 0, "of shape (rows, bytes > 0)", text(view.sizes));
  argument.expect(view.sizes[1] <= max_code_bytes, "of less than 2^24 bits in a row", text(view.sizes));
}

// A database (N, W) of rows that fits queries (Q, W).
inline void check_rows(const Argument& argument, const View& queries, const View& database) {
  check_packed(argument, database);
  argument.expect(database.sizes[1] == queries.sizes[1], "of shape (rows, " + text(queries.sizes[1]) + ") like queries",
                  text(database.sizes));
  argument.expect(database.sizes[0] <= max_codes, "of at most 2^40 rows", text(database.sizes));
}

// A database in the scan layout, int64 (G, words, 8), that holds `count` codes as wide as queries (Q, W).
inline void check_scan_layout(const Argument& argument, const View& queries, const View& database, int64_t count) {
  const int64_t width = queries.sizes[1], bytes = word_bytes(width);
  const Shape shape{ceil_div(count, tile_codes) * tile_codes * bytes / 64, words_of(width), 8};
  argument.expect(database.dtype == Dtype::int64, "a tensor of dtype int64 where it is packed",
                  dtype_name(database.dtype));
  argument.expect(database.sizes == shape,
                  "of shape " + text(shape) + " for packed_codes " + text(count) + " of width " + text(width),
                  text(database.sizes));
  const auto rows = as_rows(database);
  const bool dense = rows && (rows->count <= 1 || rows->stride == 8);
  argument.expect(dense, "contiguous where it is packed", "strides " + text(database.strides));
  const auto misaligned = reinterpret_cast<uintptr_t>(database.data) % 64;
  argument.expect(misaligned == 0 || database.numel() == 0, "64-byte aligned where it is packed",
                  "an address of " + text(misaligned) + " mod 64");
}

// A tensor whose rows kernels can read, copied only where its strides ask for it; the tensor keeps the rows alive.
template <class Door>
struct RowsOf {
  explicit RowsOf(const typename Door::Tensor& source) : RowsOf(source, Door::view(source)) {}
  RowsOf(const typename Door::Tensor& source, const View& view) : tensor(source) {
    if (const auto found = as_rows(view)) {
      rows = *found;
    } else {
      tensor = Door::contiguous(source);
      rows = *as_rows(Door::view(tensor));
    }
  }
  const void* data() const { return Door::data(tensor); }
  CodeRows codes() const { return {static_cast<const uint8_t*>(data()), rows.count, rows.length, rows.stride}; }

  typename Door::Tensor tensor;
  Rows rows{};
};

// Queries (Q, W) and a database that fits them: rows (N, W) where packed_codes is -1, else that many codes in the scan
// layout. The tensors keep the codes alive.
template <class Door>
class QueriesAndDatabase {
 public:
  using Tensor = typename Door::Tensor;

  QueriesAndDatabase(const char* op, const Tensor& queries, const Tensor& database, int64_t packed_codes)
      : QueriesAndDatabase(op, queries, Door::view(queries), database, Door::view(database), packed_codes) {}

  CodeRows queries() const { return queries_.codes(); }
  const Database& database() const { return database_; }

 private:
  QueriesAndDatabase(const char* op, const Tensor& queries, const View& query_view, const Tensor& database,
                     const View& view, int64_t packed_codes)
      : queries_(queries, checked(op, query_view, view, packed_codes)), tensor_(database) {
    if (packed_codes >= 0) {
      database_ = {static_cast<const uint8_t*>(view.data), packed_codes, queries_.rows.length, 0};
    } else {
      const RowsOf<Door> rows(database, view);
      tensor_ = rows.tensor;
      database_ = as_database(rows.codes());
    }
  }

  static const View& checked(const char* op, const View& queries, const View& database, int64_t packed_codes) {
    check_packed({op, "queries"}, queries);
    Argument{op, "packed_codes"}.expect(packed_codes >= -1 && packed_codes <= max_codes,
                                        "-1 (rows) or a number of codes up to 2^40", packed_codes);
    const Argument argument{op, "database"};
    if (packed_codes < 0)
      check_rows(argument, queries, database);
    else
      check_scan_layout(argument, queries, database, packed_codes);
    argument.expect(database.device == queries.device, "on " + text(queries.device), text(database.device));
    return queries;
  }

  RowsOf<Door> queries_;
  Tensor tensor_;
  Database database_{};
};

// The ids (N) int64 of the codes of a database and the mask (ceil(N / 8)) uint8 of those that may be found, or null.
template <class Door>
class IdsAndAllow {
 public:
  using Optional = std::optional<typename Door::Tensor>;

  IdsAndAllow(const char* op, const Device& device, int64_t codes, const Optional& ids, const Optional& allow)
      : ids_(checked({op, "ids"}, device, ids, Dtype::int64, codes, "one for each code")),
        allow_(checked({op, "allow"}, device, allow, Dtype::uint8, ceil_div(codes, 8), "one bit for each code")) {}

  const Optional& id_tensor() const { return ids_; }
  const int64_t* ids() const { return static_cast<const int64_t*>(data(ids_)); }
  const uint8_t* allow() const { return static_cast<const uint8_t*>(data(allow_)); }

 private:
  static Optional checked(const Argument& argument, const Device& device, const Optional& tensor, Dtype dtype,
                          int64_t length, const char* why) {
    if (!tensor) return std::nullopt;
    const View view = Door::view(*tensor);
    argument.expect(view.dtype == dtype, "a tensor of dtype " + text(dtype_name(dtype)), dtype_name(view.dtype));
    argument.expect(view.sizes == Shape{length}, "of shape " + text(Shape{length}) + ", " + why, text(view.sizes));
    argument.expect(view.device == device, "on " + text(device), text(view.device));
    return Door::contiguous(*tensor);
  }
  static const void* data(const Optional& tensor) { return tensor ? Door::data(*tensor) : nullptr; }

  Optional ids_, allow_;
};

}  // namespace fasthash::bindings
