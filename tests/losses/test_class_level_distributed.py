# SPDX-License-Identifier: Apache-2.0
"""What losses over classes learn beside weights, on two ranks with half of a batch each: see also the contract."""

import pytest
import torch
from torch import distributed

from fasthash.losses import VonMisesFisherLoss
from tests.losses.class_level import BITS, CLASSES, batch, make

pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="torch without torch.distributed")


def run(rank, port, queue):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{port}", rank=rank, world_size=2)
    embeddings, ids = batch(12)
    part = slice(rank * 6, rank * 6 + 6)
    for name in ("vmf_class",):
        loss, mine = make(name, gather=True), embeddings.detach()[part].clone().requires_grad_()
        value = loss(mine, ids[part])
        found = torch.autograd.grad(value, [mine, *loss.parameters()])
        queue.put((rank, name, value.item(), [each.tolist() for each in found]))
    sums = VonMisesFisherLoss(CLASSES, BITS, gather=True)
    sums.accumulate(embeddings.detach()[part], ids[part])
    sums.update_centers()
    queue.put((rank, "centers", 0.0, [sums.centers[ids.unique()].tolist()]))
    distributed.barrier()
    distributed.destroy_process_group()


def test_two_ranks(tmp_path):
    context = torch.multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=run, args=(rank, tmp_path / "meet", queue)) for rank in range(2)]
    for worker in workers:
        worker.start()
    answers = [queue.get(timeout=120) for _ in range(4)]
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    found = {(rank, name): (value, parts) for rank, name, value, parts in answers}
    embeddings, ids = batch(12)
    for name in ("vmf_class",):
        loss = make(name)
        value = loss(embeddings, ids)
        expected = torch.autograd.grad(value, [embeddings, *loss.parameters()])
        for rank in range(2):
            assert found[rank, name][0] == pytest.approx(value.item(), rel=1e-6)
            of_embeddings, *others = map(torch.tensor, found[rank, name][1])
            # Twice the gradient, of which DistributedDataParallel takes the mean.
            torch.testing.assert_close(of_embeddings, 2 * expected[0][rank * 6 : rank * 6 + 6])
            torch.testing.assert_close(others, list(expected[1:]))
    whole = VonMisesFisherLoss(CLASSES, BITS)
    whole.accumulate(embeddings.detach(), ids)
    whole.update_centers()
    for rank in range(2):
        torch.testing.assert_close(torch.tensor(found[rank, "centers"][1][0]), whole.centers[ids.unique()])
