// SPDX-License-Identifier: Apache-2.0
// hamming_histogram against counting bits, in both layouts, without labels, with ids and with multi-hot bits.
#include "hamming_histogram/hamming_histogram.h"

#include "hamming_device.h"

namespace fasthash {
namespace {

enum class Kind { none, ids, bits };

struct HistogramCase {
  int64_t queries, codes, width, label_width;
};
// Histograms of 8 queries, of one query and beyond shared memory; label rows longer than a word; segments cut short.
const HistogramCase cases[] = {{1, 1, 1, 1}, {9, 300, 8, 2}, {8, 1100, 4, 8}, {17, 70, 300, 9}, {2, 40, 1540, 20}};

struct LabelsOfRows {
  LabelsOfRows(int64_t rows, int64_t width, unsigned seed) : bits(rows, width, seed, 3, 0x11) {
    for (int64_t i = 0; i < rows; ++i) ids.push_back(i * 7 % 3 - (int64_t(1) << 40));
  }
  bool match(Kind kind, int64_t i, const LabelsOfRows& others, int64_t j) const {
    if (kind == Kind::ids) return ids[size_t(i)] == others.ids[size_t(j)];
    for (int64_t b = 0; b < bits.width; ++b)
      if (bits.bytes[size_t(i * bits.stride + b)] & others.bits.bytes[size_t(j * others.bits.stride + b)]) return true;
    return false;
  }
  std::vector<int64_t> ids;
  Codes bits;
};

struct DeviceLabels {
  explicit DeviceLabels(const LabelsOfRows& labels)
      : ids(labels.ids), bits(labels.bits.bytes), rows(labels.bits.rows_at(bits.data())) {}
  Labels view(Kind kind) {
    if (kind == Kind::ids) return {ids.data(), {}};
    return {nullptr, kind == Kind::bits ? rows : CodeRows{}};
  }
  DeviceBuffer<int64_t> ids;
  DeviceBuffer<uint8_t> bits;
  CodeRows rows;
};

void expect_histogram(const HistogramCase& c, Kind kind, bool packed) {
  const Codes queries(c.queries, c.width, 1), database(c.codes, c.width, 2);
  const LabelsOfRows asked(c.queries, c.label_width, 3), held(c.codes, c.label_width, 4);
  const int64_t bins = 8 * c.width + 1;
  std::vector<int64_t> total(size_t(c.queries * bins)), relevant(kind == Kind::none ? 0 : total.size());
  for (int64_t q = 0; q < c.queries; ++q) {
    for (int64_t n = 0; n < c.codes; ++n) {
      const size_t bin = size_t(q * bins + naive_distance(queries, q, database, n));
      ++total[bin];
      if (kind != Kind::none && asked.match(kind, q, held, n)) ++relevant[bin];
    }
  }
  in_every_order([&] {
    DeviceBuffer<uint8_t> rows(queries.bytes);
    DeviceDatabase codes(database, packed);
    DeviceLabels query_labels(asked), database_labels(held);
    DeviceBuffer<int64_t> all(std::vector<int64_t>(total.size(), 0)), hits(std::vector<int64_t>(relevant.size(), 0));
    const HammingHistogram args{queries.rows_at(rows.data()), codes.view(), query_labels.view(kind),
                                database_labels.view(kind),   all.data(),   hits.data()};
    CHECK_EQ(hamming_histogram_cuda(args, nullptr), int(cudaSuccess));
    CHECK_EQ(all.host(), total);
    CHECK_EQ(hits.host(), relevant);
  });
}

TEST(hamming_histogram_cuda_equals_counting_bits) {
  for (const HistogramCase& c : cases)
    for (Kind kind : {Kind::none, Kind::ids, Kind::bits})
      for (bool packed : {false, true}) expect_histogram(c, kind, packed);
}

TEST(hamming_histogram_cuda_of_nothing) {
  for (bool packed : {false, true}) {
    expect_histogram({3, 0, 8, 1}, Kind::ids, packed);
    expect_histogram({0, 3, 8, 1}, Kind::bits, packed);
  }
}

}  // namespace
}  // namespace fasthash
