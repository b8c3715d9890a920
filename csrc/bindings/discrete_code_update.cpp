// SPDX-License-Identifier: Apache-2.0
#include "discrete_code_update/discrete_code_update.h"

#include <pybind11/stl.h>

#include <algorithm>

#include "bindings/codes.h"
#include "bindings/numpy_door.h"
#include "bindings/ops.h"
#include "bindings/run.h"
#include "bindings/torch_door.h"

namespace fasthash::bindings {
namespace {

constexpr const char* op = "discrete_code_update";

Argument argument(const char* name) { return {op, name}; }

void check_codes(const View& codes) {
  argument("codes").expect_dtype(codes, Dtype::int8);
  argument("codes").expect(codes.rank() == 2 && codes.sizes[1] > 0, "of shape (rows, bits > 0)", text(codes.sizes));
  argument("codes").expect(codes.sizes[1] <= most_code_bits, "of at most " + text(most_code_bits) + " bits",
                           text(codes.sizes));
}

void check_matrix(const char* name, const View& view, const View& codes) {
  const int64_t bits = codes.sizes[1];
  argument(name).expect(view.rank() == 2 && view.sizes[1] == bits, "of shape (rows, " + text(bits) + ")",
                        text(view.sizes));
  argument(name).expect(view.device == codes.device, "on " + text(codes.device) + " like codes", text(view.device));
}

void check_all(const View& codes, const View& relaxed, const View& targets, const View& target_of, int64_t sweeps) {
  check_codes(codes);
  argument("relaxed").expect_floating(relaxed);
  check_matrix("relaxed", relaxed, codes);
  argument("targets").expect_dtype(targets, Dtype::float32);
  check_matrix("targets", targets, codes);
  argument("target_of").expect_dtype(target_of, Dtype::int64);
  argument("target_of")
      .expect(target_of.sizes == Shape{codes.sizes[0]}, "of shape " + text(Shape{codes.sizes[0]}) + " like codes",
              text(target_of.sizes));
  argument("target_of")
      .expect(target_of.device == codes.device, "on " + text(codes.device) + " like codes", text(target_of.device));
  argument("sweeps").expect(sweeps >= 1, "at least 1", sweeps);
}

// Reads values, so on the CPU alone; a CUDA kernel trusts its caller.
void check_range(const DiscreteCodeUpdate& args) {
  if (args.rows == 0) return;
  const auto [least, most] = std::minmax_element(args.target_of, args.target_of + args.rows);
  argument("target_of")
      .expect(*least >= 0 && *most < args.target_count, "in 0.." + text(args.target_count - 1),
              text(*least) + ".." + text(*most));
}

void run_on_cpu(const DiscreteCodeUpdate& args) {
  check_range(args);
  BlockRunner runner;
  const int64_t parts = gram_parts(args.samples), numbers = gram_columns(args.bits) * gram_columns(args.bits);
  std::vector<double> sums(size_t(parts * numbers));
  runner.run(parts, [&](int64_t part) { gram_part_cpu(args, part, sums.data() + part * numbers); });
  const Descent descent = descent_of(args, sums);
  const std::vector<int64_t> order = rows_by_target(args);
  runner.run(discrete_code_update_blocks(args.rows),
             [&](int64_t block) { discrete_code_update_cpu(args, descent, order, block); });
}

template <class Door, class Tensor = typename Door::Tensor>
std::tuple<Tensor, Tensor> update(const Tensor& codes, const Tensor& relaxed, const Tensor& targets,
                                  const Tensor& target_of, int64_t sweeps) {
  const View view = Door::view(codes), samples = Door::view(relaxed);
  check_all(view, samples, Door::view(targets), Door::view(target_of), sweeps);
  const RowsOf<Door> code_rows(codes), relaxed_rows(relaxed), target_rows(targets);
  const Tensor index = Door::contiguous(target_of);
  auto updated = Door::empty(codes, view.sizes, Dtype::int8);
  auto changed = Door::zeros(codes, {}, Dtype::int64);
  DiscreteCodeUpdate args{};
  args.codes = static_cast<const int8_t*>(code_rows.data());
  args.relaxed = relaxed_rows.data();
  args.targets = static_cast<const float*>(target_rows.data());
  args.target_of = static_cast<const int64_t*>(Door::data(index));
  args.updated = static_cast<int8_t*>(Door::data(updated));
  args.changed = static_cast<int64_t*>(Door::data(changed));
  args.rows = view.sizes[0];
  args.bits = view.sizes[1];
  args.samples = samples.sizes[0];
  args.target_count = Door::view(targets).sizes[0];
  args.code_stride = code_rows.rows.stride;
  args.relaxed_stride = relaxed_rows.rows.stride;
  args.target_stride = target_rows.rows.stride;
  args.dtype = samples.dtype;
  args.sweeps = sweeps;
  if (!view.device.cuda) {
    run_on_cpu(args);
  } else {
    const Tensor room = Door::empty(codes, {discrete_code_update_cuda_workspace(args)}, Dtype::uint8);
    void* workspace = Door::data(room);
    run_on_device(op, view.device, FH_LAUNCH(discrete_code_update_cuda(args, workspace, stream)));
  }
  return {updated, changed};
}

}  // namespace

void register_discrete_code_update(torch::stable::detail::StableLibrary& library) {
  library.impl("discrete_code_update", TORCH_BOX(&update<TorchDoor>));
}

void bind_discrete_code_update(py::module_& module) {
  module.def("discrete_code_update", &update<NumpyDoor>, py::arg("codes"), py::arg("relaxed"), py::arg("targets"),
             py::arg("target_of"), py::arg("sweeps") = 1);
}

}  // namespace fasthash::bindings
