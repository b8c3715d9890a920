// SPDX-License-Identifier: Apache-2.0
#include "hamming_distance/hamming_distance.h"

#include "bindings/codes.h"
#include "bindings/numpy_door.h"
#include "bindings/ops.h"
#include "bindings/run.h"
#include "bindings/torch_door.h"

namespace fasthash::bindings {
namespace {

constexpr const char* op = "hamming_distance";

template <class Door>
typename Door::Tensor distance(const typename Door::Tensor& queries, const typename Door::Tensor& database) {
  const View view = Door::view(queries);
  check_pair(op, view, Door::view(database));
  const RowsOf<Door> query_rows(queries), database_rows(database);
  auto distances = Door::empty(queries, {query_rows.rows.count, database_rows.rows.count}, Dtype::int32);
  const HammingDistance args{query_rows.codes(), as_database(database_rows.codes()),
                             static_cast<int32_t*>(Door::view(distances).data)};
  if (!view.device.cuda)
    run_blocks(hamming_distance_blocks(args), [&](int64_t block) { hamming_distance_cpu(args, block); });
  else
    run_on_device(op, view.device, FH_LAUNCH(hamming_distance_cuda(args, stream)));
  return distances;
}

torch::stable::Tensor torch_distance(const torch::stable::Tensor& queries, const torch::stable::Tensor& database) {
  return distance<TorchDoor>(queries, database);
}

}  // namespace

void register_hamming_distance(torch::stable::detail::StableLibrary& library) {
  library.impl("hamming_distance", TORCH_BOX(&torch_distance));
}

void bind_hamming_distance(py::module_& module) {
  module.def("hamming_distance", &distance<NumpyDoor>, py::arg("queries"), py::arg("database"));
}

}  // namespace fasthash::bindings
