// SPDX-License-Identifier: Apache-2.0
#include "hamming_topk/hamming_topk.h"

#include <pybind11/stl.h>

#include <algorithm>

#include "bindings/codes.h"
#include "bindings/numpy_door.h"
#include "bindings/ops.h"
#include "bindings/run.h"
#include "bindings/torch_calls.h"
#include "bindings/torch_door.h"
#include "hamming_topk/hamming_topk_plan.h"

namespace fasthash::bindings {
namespace {

constexpr const char* op = "hamming_topk";

void check_k(int64_t codes, int64_t k) {
  Argument{op, "k"}.expect(k >= 1 && k <= codes, "in 1.." + text(codes) + " (the database)", k);
}

void search(BlockRunner& runner, const HammingTopk& args, const HammingTopkShares& shares) {
  HammingTopkSearch search(args, shares);
  do {
    for (int64_t round = 0; round < search.rounds(); ++round)
      runner.run(search.tasks(), [&](int64_t task) { search.scan(task, round); });
  } while (search.scan_again());
  runner.run(args.queries.count, [&](int64_t query) { search.finish(query); });
}

void topk_on_cpu(const HammingTopk& args) {
  BlockRunner runner;
  const HammingTopkShares shares = hamming_topk_shares(args, runner.threads());
  for (int64_t first = 0; first < args.queries.count; first += shares.queries_at_once) {
    const int64_t count = std::min(shares.queries_at_once, args.queries.count - first);
    search(runner, topk_queries(args, first, count), shares);
  }
}

using torch::stable::Tensor;

// NumPy arrays are never on a device.
void topk_on_cuda(const HammingTopk&, const py::array&, const std::optional<py::array>&) {}
void topk_on_cuda(const HammingTopk& args, const Tensor& queries, const std::optional<Tensor>& ids) {
  Argument{op, "database"}.expect(args.database.count <= hamming_topk_cuda_max_codes,
                                  "of at most 2^31 - 1 codes on CUDA", args.database.count);
  const HammingTopkPlan plan = hamming_topk_plan(args);
  const Tensor workspace = TorchDoor::empty(queries, {plan.workspace()}, Dtype::int32);
  const View memory = TorchDoor::view(workspace);
  const RisingOrder order(ids);
  run_on_device(op, memory.device,
                FH_LAUNCH(hamming_topk_cuda(args, order.data(), plan, static_cast<int32_t*>(memory.data), stream)));
}

template <class Door, class Tensor = typename Door::Tensor>
std::tuple<Tensor, Tensor> topk(const Tensor& queries, const Tensor& database, int64_t packed_codes, int64_t k,
                                const std::optional<Tensor>& ids, const std::optional<Tensor>& allow) {
  const QueriesAndDatabase<Door> codes(op, queries, database, packed_codes);
  const Device device = Door::device(queries);
  check_k(codes.database().count, k);
  const IdsAndAllow<Door> selection(op, device, codes.database().count, ids, allow);
  auto distances = Door::empty(queries, {codes.queries().count, k}, Dtype::int32);
  auto found = Door::empty(queries, {codes.queries().count, k}, Dtype::int64);
  const HammingTopk args{codes.queries(),
                         codes.database(),
                         k,
                         selection.ids(),
                         selection.allow(),
                         static_cast<int32_t*>(Door::data(distances)),
                         static_cast<int64_t*>(Door::data(found))};
  if (!device.cuda)
    topk_on_cpu(args);
  else
    topk_on_cuda(args, queries, selection.id_tensor());
  return {distances, found};
}

std::tuple<Tensor, Tensor> torch_topk(const Tensor& queries, const Tensor& database, int64_t packed_codes, int64_t k,
                                      const std::optional<Tensor>& ids, const std::optional<Tensor>& allow) {
  return topk<TorchDoor>(queries, database, packed_codes, k, ids, allow);
}

}  // namespace

void register_hamming_topk(torch::stable::detail::StableLibrary& library) {
  library.impl("hamming_topk", TORCH_BOX(&torch_topk));
}

void bind_hamming_topk(py::module_& module) {
  using OptionalArray = std::optional<py::array>;
  module.def(
      "hamming_topk",
      [](const py::array& queries, const py::array& database, int64_t k, const OptionalArray& ids,
         const OptionalArray& allow,
         int64_t packed_codes) { return topk<NumpyDoor>(queries, database, packed_codes, k, ids, allow); },
      py::arg("queries"), py::arg("database"), py::arg("k"), py::arg("ids") = py::none(), py::arg("allow") = py::none(),
      py::arg("packed_codes") = -1);
}

}  // namespace fasthash::bindings
