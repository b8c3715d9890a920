// SPDX-License-Identifier: Apache-2.0
// One register_<op> (dispatcher) and one bind_<op> (NumPy) for every operator.
#pragma once

namespace torch::stable::detail {
class StableLibrary;
}
namespace pybind11 {
class module_;
}

namespace fasthash::bindings {

void register_tanh_quantize(torch::stable::detail::StableLibrary& library);
void bind_tanh_quantize(pybind11::module_& module);

void register_order_aware_triplet(torch::stable::detail::StableLibrary& library);
void bind_order_aware_triplet(pybind11::module_& module);
void register_triplet_margin(torch::stable::detail::StableLibrary& library);
void bind_triplet_margin(pybind11::module_& module);

void register_pairwise_similarity_loss(torch::stable::detail::StableLibrary& library);
void bind_pairwise_similarity_loss(pybind11::module_& module);

void register_class_softmax(torch::stable::detail::StableLibrary& library);
void bind_class_softmax(pybind11::module_& module);

void register_pack_codes(torch::stable::detail::StableLibrary& library);
void bind_pack_codes(pybind11::module_& module);

void register_unpack_codes(torch::stable::detail::StableLibrary& library);
void bind_unpack_codes(pybind11::module_& module);

void register_discrete_code_update(torch::stable::detail::StableLibrary& library);
void bind_discrete_code_update(pybind11::module_& module);

void register_hamming_distance(torch::stable::detail::StableLibrary& library);
void bind_hamming_distance(pybind11::module_& module);

void register_hamming_topk(torch::stable::detail::StableLibrary& library);
void bind_hamming_topk(pybind11::module_& module);

void register_hamming_range(torch::stable::detail::StableLibrary& library);
void bind_hamming_range(pybind11::module_& module);

void register_hamming_histogram(torch::stable::detail::StableLibrary& library);
void bind_hamming_histogram(pybind11::module_& module);

void register_label_sums(torch::stable::detail::StableLibrary& library);
void bind_label_sums(pybind11::module_& module);

}  // namespace fasthash::bindings
