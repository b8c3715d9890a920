// SPDX-License-Identifier: Apache-2.0
#include "label_sums/label_sums.h"

#include <pybind11/stl.h>

#include "bindings/codes.h"
#include "bindings/numpy_door.h"
#include "bindings/ops.h"
#include "bindings/run.h"
#include "bindings/torch_door.h"

namespace fasthash::bindings {
namespace {

constexpr const char* op = "label_sums";

void check_values(const View& values) {
  const Argument argument{op, "values"};
  const bool fits = values.dtype == Dtype::float32 || values.dtype == Dtype::float64 ||
                    values.dtype == Dtype::bfloat16 || values.dtype == Dtype::float16 || values.dtype == Dtype::int8;
  argument.expect(fits, "float32, float64, bfloat16, float16 or int8", dtype_name(values.dtype));
  argument.expect(values.rank() == 2 && values.sizes[1] > 0, "of shape (items, columns > 0)", text(values.sizes));
}

// Ids (M) int64 or multi-hot bits (M, W) uint8.
void check_labels(const char* name, const View& labels, const Device& device) {
  const Argument argument{op, name};
  argument.expect(labels.rank() == 1 || labels.rank() == 2, "1-D ids or 2-D packed multi-hot rows", text(labels.sizes));
  const Dtype dtype = labels.rank() == 1 ? Dtype::int64 : Dtype::uint8;
  argument.expect(labels.dtype == dtype, labels.rank() == 1 ? "int64 where 1-D" : "uint8 where 2-D",
                  dtype_name(labels.dtype));
  argument.expect(labels.device == device, "on " + text(device) + " like values", text(labels.device));
}

void check_all(const View& values, const View& labels, const View& queries) {
  check_values(values);
  check_labels("labels", labels, values.device);
  check_labels("query_labels", queries, values.device);
  Argument{op, "labels"}.expect(labels.sizes[0] == values.sizes[0],
                                "of length " + text(values.sizes[0]) + " like values", text(labels.sizes));
  const bool alike = queries.rank() == labels.rank() && (labels.rank() == 1 || queries.sizes[1] == labels.sizes[1]);
  Argument{op, "query_labels"}.expect(alike, "of the kind and width of labels " + text(labels.sizes),
                                      text(queries.sizes));
}

ItemLabels labels_of(const View& view) {
  if (view.rank() == 1) return {static_cast<const int64_t*>(view.data), nullptr, view.sizes[0], 0, 1};
  return {nullptr, static_cast<const uint8_t*>(view.data), view.sizes[0], view.sizes[1], view.sizes[1]};
}

void run_on_cpu(const LabelSums& args) {
  if (args.queries.ids == nullptr) {
    run_blocks(label_sums_bit_blocks(args.queries.count), [&](int64_t block) { label_sums_bits_cpu(args, block); });
    return;
  }
  const FirstQueries first = label_sums_first_queries(args);
  run_blocks(label_sums_id_blocks(args.columns), [&](int64_t block) { label_sums_ids_cpu(args, first, block); });
  label_sums_ids_finish_cpu(args, first);
}

template <class Door, class Tensor = typename Door::Tensor>
std::tuple<Tensor, Tensor> label_sums(const Tensor& values, const Tensor& labels, const Tensor& query_labels) {
  const View view = Door::view(values);
  check_all(view, Door::view(labels), Door::view(query_labels));
  const RowsOf<Door> rows(values);
  const Tensor items = Door::contiguous(labels), queries = Door::contiguous(query_labels);
  const int64_t asked = Door::view(queries).sizes[0];
  auto sums = Door::empty(values, {asked, view.sizes[1]}, Dtype::float64);
  auto counts = Door::empty(values, {asked}, Dtype::int64);
  const LabelSums args{rows.data(),
                       view.dtype,
                       view.sizes[1],
                       rows.rows.stride,
                       labels_of(Door::view(items)),
                       labels_of(Door::view(queries)),
                       static_cast<double*>(Door::data(sums)),
                       static_cast<int64_t*>(Door::data(counts))};
  if (asked == 0) return {sums, counts};
  if (!view.device.cuda)
    run_on_cpu(args);
  else
    run_on_device(op, view.device, FH_LAUNCH(label_sums_cuda(args, stream)));
  return {sums, counts};
}

}  // namespace

void register_label_sums(torch::stable::detail::StableLibrary& library) {
  library.impl("label_sums", TORCH_BOX(&label_sums<TorchDoor>));
}

void bind_label_sums(py::module_& module) {
  module.def("label_sums", &label_sums<NumpyDoor>, py::arg("values"), py::arg("labels"), py::arg("query_labels"));
}

}  // namespace fasthash::bindings
