// SPDX-License-Identifier: Apache-2.0
#include "hamming_range/hamming_range.h"

#include <pybind11/stl.h>

#include "bindings/codes.h"
#include "bindings/memory.h"
#include "bindings/numpy_door.h"
#include "bindings/ops.h"
#include "bindings/run.h"
#include "bindings/torch_calls.h"
#include "bindings/torch_door.h"

namespace fasthash::bindings {
namespace {

constexpr const char* op = "hamming_range";
constexpr int64_t result_bytes = sizeof(int32_t) + sizeof(int64_t);

[[noreturn]] void refuse(int64_t total, const std::string& there_is) {
  throw MemoryError(std::string(op) + ": " + std::to_string(total) + " results need " +
                    gibibytes(double(total) * result_bytes) + " (12 bytes each), " + there_is +
                    ". Take a smaller radius, or fewer queries at a time.");
}

// What is allocated for that many results, or the refusal in place of the allocator's own.
template <class F>
auto allocated(int64_t total, const Device& device, const F& allocate) {
  try {
    return allocate();
  } catch (const std::exception&) {
    refuse(total, "which " + text(device) + " could not allocate");
  }
}

// Results (total,), of which nothing is allocated unless there is room for all.
template <class Door, class Tensor = typename Door::Tensor>
std::tuple<Tensor, Tensor> make_room(const Tensor& like, int64_t total) {
  const Device device = Door::device(like);
  if (const int64_t available = available_memory(); !device.cuda && total > available / result_bytes)
    refuse(total, "and " + gibibytes(double(available)) + " of memory are available");
  return allocated(total, device, [&] {
    return std::tuple(Door::empty(like, {total}, Dtype::int32), Door::empty(like, {total}, Dtype::int64));
  });
}

template <class Tensor>
struct Result {
  Tensor offsets, distances, ids;
};

// A runner for each pass: NumPy arrays are made with the GIL.
template <class Door, class Tensor = typename Door::Tensor>
Result<Tensor> range_on_cpu(const HammingRange& args, const Tensor& like) {
  const int64_t blocks = hamming_range_blocks(args), queries = args.queries.count;
  auto offset_tensor = Door::zeros(like, {queries + 1}, Dtype::int64);
  auto* offsets = static_cast<int64_t*>(Door::data(offset_tensor));
  run_blocks(blocks, [&](int64_t block) { hamming_range_count_cpu(args, block, offsets + 1); });
  for (int64_t q = 0; q < queries; ++q) offsets[q + 1] += offsets[q];
  auto [distance_tensor, id_tensor] = make_room<Door>(like, offsets[queries]);
  auto* distances = static_cast<int32_t*>(Door::data(distance_tensor));
  auto* ids = static_cast<int64_t*>(Door::data(id_tensor));
  run_blocks(blocks, [&](int64_t block) { hamming_range_write_cpu(args, block, offsets, distances, ids); });
  return {offset_tensor, distance_tensor, id_tensor};
}

using torch::stable::Tensor;

#if defined(FASTHASH_WITH_CUDA)
// Waits for the device.
int64_t last_of(Tensor offsets) {
  const Tensor last = torch::stable::narrow(offsets, 0, offsets.size(0) - 1, 1);
  const Tensor host = torch::stable::to(last, torch::stable::Device(torch::headeronly::DeviceType::CPU));
  return *static_cast<const int64_t*>(host.data_ptr());
}

Result<Tensor> range_on_cuda(const HammingRange& args, const Tensor& like, const std::optional<Tensor>& ids) {
  const Device device = TorchDoor::device(like);
  Argument{op, "database"}.expect(args.database.count <= hamming_range_cuda_max_codes,
                                  "of at most 2^31 - 1 codes on CUDA", args.database.count);
  const auto data = [](const Tensor& tensor) { return TorchDoor::data(tensor); };
  const Tensor counts = TorchDoor::zeros(like, {args.queries.count + 1}, Dtype::int64);
  auto* const count_data = static_cast<int64_t*>(data(counts));
  run_on_device(op, device, FH_LAUNCH(hamming_range_count_cuda(args, count_data + 1, stream)));
  const Tensor offsets = call_torch("aten::cumsum", counts, int64_t(0), std::optional<ScalarType>());
  const int64_t total = last_of(offsets);
  const auto [distances, found] = make_room<TorchDoor>(like, total);
  const RisingOrder order(ids);
  const Tensor room = allocated(
      total, device, [&] { return TorchDoor::empty(like, {hamming_range_workspace(args, total)}, Dtype::int32); });
  run_on_device(
      op, device,
      FH_LAUNCH(hamming_range_write_cuda(args, order.data(), static_cast<const int64_t*>(data(offsets)), total,
                                         static_cast<int32_t*>(data(room)), static_cast<int32_t*>(data(distances)),
                                         static_cast<int64_t*>(data(found)), stream)));
  return {offsets, distances, found};
}
#else
Result<Tensor> range_on_cuda(const HammingRange&, const Tensor& like, const std::optional<Tensor>&) {
  run_on_device(op, TorchDoor::device(like), nullptr);  // raises
  return {};
}
#endif

template <class Door, class Tensor = typename Door::Tensor>
std::tuple<Tensor, Tensor, Tensor> range(const Tensor& queries, const Tensor& database, int64_t packed_codes,
                                         int64_t radius, const std::optional<Tensor>& ids,
                                         const std::optional<Tensor>& allow) {
  const QueriesAndDatabase<Door> codes(op, queries, database, packed_codes);
  const Device device = Door::device(queries);
  Argument{op, "radius"}.expect(radius >= 0, ">= 0", radius);
  const IdsAndAllow<Door> selection(op, device, codes.database().count, ids, allow);
  const HammingRange args{codes.queries(), codes.database(), radius, selection.ids(), selection.allow()};
  Result<Tensor> found;
  if constexpr (std::is_same_v<Door, TorchDoor>)
    found = device.cuda ? range_on_cuda(args, queries, selection.id_tensor()) : range_on_cpu<Door>(args, queries);
  else
    found = range_on_cpu<Door>(args, queries);
  return {found.offsets, found.distances, found.ids};
}

std::tuple<Tensor, Tensor, Tensor> torch_range(const Tensor& queries, const Tensor& database, int64_t packed_codes,
                                               int64_t radius, const std::optional<Tensor>& ids,
                                               const std::optional<Tensor>& allow) {
  return range<TorchDoor>(queries, database, packed_codes, radius, ids, allow);
}

}  // namespace

void register_hamming_range(torch::stable::detail::StableLibrary& library) {
  library.impl("hamming_range", TORCH_BOX(&torch_range));
}

void bind_hamming_range(py::module_& module) {
  using OptionalArray = std::optional<py::array>;
  module.def(
      "hamming_range",
      [](const py::array& queries, const py::array& database, int64_t radius, const OptionalArray& ids,
         const OptionalArray& allow,
         int64_t packed_codes) { return range<NumpyDoor>(queries, database, packed_codes, radius, ids, allow); },
      py::arg("queries"), py::arg("database"), py::arg("radius"), py::arg("ids") = py::none(),
      py::arg("allow") = py::none(), py::arg("packed_codes") = -1);
}

}  // namespace fasthash::bindings
