# SPDX-License-Identifier: Apache-2.0
"""Compiled kernels: the operators over NumPy arrays, machine variants and build facts.

The operators here take and return NumPy arrays without copies, release the GIL while they run, and give bit for bit
what `fasthash.ops` gives on the CPU. Enumerations are integers, in the order of the names in `fasthash.ops`.
"""

from typing import Any, TypedDict

import numpy as np
from numpy.typing import DTypeLike, NDArray

class BuildFacts(TypedDict):
    compiler: str
    torch_built_with: str
    cuda_compiler: str | None
    cuda_architectures: str

def build_facts() -> BuildFacts: ...
def cuda_driver_version() -> int: ...
def machines_compiled() -> list[str]: ...
def machines_available() -> list[str]: ...
def machine_in_use() -> str: ...
def force_machine(name: str) -> None: ...
def variant_counts() -> dict[str, dict[str, int]]: ...
def available_memory() -> int: ...
def force_available_memory(limit: int) -> None: ...
def order_aware_triplet(
    distances: NDArray[Any],
    relation: NDArray[np.int8],
    anchor_codes: NDArray[np.uint8],
    item_codes: NDArray[np.uint8],
    margin: float,
    weighting: int = 1,
    squared: bool = True,
    reduction: int = 0,
    normalize: bool = True,
    method: int = 0,
    ties: int = 0,
    gains: NDArray[np.float32] | None = None,
) -> tuple[NDArray[Any], NDArray[Any]]: ...
def tanh_quantize(
    logits: NDArray[Any],
    sharpness: float = 1.0,
    penalty: int = 1,
    threshold: float = 0.99,
    pack: bool = False,
    count_saturation: bool = False,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.uint8], NDArray[np.int64]]: ...
def pairwise_similarity_loss(
    embeddings: NDArray[Any],
    labels: NDArray[Any],
    items: NDArray[Any] | None = None,
    item_labels: NDArray[Any] | None = None,
    rule: int = 0,
    scale: float = 1.0,
    threshold: float = 1.0,
    smallest: float = 1.0,
    balance: int = 0,
    cohesion: float = 1.0,
    normalize: bool = False,
    of_embeddings: bool = True,
    of_items: bool = False,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]: ...
def class_softmax(
    embeddings: NDArray[np.float32],
    weights: NDArray[np.float32],
    targets: NDArray[np.int64],
    bias: NDArray[np.float32] | None = None,
    factors: NDArray[np.float32] | None = None,
    scale: float = 1.0,
    form: int = 0,
    normalize_weights: bool = False,
    margin: float = 0.0,
    angular: bool = False,
    l1: float = 0.0,
    l2: float = 0.0,
    cubic: float = 0.0,
    outside: float = 0.0,
    edge: float = 1.0,
    of_embeddings: bool = True,
    of_weights: bool = True,
    of_bias: bool = False,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]: ...
def triplet_margin(
    distances: NDArray[Any],
    relation: NDArray[np.int8],
    margin: float,
    mining: int = 0,
    swap: bool = False,
    smooth: bool = False,
    reduction: int = 2,
) -> tuple[NDArray[Any], NDArray[Any]]: ...
def tanh_quantize_backward(
    grad_codes: NDArray[Any] | None,
    grad_penalty: NDArray[Any] | None,
    logits: NDArray[Any],
    sharpness: float = 1.0,
    penalty: int = 1,
    amplifier: int = 2,
    inverse: bool = False,
    amplification: float = 10.0,
    threshold: float = 0.99,
) -> NDArray[Any]: ...
def discrete_code_update(
    codes: NDArray[np.int8],
    relaxed: NDArray[Any],
    targets: NDArray[np.float32],
    target_of: NDArray[np.int64],
    sweeps: int = 1,
) -> tuple[NDArray[np.int8], NDArray[np.int64]]: ...
def label_sums(
    values: NDArray[Any],
    labels: NDArray[np.int64] | NDArray[np.uint8],
    query_labels: NDArray[np.int64] | NDArray[np.uint8],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]: ...
def pack_codes(codes: NDArray[Any]) -> NDArray[np.uint8]: ...
def unpack_codes(packed: NDArray[np.uint8], bits: int, dtype: DTypeLike = "float32") -> NDArray[Any]: ...

# A database is uint8 rows (N, W), or with packed_codes = N the int64 array (G, words, 8) of a PackedDatabase.
Database = NDArray[np.uint8] | NDArray[np.int64]

def hamming_distance(queries: NDArray[np.uint8], database: Database, packed_codes: int = -1) -> NDArray[np.int32]: ...
def hamming_topk(
    queries: NDArray[np.uint8],
    database: Database,
    k: int,
    ids: NDArray[np.int64] | None = None,
    allow: NDArray[np.uint8] | None = None,
    packed_codes: int = -1,
) -> tuple[NDArray[np.int32], NDArray[np.int64]]: ...
def hamming_range(
    queries: NDArray[np.uint8],
    database: Database,
    radius: int,
    ids: NDArray[np.int64] | None = None,
    allow: NDArray[np.uint8] | None = None,
    packed_codes: int = -1,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]: ...
def hamming_histogram(
    queries: NDArray[np.uint8],
    database: Database,
    query_labels: NDArray[np.int64] | NDArray[np.uint8] | None = None,
    database_labels: NDArray[np.int64] | NDArray[np.uint8] | None = None,
    packed_codes: int = -1,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...
