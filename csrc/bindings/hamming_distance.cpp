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
typename Door::Tensor distance(const typename Door::Tensor& queries, const typename Door::Tensor& database,
                               int64_t packed_codes) {
  const QueriesAndDatabase<Door> codes(op, queries, database, packed_codes);
  auto distances = Door::empty(queries, {codes.queries().count, codes.database().count}, Dtype::int32);
  const View out = Door::view(distances);
  const HammingDistance args{codes.queries(), codes.database(), static_cast<int32_t*>(out.data)};
  if (!out.device.cuda)
    run_blocks(hamming_distance_blocks(args), [&](int64_t block) { hamming_distance_cpu(args, block); });
  else
    run_on_device(op, out.device, FH_LAUNCH(hamming_distance_cuda(args, stream)));
  return distances;
}

torch::stable::Tensor torch_distance(const torch::stable::Tensor& queries, const torch::stable::Tensor& database,
                                     int64_t packed_codes) {
  return distance<TorchDoor>(queries, database, packed_codes);
}

}  // namespace

void register_hamming_distance(torch::stable::detail::StableLibrary& library) {
  library.impl("hamming_distance", TORCH_BOX(&torch_distance));
}

void bind_hamming_distance(py::module_& module) {
  module.def("hamming_distance", &distance<NumpyDoor>, py::arg("queries"), py::arg("database"),
             py::arg("packed_codes") = -1);
}

}  // namespace fasthash::bindings
