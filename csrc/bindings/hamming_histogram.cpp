// SPDX-License-Identifier: Apache-2.0
#include "hamming_histogram/hamming_histogram.h"

#include <pybind11/stl.h>

#include "bindings/codes.h"
#include "bindings/numpy_door.h"
#include "bindings/ops.h"
#include "bindings/run.h"
#include "bindings/torch_door.h"

namespace fasthash::bindings {
namespace {

constexpr const char* op = "hamming_histogram";

// The labels of one side, contiguous but for strided rows of bits; the tensor keeps them alive.
template <class Door>
class LabelsOf {
 public:
  LabelsOf(const char* name, const typename Door::Tensor& labels, int64_t rows, const Device& device)
      : source_(checked({op, name}, labels, rows, device)) {
    if (Door::view(labels).rank() == 1)
      labels_.ids = static_cast<const int64_t*>(source_.data());
    else
      labels_.bits = source_.codes();
  }
  const Labels& labels() const { return labels_; }

 private:
  static const typename Door::Tensor& checked(const Argument& argument, const typename Door::Tensor& labels,
                                              int64_t rows, const Device& device) {
    const View view = Door::view(labels);
    const bool ids = view.rank() == 1;
    argument.expect(ids || view.rank() == 2, "1-D class ids or 2-D packed multi-hot rows", text(view.sizes));
    argument.expect(view.dtype == (ids ? Dtype::int64 : Dtype::uint8),
                    ids ? "a tensor of dtype int64 where 1-D" : "a tensor of dtype uint8 (packed bits) where 2-D",
                    dtype_name(view.dtype));
    argument.expect(view.sizes[0] == rows, "of length " + text(rows) + ", one for each code", view.sizes[0]);
    argument.expect(view.device == device, "on " + text(device), text(view.device));
    return labels;
  }

  RowsOf<Door> source_;
  Labels labels_{};
};

void check_alike(const View& query_labels, const View& database_labels) {
  const Shape row(query_labels.sizes.begin() + 1, query_labels.sizes.end());
  const std::string expected = row.empty() ? "1-D class ids like query_labels"
                                           : std::string("rows of " + text(row[0]) + " bytes like query_labels");
  Argument{op, "database_labels"}.expect(Shape(database_labels.sizes.begin() + 1, database_labels.sizes.end()) == row,
                                         expected, text(database_labels.sizes));
}

template <class Door, class Tensor = typename Door::Tensor>
std::tuple<Tensor, Tensor> histogram(const Tensor& queries, const Tensor& database, int64_t packed_codes,
                                     const std::optional<Tensor>& query_labels,
                                     const std::optional<Tensor>& database_labels) {
  const QueriesAndDatabase<Door> codes(op, queries, database, packed_codes);
  const Device device = Door::device(queries);
  Argument{op, "database_labels"}.expect(!query_labels || database_labels, "given like query_labels", "None");
  Argument{op, "query_labels"}.expect(!database_labels || query_labels, "given like database_labels", "None");
  std::optional<LabelsOf<Door>> first, second;
  if (query_labels) {
    first.emplace("query_labels", *query_labels, codes.queries().count, device);
    second.emplace("database_labels", *database_labels, codes.database().count, device);
    check_alike(Door::view(*query_labels), Door::view(*database_labels));
  }

  const Shape shape{codes.queries().count, 8 * codes.queries().width + 1};
  auto total = Door::zeros(queries, shape, Dtype::int64);
  auto relevant = Door::zeros(queries, first ? shape : Shape{0}, Dtype::int64);
  const HammingHistogram args{codes.queries(),
                              codes.database(),
                              first ? first->labels() : Labels{},
                              second ? second->labels() : Labels{},
                              static_cast<int64_t*>(Door::data(total)),
                              first ? static_cast<int64_t*>(Door::data(relevant)) : nullptr};
  if (!device.cuda) {
    const int64_t blocks = hamming_histogram_blocks(args, BlockRunner::threads());
    run_blocks(blocks, [&](int64_t block) { hamming_histogram_cpu(args, block, blocks); });
  } else {
    run_on_device(op, device, FH_LAUNCH(hamming_histogram_cuda(args, stream)));
  }
  return {total, relevant};
}

using torch::stable::Tensor;

std::tuple<Tensor, Tensor> torch_histogram(const Tensor& queries, const Tensor& database, int64_t packed_codes,
                                           const std::optional<Tensor>& query_labels,
                                           const std::optional<Tensor>& database_labels) {
  return histogram<TorchDoor>(queries, database, packed_codes, query_labels, database_labels);
}

}  // namespace

void register_hamming_histogram(torch::stable::detail::StableLibrary& library) {
  library.impl("hamming_histogram", TORCH_BOX(&torch_histogram));
}

void bind_hamming_histogram(py::module_& module) {
  using OptionalArray = std::optional<py::array>;
  module.def(
      "hamming_histogram",
      [](const py::array& queries, const py::array& database, const OptionalArray& query_labels,
         const OptionalArray& database_labels, int64_t packed_codes) {
        return histogram<NumpyDoor>(queries, database, packed_codes, query_labels, database_labels);
      },
      py::arg("queries"), py::arg("database"), py::arg("query_labels") = py::none(),
      py::arg("database_labels") = py::none(), py::arg("packed_codes") = -1);
}

}  // namespace fasthash::bindings
