# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
import torch._dynamo.testing

from fasthash import ops
from fasthash.losses import DiscreteCodes, HardNegativeMiner, TripletMarginLoss, TripletSemiHardLoss


def batch(rows=24, bits=20, classes=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, bits, generator=generator), torch.randint(0, classes, (rows,), generator=generator)


def related(a, b):
    return a.unsqueeze(1) == b if a.dim() == 1 else (a.float() @ b.float().T) > 0


def expected(embeddings, labels, items, item_labels, negatives=1, positives=1, own=None):
    """By sorting all distances of every anchor."""
    hamming = ((embeddings >= 0).unsqueeze(1) != (items >= 0)).sum(2)
    alike, triplets = related(labels, item_labels), []
    for a in range(len(embeddings)):
        places = range(len(items))
        near = sorted((int(hamming[a, n]), n) for n in places if not alike[a, n])[:negatives]
        mine = -1 if own is None else int(own[a])
        far = sorted((-int(hamming[a, p]), p) for p in places if alike[a, p] and p != mine)[:positives]
        triplets += [(a, p, n) for _, p in far for _, n in near]
    return triplets


def as_list(triplets):
    assert all(each.dtype == torch.int64 for each in triplets)
    return list(zip(*(each.tolist() for each in triplets), strict=True))


@pytest.mark.parametrize(("negatives", "positives"), [(1, 1), (3, 2), (200, 200)])
def test_finds_what_sorting_finds_in_a_bank(negatives, positives):
    embeddings, labels = batch()
    items, item_labels = batch(90, seed=1)
    miner = HardNegativeMiner((ops.pack_codes(items), item_labels), negatives, positives)
    found = as_list(miner(embeddings, labels))
    assert found == expected(embeddings, labels, items, item_labels, negatives, positives)
    assert len(found) >= len(embeddings)


def test_finds_what_sorting_finds_among_multi_hot_labels():
    embeddings, _ = batch()
    items, _ = batch(90, seed=1)
    labels, item_labels = (torch.rand(n, 9) < 0.2 for n in (24, 90))
    miner = HardNegativeMiner((ops.pack_codes(items), item_labels), 2, 2)
    found = as_list(miner(embeddings, labels))
    assert found == expected(embeddings, labels, items, item_labels, 2, 2)
    assert found


def test_without_a_bank_searches_what_it_is_given():
    embeddings, labels = batch()
    items, item_labels = batch(40, seed=1)
    miner = HardNegativeMiner(negatives=2, positives=2)
    own = torch.arange(24)
    assert as_list(miner(embeddings, labels)) == expected(embeddings, labels, embeddings, labels, 2, 2, own)
    found = as_list(miner(embeddings, labels, items, item_labels))
    assert found == expected(embeddings, labels, items, item_labels, 2, 2)


def test_an_anchor_is_not_its_own_positive():
    items, item_labels = batch(40)
    positions = torch.tensor([3, 7, -1, 11])
    embeddings, labels = items[positions], item_labels[positions]
    miner = HardNegativeMiner((ops.pack_codes(items), item_labels), positives=50)
    found = as_list(miner(embeddings, labels, positions=positions))
    assert found == expected(embeddings, labels, items, item_labels, 1, 50, positions)
    assert not {(0, 3), (1, 7), (3, 11)} & {(a, p) for a, p, _ in found}


@pytest.mark.parametrize("multi_hot", [False, True])
def test_searches_discrete_codes_as_they_are_at_the_call(multi_hot):
    embeddings, labels = batch()
    items, item_labels = batch(90, seed=1)
    if multi_hot:
        labels, item_labels = (torch.nn.functional.one_hot(each, 5) for each in (labels, item_labels))
    bank = DiscreteCodes(item_labels, 20)
    miner = HardNegativeMiner(bank, 2)
    assert as_list(miner(embeddings, labels)) == expected(embeddings, labels, bank.codes, item_labels, 2)
    with torch.no_grad():
        bank.codes.copy_(torch.where(items >= 0, 1, -1))
    assert as_list(miner(embeddings, labels)) == expected(embeddings, labels, items, item_labels, 2)


def test_classes_without_partners_have_no_triplets():
    embeddings, _ = batch(6)
    for labels in (torch.arange(6), torch.zeros(6, dtype=torch.int64)):
        triplets = HardNegativeMiner()(embeddings, labels)
        assert as_list(triplets) == []
        assert TripletMarginLoss()(embeddings, labels, triplets) == 0
    assert as_list(HardNegativeMiner()(embeddings[:1], torch.zeros(1, dtype=torch.int64))) == []


@pytest.mark.parametrize("make", [TripletMarginLoss, TripletSemiHardLoss])
def test_feeds_a_triplet_loss_over_a_bank(make):
    embeddings, labels = batch()
    embeddings.requires_grad_()
    items, item_labels = batch(90, seed=1)
    triplets = HardNegativeMiner((ops.pack_codes(items), item_labels))(embeddings, labels)
    options = {"distance": "sqeuclidean", "normalize_embeddings": False, "reduction": "mean"}
    loss = make(9.0, **options)(embeddings, labels, triplets, items, item_labels)
    a, p, n = triplets
    far, near = ((embeddings[a] - items[each]).square().sum(1) for each in (p, n))
    torch.testing.assert_close(loss, (far - near + 9.0).relu().mean())
    loss.backward()
    assert embeddings.grad.abs().sum() > 0


