# SPDX-License-Identifier: Apache-2.0
"""fasthash's losses inside pytorch-metric-learning.

Its miners, distributed wrapper and trainers take them as they are. Its cross-batch memory goes by a list of names: the
one here does not.
"""

from __future__ import annotations

from typing import Any

from torch import nn

try:
    from pytorch_metric_learning import losses as _losses
except ImportError as error:  # pragma: no cover
    raise ImportError(
        "fasthash.integrations.metric_learning needs pytorch-metric-learning: pip install pytorch-metric-learning"
    ) from error

__all__ = ["CrossBatchMemory"]


class CrossBatchMemory(_losses.CrossBatchMemory):  # type: ignore[misc]
    """pytorch-metric-learning's cross-batch memory, for any loss that is called with indices and references.

    The latest `memory_size` embeddings are kept, and each batch is compared with all of them but itself. Unlike the
    base class it takes losses that its list does not name, such as fasthash's, and saves where it stands together with
    the memory, so that a training run goes on as if it had never stopped.

    Args:
        loss: called as `loss(embeddings, labels, indices_tuple, ref_emb, ref_labels)`.
        embedding_size: K.
        memory_size: number of embeddings that are kept.
        miner: one of pytorch-metric-learning's, or None for all pairs.

    Raises:
        ValueError: in the call, what the loss refuses; losses over classes refuse references.

    Example:
        >>> loss_function = CrossBatchMemory(DPSHLoss(), embedding_size=64, memory_size=4096)
        >>> loss = loss_function(layer(features).logits, labels)
    """

    def __init__(
        self, loss: nn.Module, embedding_size: int, memory_size: int = 1024, miner: Any = None, **options: Any
    ):
        super().__init__(loss, embedding_size, memory_size, miner, **options)

    @classmethod
    def check_loss_support(cls, loss_name: str) -> None:
        """Takes any loss."""

    def get_extra_state(self) -> dict[str, Any]:
        """Where the next batch goes, which the base class forgets."""
        return {"queue_idx": self.queue_idx, "has_been_filled": self.has_been_filled}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Part of `load_state_dict`."""
        self.queue_idx, self.has_been_filled = state["queue_idx"], state["has_been_filled"]
