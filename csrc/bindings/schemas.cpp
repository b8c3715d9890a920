// SPDX-License-Identifier: Apache-2.0
// The operator schemas and their kernels. FASTHASH_NAMESPACE is `fasthash`; the test build that executes the CUDA
// kernels on the CPU registers the same operators under a name of its own.
#include "bindings/ops.h"
#include "bindings/torch_door.h"

namespace {

constexpr const char* schemas[] = {
    "tanh_quantize(Tensor logits, Tensor? sharpness_tensor, float sharpness, int penalty, int amplifier, bool inverse, "
    "float amplification, float threshold, bool pack, bool count_saturation) -> (Tensor, Tensor, Tensor, Tensor)",
    "tanh_quantize_backward(Tensor? grad_codes, Tensor? grad_penalty, Tensor logits, Tensor? sharpness_tensor, "
    "float sharpness, int penalty, int amplifier, bool inverse, float amplification, float threshold) -> Tensor",
    "order_aware_triplet(Tensor distances, Tensor relation, Tensor anchor_codes, Tensor item_codes, float margin, "
    "int weighting, bool squared, int reduction, bool normalize=True, int method=0, int ties=0, Tensor? gains=None) "
    "-> (Tensor, Tensor)",
    "order_aware_triplet_backward(Tensor grad_loss, Tensor gradient, Tensor loss) -> Tensor",
    "triplet_margin(Tensor distances, Tensor relation, float margin, int mining, bool swap, bool smooth, "
    "int reduction) -> (Tensor, Tensor)",
    "triplet_margin_backward(Tensor grad_loss, Tensor gradient, Tensor loss) -> Tensor",
    "pairwise_similarity_loss(Tensor embeddings, Tensor labels, Tensor? items, Tensor? item_labels, int rule, "
    "float scale, float threshold, float smallest, int balance, float cohesion, bool normalize, bool of_embeddings, "
    "bool of_items) -> (Tensor, Tensor, Tensor)",
    "pairwise_similarity_loss_backward(Tensor grad_loss, Tensor gradient, Tensor loss) -> Tensor",
    "class_softmax(Tensor embeddings, Tensor weights, Tensor targets, Tensor? bias, Tensor? factors, float scale, "
    "int form, bool normalize_weights, float margin, bool angular, float l1, float l2, float cubic, float outside, "
    "float edge, bool of_embeddings, bool of_weights, bool of_bias) -> (Tensor, Tensor, Tensor, Tensor)",
    "class_softmax_backward(Tensor grad_loss, Tensor gradient, Tensor loss) -> Tensor",
    "discrete_code_update(Tensor codes, Tensor relaxed, Tensor targets, Tensor target_of, int sweeps) "
    "-> (Tensor codes, Tensor changed)",
    "label_sums(Tensor values, Tensor labels, Tensor query_labels) -> (Tensor sums, Tensor counts)",
    "pack_codes(Tensor codes) -> Tensor",
    "unpack_codes(Tensor packed, int bits, ScalarType dtype) -> Tensor",
    "hamming_distance(Tensor queries, Tensor database, int packed_codes) -> Tensor",
    "hamming_topk(Tensor queries, Tensor database, int packed_codes, int k, Tensor? ids, Tensor? allow) "
    "-> (Tensor, Tensor)",
    "hamming_range(Tensor queries, Tensor database, int packed_codes, int radius, Tensor? ids, Tensor? allow) "
    "-> (Tensor offsets, Tensor distances, Tensor ids)",
    "hamming_histogram(Tensor queries, Tensor database, int packed_codes, Tensor? query_labels, "
    "Tensor? database_labels) -> (Tensor total, Tensor relevant)",
};

void register_kernels(torch::stable::detail::StableLibrary& library) {
  using namespace fasthash::bindings;
  register_tanh_quantize(library);
  register_order_aware_triplet(library);
  register_triplet_margin(library);
  register_discrete_code_update(library);
  register_label_sums(library);
  register_pack_codes(library);
  register_unpack_codes(library);
  register_hamming_distance(library);
  register_hamming_topk(library);
  register_hamming_range(library);
  register_hamming_histogram(library);
}

}  // namespace

STABLE_TORCH_LIBRARY(FASTHASH_NAMESPACE, library) {
  for (const char* schema : schemas) library.def(schema);
}

STABLE_TORCH_LIBRARY_IMPL(FASTHASH_NAMESPACE, CPU, library) {
  register_kernels(library);
  // These have no CUDA kernel.
  fasthash::bindings::register_pairwise_similarity_loss(library);
  fasthash::bindings::register_class_softmax(library);
}

#if !defined(FASTHASH_CUDA_ON_CPU)
STABLE_TORCH_LIBRARY_IMPL(FASTHASH_NAMESPACE, CUDA, library) { register_kernels(library); }
#endif
