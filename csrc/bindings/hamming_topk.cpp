// SPDX-License-Identifier: Apache-2.0
#include "hamming_topk/hamming_topk.h"

#include <pybind11/stl.h>

#include <algorithm>

#include "bindings/codes.h"
#include "bindings/numpy_door.h"
#include "bindings/ops.h"
#include "bindings/run.h"
#include "bindings/torch_door.h"
#include "hamming_topk/hamming_topk_plan.h"

namespace fasthash::bindings {
namespace {

constexpr const char* op = "hamming_topk";

void check_k(const View& database, int64_t k) {
  const int64_t codes = database.sizes[0];
  Argument{op, "k"}.expect(k >= 1 && k <= codes, "in 1.." + std::to_string(codes) + " (the database)", k);
}

void search(BlockRunner& runner, const HammingTopk& args, const HammingTopkShares& shares) {
  HammingTopkSearch search(args, shares);
  for (int64_t round = 0; round < search.rounds(); ++round)
    runner.run(search.tasks(), [&](int64_t task) { search.scan(task, round); });
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

template <class Door>
void topk_on_cuda(const HammingTopk& args, const typename Door::Tensor& queries) {
  Argument{op, "database"}.expect(args.database.count <= hamming_topk_cuda_max_codes,
                                  "of at most 2^31 - 1 codes on CUDA", args.database.count);
  const HammingTopkPlan plan = hamming_topk_plan(args);
  const auto workspace = Door::empty(queries, {plan.workspace()}, Dtype::int32);
  const View memory = Door::view(workspace);
  run_on_device(op, memory.device,
                FH_LAUNCH(hamming_topk_cuda(args, nullptr, plan, static_cast<int32_t*>(memory.data), stream)));
}

template <class Door>
std::tuple<typename Door::Tensor, typename Door::Tensor> topk(const typename Door::Tensor& queries,
                                                              const typename Door::Tensor& database, int64_t k) {
  const View view = Door::view(queries);
  check_pair(op, view, Door::view(database));
  check_k(Door::view(database), k);
  const RowsOf<Door> query_rows(queries), database_rows(database);
  auto distances = Door::empty(queries, {query_rows.rows.count, k}, Dtype::int32);
  auto ids = Door::empty(queries, {query_rows.rows.count, k}, Dtype::int64);
  const HammingTopk args{query_rows.codes(),
                         as_database(database_rows.codes()),
                         k,
                         nullptr,
                         nullptr,
                         static_cast<int32_t*>(Door::view(distances).data),
                         static_cast<int64_t*>(Door::view(ids).data)};
  if (!view.device.cuda)
    topk_on_cpu(args);
  else
    topk_on_cuda<Door>(args, queries);
  return {distances, ids};
}

using torch::stable::Tensor;

std::tuple<Tensor, Tensor> torch_topk(const Tensor& queries, const Tensor& database, int64_t k) {
  return topk<TorchDoor>(queries, database, k);
}

}  // namespace

void register_hamming_topk(torch::stable::detail::StableLibrary& library) {
  library.impl("hamming_topk", TORCH_BOX(&torch_topk));
}

void bind_hamming_topk(py::module_& module) {
  module.def("hamming_topk", &topk<NumpyDoor>, py::arg("queries"), py::arg("database"), py::arg("k"));
}

}  // namespace fasthash::bindings
