# SPDX-License-Identifier: Apache-2.0
"""With `gather=True` two ranks with half of a batch each learn what one process with the whole batch learns."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import distributed
from torch.nn.functional import one_hot

from fasthash.losses import OrderAwareTripletLoss
from fasthash.losses._distributed import gather_batch
from tests.losses.contract import CLASSES, LOSSES, Entry, batch, value_and_gradient

pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="torch without torch.distributed")
ROWS = 24
MULTI_HOT = "OrderAwareTripletLoss of multi-hot labels"
ENTRIES = {**LOSSES, MULTI_HOT: Entry(OrderAwareTripletLoss, options={"weighting": "delta_ndcg"})}
NAMES = sorted(ENTRIES)


def _batch(name):
    embeddings, labels = batch(ENTRIES[name], ROWS)
    if name == MULTI_HOT:
        labels = one_hot(labels, CLASSES) + one_hot((labels + 1) % CLASSES, CLASSES)
    return embeddings, labels


def _rank(rank, path, queue):
    warnings.simplefilter("error", FutureWarning)  # of a function that torch gives up
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    for name in NAMES:
        entry = ENTRIES[name]
        embeddings, labels = _batch(name)
        part = slice(rank * ROWS // 2, (rank + 1) * ROWS // 2)
        mine = embeddings.detach()[part].clone().requires_grad_()
        value, gradients = value_and_gradient(entry(gather=True), mine, labels[part])
        queue.put((rank, name, value.item(), [gradient.tolist() for gradient in gradients]))
    mine = torch.full((2, 3), rank + 1.0, dtype=torch.float64, requires_grad=True)
    joined, _ = gather_batch("Test", mine, torch.zeros(2, dtype=torch.int64))
    (gradient,) = torch.autograd.grad((rank + 1) * joined.pow(3).sum(), mine, create_graph=True)
    second = torch.autograd.grad(gradient.sum(), mine)[0]
    queue.put((rank, "twice", gradient.tolist(), second.tolist()))
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    context = torch.multiprocessing.get_context("spawn")
    queue = context.Queue()
    path = str(tmp_path_factory.mktemp("meet") / "store")
    workers = [context.Process(target=_rank, args=(rank, path, queue)) for rank in range(2)]
    for worker in workers:
        worker.start()
    answers = [queue.get(timeout=120) for _ in range(2 * len(NAMES) + 2)]
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    return {(rank, name): (value, gradients) for rank, name, value, gradients in answers}


@pytest.mark.parametrize("name", NAMES)
def test_two_ranks_learn_what_one_process_learns(found, name):
    expected, (of_batch, *others) = value_and_gradient(ENTRIES[name](), *_batch(name))
    for rank in range(2):
        value, (of_part, *found_others) = found[rank, name]
        assert value == pytest.approx(expected.item(), rel=1e-5)
        # Twice the gradient, of which DistributedDataParallel takes the mean.
        half = of_batch[rank * ROWS // 2 : (rank + 1) * ROWS // 2]
        torch.testing.assert_close(torch.tensor(of_part), 2 * half, rtol=1e-4, atol=1e-6)
        for mine, whole in zip(found_others, others, strict=True):
            torch.testing.assert_close(torch.tensor(mine), whole, rtol=1e-4, atol=1e-6)


def test_the_joined_batch_can_be_differentiated_twice(found):
    """With x_r = r + 1 on rank r the ranks' losses are together 3 times the sum of cubes."""
    for rank, x in enumerate((1.0, 2.0)):
        first, second = (torch.tensor(each) for each in found[rank, "twice"])
        assert torch.equal(first, torch.full((2, 3), 3 * 3 * x**2))
        assert torch.equal(second, torch.full((2, 3), 3 * 6 * x))
