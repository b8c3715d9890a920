// SPDX-License-Identifier: Apache-2.0
// The Python module: NumPy doors, machine variants and build facts. Loading it registers the dispatcher's operators.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings/memory.h"
#include "bindings/ops.h"
#include "common/machine.h"
#if defined(FASTHASH_WITH_CUDA)
#include "common/cuda.h"
#endif

namespace py = pybind11;

namespace {

std::vector<std::string> names(const std::vector<fasthash::Machine>& machines) {
  std::vector<std::string> all;
  for (auto machine : machines) all.emplace_back(fasthash::machine_name(machine));
  return all;
}

py::dict variant_counts() {
  py::dict counts;
  for (const auto& variant : fasthash::variant_counts()) {
    if (!counts.contains(variant.kernel)) counts[variant.kernel] = py::dict();
    counts[variant.kernel][fasthash::machine_name(variant.machine)] = variant.calls;
  }
  return counts;
}

py::dict build_facts() {
  py::dict facts;
  facts["compiler"] = FASTHASH_COMPILER;
  facts["torch_built_with"] = FASTHASH_TORCH_VERSION;
#if defined(FASTHASH_WITH_CUDA)
  facts["cuda_compiler"] = FASTHASH_CUDA_COMPILER;
  facts["cuda_architectures"] = FASTHASH_CUDA_ARCHITECTURES;
#else
  facts["cuda_compiler"] = py::none();
  facts["cuda_architectures"] = "";
#endif
  return facts;
}

// The highest CUDA version the driver serves, 0 without a driver.
int cuda_driver_version() {
  int version = 0;
#if defined(FASTHASH_WITH_CUDA)
  if (cudaDriverGetVersion(&version) != cudaSuccess) version = 0;
#endif
  return version;
}

}  // namespace

PYBIND11_MODULE(_C, module) {
  module.doc() = "Compiled kernels of fasthash.";
  fasthash::machine_in_use();  // an unknown FASTHASH_ISA fails the import, not a later call
  module.def("machines_compiled", [] { return names(fasthash::machines_compiled()); });
  module.def("machines_available", [] { return names(fasthash::machines_available()); });
  module.def("machine_in_use", [] { return fasthash::machine_name(fasthash::machine_in_use()); });
  module.def("force_machine", &fasthash::force_machine, py::arg("name"));
  module.def("variant_counts", &variant_counts);
  module.def("build_facts", &build_facts);
  module.def("cuda_driver_version", &cuda_driver_version);
  module.def("available_memory", &fasthash::bindings::available_memory);
  module.def("force_available_memory", &fasthash::bindings::force_available_memory, py::arg("limit"));
  fasthash::bindings::bind_tanh_quantize(module);
  fasthash::bindings::bind_order_aware_triplet(module);
  fasthash::bindings::bind_triplet_margin(module);
  fasthash::bindings::bind_pairwise_similarity_loss(module);
  fasthash::bindings::bind_class_softmax(module);
  fasthash::bindings::bind_discrete_code_update(module);
  fasthash::bindings::bind_label_sums(module);
  fasthash::bindings::bind_pack_codes(module);
  fasthash::bindings::bind_unpack_codes(module);
  fasthash::bindings::bind_hamming_distance(module);
  fasthash::bindings::bind_hamming_topk(module);
  fasthash::bindings::bind_hamming_range(module);
  fasthash::bindings::bind_hamming_histogram(module);
}