def test_mines_for_the_cross_batch_memory_of_pytorch_metric_learning():
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    miner = HardNegativeMiner(positives=2)
    memory = losses.CrossBatchMemory(TripletMarginLoss(0.2), 20, memory_size=60, miner=miner)
    for seed in range(4):
        embeddings, labels = batch(seed=seed)
        value = memory(embeddings.requires_grad_(), labels)
        value.backward()
        assert value > 0
        assert embeddings.grad.isfinite().all()


def test_equals_the_hardest_pairs_of_their_miner_for_codes():
    """BatchHardMiner takes the same distances, where these are the Hamming distances of codes and none ties."""
    miners = pytest.importorskip("pytorch_metric_learning.miners")
    codes = torch.where(torch.randn(12, 64) >= 0, 1.0, -1.0)
    labels = torch.arange(12) % 3
    ours = HardNegativeMiner()(codes, labels)
    theirs = miners.BatchHardMiner()(codes, labels)
    distances = torch.cdist(codes, codes)
    for mine, other in zip(ours[1:], theirs[1:], strict=True):
        torch.testing.assert_close(distances[ours[0], mine], distances[theirs[0], other])


LABELS = torch.zeros(24, dtype=torch.int64)
CODES = torch.zeros(90, 3, dtype=torch.uint8)
ITEMS = (CODES, torch.zeros(90, dtype=torch.int64))


@pytest.mark.parametrize(
    ("bank", "kwargs", "text"),
    [
        (None, {"embeddings": torch.zeros(0, 20)}, "embeddings must be of shape .* not empty"),
        (None, {"embeddings": torch.full((24, 20), math.nan)}, "embeddings must be finite"),
        (None, {"labels": LABELS[:5]}, r"labels must be of length 24, got \(5,\)"),
        (None, {"labels": LABELS.unsqueeze(1)}, r"labels must be ids .* pass labels\.squeeze\(1\)"),
        ((CODES, torch.full((90, 2), torch.nan)), {"labels": torch.ones(24, 2)}, "labels of the items must be finite"),
        (None, {"labels": LABELS.float()}, "labels must be integer ids where 1-D, got float32"),
        (None, {"ref_emb": torch.zeros(5, 20)}, "ref_labels must be of length 5, got None"),
        (None, {"positions": LABELS[:3]}, r"positions must be int64 of shape \(24,\)"),
        (ITEMS, {"ref_emb": torch.zeros(5, 20)}, "ref_emb must be None where there is a bank, got a tensor"),
        ((CODES[:, :2], ITEMS[1]), {}, "bank must be of 3 bytes a code, got 2"),
        ((CODES, torch.zeros(90, 4)), {}, r"labels of the items must be like labels \(24,\), got \(90, 4\)"),
        (tuple(each.to("meta") for each in ITEMS), {}, "labels of the items must be on cpu, got meta"),
    ],
)
def test_bad_arguments(bank, kwargs, text):
    embeddings, _ = batch()
    with pytest.raises(ValueError, match=f"HardNegativeMiner: {text}"):
        HardNegativeMiner(bank)(**{"embeddings": embeddings, "labels": LABELS, **kwargs})


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((None, 0), "negatives must be at least 1, got 0"),
        ((None, 1, 0), "positives must be at least 1, got 0"),
        ((CODES,), r"bank must be None, a pair \(codes, labels\) or an object with packed\(\) and labels, got Tensor"),
        (((CODES.float(), ITEMS[1]),), "bank must be a tensor of dtype uint8"),
        (((CODES, ITEMS[1][:4]),), "bank must be of 90 codes and labels, got 4"),
    ],
)
def test_bad_options(arguments, text):
    with pytest.raises(ValueError, match=f"HardNegativeMiner: {text}"):
        HardNegativeMiner(*arguments)


def test_it_runs_beside_the_graph():
    torch._dynamo.reset()
    miner, loss = HardNegativeMiner(negatives=2), TripletMarginLoss()
    embeddings, labels = batch()
    expected = loss(embeddings, labels, miner(embeddings, labels))

    def both(embeddings, labels):
        return loss(embeddings, labels, miner(embeddings, labels))

    with pytest.raises(RuntimeError, match="call it beside the graph"):
        torch.compile(both, fullgraph=True, backend="aot_eager")(embeddings, labels)
    torch.testing.assert_close(torch.compile(both, backend="aot_eager")(embeddings, labels), expected)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(loss, fullgraph=True, dynamic=True, backend=counter)
    for seed in range(3):
        embeddings, labels = batch(seed=seed)
        triplets = miner(embeddings, labels)
        torch.testing.assert_close(compiled(embeddings, labels, triplets), loss(embeddings, labels, triplets))
    assert counter.frame_count == 1
