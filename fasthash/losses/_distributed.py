# SPDX-License-Identifier: Apache-2.0
"""The joined batch of all ranks of a distributed run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fasthash import _checks


def gather_batch(name: str, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings and labels of all ranks, one rank after the other, with the gradient of the embeddings.

    Every rank computes the loss of the joined batch. The backward of the gathering adds up the gradients of all ranks,
    so a rank's embeddings get world-size times the gradient of that loss; the mean that DistributedDataParallel takes
    over the ranks makes parameters' gradients those of one process with the joined batch. Without it they are
    world-size times as large.

    Args:
        name: of the loss, for the error text.
        embeddings: (B, K) of this rank; all ranks have the same B and K.
        labels: (B,) or (B, C) of this rank.

    Raises:
        RuntimeError: no process group is initialised.
        ValueError: ranks have batches of different sizes.
    """
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        raise RuntimeError(f"{name}: gather=True needs torch.distributed.init_process_group() first")
    ranks = distributed.get_world_size()
    sizes = [torch.empty(1, dtype=torch.int64, device=embeddings.device) for _ in range(ranks)]
    distributed.all_gather(sizes, torch.tensor([embeddings.shape[0]], device=embeddings.device))
    lengths = [int(size) for size in sizes]
    _checks.require(len(set(lengths)) == 1, name, "embeddings", "as many on every rank where gather=True", lengths)
    parts = [torch.empty_like(labels) for _ in range(ranks)]
    distributed.all_gather(parts, labels.contiguous())
    joined: Tensor = _Joined.apply(embeddings)  # type: ignore[no-untyped-call]
    return joined, torch.cat(parts)


class _Joined(torch.autograd.Function):
    """(W B, K) of all W ranks, one after the other."""

    @staticmethod
    def forward(ctx: Any, mine: Tensor) -> Tensor:
        mine = mine.contiguous()
        parts = [torch.empty_like(mine) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, mine)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        mine: Tensor = _OwnPartOfSum.apply(gradients[0])  # type: ignore[no-untyped-call]
        return mine


class _OwnPartOfSum(torch.autograd.Function):
    """This rank's (B, K) of the sum over all ranks' (W B, K)."""

    @staticmethod
    def forward(ctx: Any, joined: Tensor) -> Tensor:
        whole = joined.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(whole)
        return whole.chunk(torch.distributed.get_world_size())[torch.distributed.get_rank()].clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        joined: Tensor = _Joined.apply(gradients[0])  # type: ignore[no-untyped-call]
        return joined
