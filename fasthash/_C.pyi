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
def order_aware_triplet(
    distances: NDArray[Any],
    relation: NDArray[np.int8],
    anchor_codes: NDArray[np.uint8],
    item_codes: NDArray[np.uint8],
    margin: float,
    weighting: int = 1,
    squared: bool = True,
    reduction: int = 0,
) -> tuple[NDArray[Any], NDArray[Any]]: ...
def tanh_quantize(
    logits: NDArray[Any],
    sharpness: float = 1.0,
    penalty: int = 1,
    threshold: float = 0.99,
    pack: bool = False,
    count_saturation: bool = False,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.uint8], NDArray[np.int64]]: ...
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
def pack_codes(codes: NDArray[Any]) -> NDArray[np.uint8]: ...
def unpack_codes(packed: NDArray[np.uint8], bits: int, dtype: DTypeLike = "float32") -> NDArray[Any]: ...
def hamming_distance(queries: NDArray[np.uint8], database: NDArray[np.uint8]) -> NDArray[np.int32]: ...
def hamming_topk(
    queries: NDArray[np.uint8], database: NDArray[np.uint8], k: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]: ...
