# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import math

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from fasthash.losses import AsymmetricHashLoss, DiscreteCodes


def labels_of(kind: str, count: int) -> torch.Tensor:
    if kind == "ids":
        return torch.randint(0, 5, (count,)) * 3
    return (torch.rand(count, 9) < 0.2).float()


def batch(kind: str = "ids", items: int = 60, rows: int = 13, bits: int = 11, dtype=torch.float32):
    """Relaxed codes, their positions, and the labels and codes of all items."""
    labels, positions = labels_of(kind, items), torch.randperm(items)[:rows]
    codes = torch.randint(0, 2, (items, bits), dtype=torch.int8) * 2 - 1
    return torch.tanh(torch.randn(rows, bits)).to(dtype).requires_grad_(), positions, labels, codes


def shares(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(a == b) if a.dim() == 0 else bool(((a > 0) & (b > 0)).any())


def naive(u, at, labels, codes, dissimilar, quantization=0.0):
    """Pair by pair in float64; `dissimilar` None balances the pairs of anchors and items."""
    u, bits = u.double(), u.shape[1]
    related = [[shares(labels[i], labels[j]) for j in range(len(codes))] for i in at.tolist()]
    similar = sum(sum(row) for row in related)
    b = similar / (len(at) * len(codes) - similar) if dissimilar is None else dissimilar
    total = 0.0
    for i, row in enumerate(related):
        for j, same in enumerate(row):
            total = total + (u[i] @ codes[j].double() - bits * (1.0 if same else -b)) ** 2
        total = total + quantization * (u[i] - codes[at[i]].double()).square().sum()
    return total / (len(at) * len(codes))


def balance_of_all(labels) -> float:
    similar = sum(shares(a, b) for a in labels for b in labels)
    return similar / (len(labels) ** 2 - similar)


@pytest.mark.parametrize("backend", ["fused", "reference"])
@pytest.mark.parametrize("kind", ["ids", "multi-hot"])
@pytest.mark.parametrize("options", [{}, {"dissimilar": 1.0}, {"dissimilar": 0.25, "length_scale": True}])
def test_equals_the_naive_sum(backend, kind, options):
    u, at, labels, codes = batch(kind)
    loss = AsymmetricHashLoss(backend=backend, **options)(u, labels[at], None, codes, labels)
    expected = naive(u, at, labels, codes, options.get("dissimilar"))
    expected = expected * (12 / 11 if "length_scale" in options else 1)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=0)
    gradients = [torch.autograd.grad(value, u)[0] for value in (loss, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", ["fused", "reference"])
@pytest.mark.parametrize("kind", ["ids", "multi-hot"])
@pytest.mark.parametrize("quantization", [0.0, 7.0])
def test_discrete_codes_equal_the_naive_sum(backend, kind, quantization):
    u, at, labels, codes = batch(kind)
    bank = DiscreteCodes(labels, 11, codes=codes, quantization=quantization)
    loss_function = AsymmetricHashLoss(quantization=quantization, backend=backend)
    expected = naive(u, at, labels, codes, balance_of_all(labels), quantization)
    losses = [loss_function(u, ref_codes=bank, positions=at)]
    if not quantization:
        losses.append(loss_function(u, labels[at], ref_codes=bank))
    for loss in losses:
        torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=0)
        gradients = [torch.autograd.grad(value, u, retain_graph=True)[0] for value in (loss, expected)]
        torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)


def test_classes_that_no_item_has():
    u, _, labels, codes = batch()
    bank = DiscreteCodes(labels, 11, codes=codes, dissimilar=0.5)
    strangers = torch.full((13,), 10_000)
    loss = AsymmetricHashLoss()(u, strangers, ref_codes=bank)
    expected = (u.double() @ codes.double().T + 11 * 0.5).square().mean()
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=0)


def test_balanced_similarities_sum_to_zero():
    """Oracle: the dissimilar target is -n_1 / n_0, and the total 0."""
    for kind in ("ids", "multi-hot"):
        labels = labels_of(kind, 70)
        b = float(DiscreteCodes(labels, 8).dissimilarity())
        similar = sum(shares(a, c) for a in labels for c in labels)
        assert b == similar / (4900 - similar)
        assert abs(similar - b * (4900 - similar)) < 1e-9


def test_without_items_the_signs_of_the_batch_are_compared_with():
    u, _, _, _ = batch()
    labels = torch.arange(13) % 4
    signs = torch.where(u.detach() < 0, -1, 1).to(torch.int8)
    assert AsymmetricHashLoss()(u, labels) == AsymmetricHashLoss()(u, labels, None, signs, labels)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes(dtype):
    u, at, labels, codes = batch(dtype=dtype)
    loss = AsymmetricHashLoss()(u, labels[at], None, codes, labels)
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert loss.item() == pytest.approx(naive(u.detach(), at, labels, codes, None).item(), rel=1e-6)
    loss.backward()
    assert u.grad.dtype == dtype


def test_gradcheck():
    u, at, labels, codes = batch(dtype=torch.float64)
    bank = DiscreteCodes(labels, 11, codes=codes)
    assert torch.autograd.gradcheck(lambda x: AsymmetricHashLoss()(x, labels[at], None, codes, labels), u)
    loss = AsymmetricHashLoss(quantization=3.0)
    assert torch.autograd.gradcheck(lambda x: loss(x, ref_codes=bank, positions=at), u)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, ref_codes=bank, positions=at), u)


def test_a_perfect_code_has_no_loss():
    """Two classes with opposite codes, relaxed codes at the codes: 0, and not some rest of the cancellation."""
    labels = torch.arange(40_000) % 2
    codes = torch.where(labels == 0, 1, -1).to(torch.int8).unsqueeze(1).expand(-1, 48)
    u = codes[:16].float().requires_grad_()
    loss = AsymmetricHashLoss(dissimilar=1.0)(u, labels[:16], None, codes, labels)
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(u.grad, torch.zeros_like(u))


def test_autocast_deep_copy_and_repetition():
    u, at, labels, codes = batch()
    loss, bank = AsymmetricHashLoss(), DiscreteCodes(labels, 11, codes=codes)
    expected = loss(u, ref_codes=bank, positions=at)
    with torch.autocast("cpu", torch.bfloat16):
        assert loss(u, ref_codes=bank, positions=at) == expected
    assert copy.deepcopy(loss)(u, ref_codes=copy.deepcopy(bank), positions=at) == expected


def test_threads_give_the_same_bits(threads):
    u, at, labels, codes = batch(items=9000, rows=64, bits=48)
    results = []
    for count in (1, 2):
        threads(count)
        loss = AsymmetricHashLoss()(u, ref_codes=DiscreteCodes(labels, 48, codes=codes), positions=at)
        results.append((loss, torch.autograd.grad(loss, u)[0]))
    torch.testing.assert_close(results[0], results[1], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("with_codes", [True, False])
def test_compiles_to_one_graph_for_all_batch_sizes(with_codes):
    torch._dynamo.reset()
    loss, counter, counts = AsymmetricHashLoss(), CompileCounterWithBackend("aot_eager"), []
    _, _, labels, codes = batch()
    bank = DiscreteCodes(labels, 11, codes=codes)

    def step(u, at):
        return loss(u, ref_codes=bank, positions=at) if with_codes else loss(u, labels[at], None, codes, labels)

    compiled = torch.compile(step, fullgraph=True, dynamic=True, backend=counter)
    for rows in (13, 7, 30):
        u, at, _, _ = batch(rows=rows)
        values = compiled(u, at), step(u, at)
        torch.testing.assert_close(*values)
        torch.testing.assert_close(*(torch.autograd.grad(value, u)[0] for value in values))
        counts.append(counter.frame_count)
    assert len(set(counts)) == 1, f"compiled anew: {counts}"


def test_torch_func_grad_through_the_reference():
    u, at, labels, codes = batch(dtype=torch.float64)
    loss = AsymmetricHashLoss(backend="reference")
    gradient = torch.func.grad(lambda x: loss(x, labels[at], None, codes, labels))(u.detach())
    loss(u, labels[at], None, codes, labels).backward()
    torch.testing.assert_close(gradient, u.grad)


def test_nan_is_refused_or_passed_on():
    u, at, labels, codes = batch()
    with torch.no_grad():
        u[3, 5] = math.nan
    with pytest.raises(ValueError, match="embeddings must be finite, got 1 NaN"):
        AsymmetricHashLoss()(u, labels[at], None, codes, labels)
    assert AsymmetricHashLoss(check_finite=False)(u, labels[at], None, codes, labels).isnan()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"dissimilar": -1.0}, "dissimilar must be a finite number >= 0, got -1.0"),
        ({"quantization": math.inf}, "quantization must be a finite number >= 0, got inf"),
        ({"backend": "torch"}, "backend must be one of 'fused', 'reference', got 'torch'"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(ValueError, match=text):
        AsymmetricHashLoss(**options)


_BANK = DiscreteCodes(torch.arange(6), 4, codes=torch.ones(6, 4, dtype=torch.int8))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"embeddings": torch.zeros(4)}, "embeddings must be of shape"),
        ({"labels": None}, "labels must be given"),
        ({"indices_tuple": ()}, "indices_tuple must be None: every pair counts, got a tuple"),
        ({"ref_emb": torch.ones(6, 4)}, "ref_labels must be None where ref_emb is None, and given where it is not"),
        ({"positions": torch.arange(3)}, "positions must be None where ref_codes is None, got a tensor"),
        ({"ref_codes": _BANK, "ref_emb": torch.ones(6, 4)}, "ref_emb must be None where ref_codes is given"),
        ({"ref_codes": _BANK, "embeddings": torch.zeros(3, 5)}, "embeddings must be of 4 bits like ref_codes, got 5"),
        ({"ref_codes": _BANK, "positions": torch.zeros(3)}, "positions must be a tensor of dtype int64"),
        ({"ref_codes": _BANK, "positions": torch.arange(2)}, r"positions must be of shape \(batch,\), got \(2,\)"),
        ({"ref_codes": _BANK, "positions": torch.arange(4, 7)}, r"positions must be in 0..5, got 4..6"),
        ({"ref_codes": _BANK, "positions": torch.arange(-1, 2)}, r"positions must be in 0..5, got -1..1"),
        ({"ref_codes": _BANK, "labels": None}, "labels or positions must be given, got neither"),
        ({"ref_codes": _BANK, "labels": torch.zeros(3, 1)}, r"AsymmetricHashLoss: labels .*labels\.squeeze\(1\)"),
        ({"ref_codes": _BANK, "labels": torch.full((3, 2), torch.nan)}, "labels must be finite, got 6 NaN"),
        ({"ref_codes": _BANK, "labels": torch.zeros(3, 2)}, "labels must be 1-D ids like those of the items"),
    ],
)
def test_bad_arguments(arguments, text):
    good = {"embeddings": torch.zeros(3, 4), "labels": torch.zeros(3, dtype=torch.int64)}
    with pytest.raises(ValueError, match=text):
        AsymmetricHashLoss()(**{**good, **arguments})


def test_quantization_needs_codes_and_positions():
    loss, u, labels = AsymmetricHashLoss(quantization=1.0), torch.zeros(3, 4), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"quantization must be 0 without ref_codes, got 1\.0"):
        loss(u, labels)
    with pytest.raises(ValueError, match="positions must be given where quantization is not 0"):
        loss(u, labels, ref_codes=_BANK)


def test_similarities_are_those_of_the_codes():
    u, labels, codes = torch.zeros(3, 4), torch.arange(3), _BANK.codes
    half = DiscreteCodes(torch.arange(6), 4, codes=codes, dissimilar=0.5)
    values = [AsymmetricHashLoss(b)(u, labels, ref_codes=half) for b in (None, 0.5)]
    assert values[0] == values[1]
    with pytest.raises(ValueError, match=r"dissimilar must be None or that of ref_codes \(0.5\), got 1\.0"):
        AsymmetricHashLoss(1.0)(u, labels, ref_codes=half)
    with pytest.raises(ValueError, match=r"dissimilar must be None or that of ref_codes \(None\), got 1\.0"):
        AsymmetricHashLoss(1.0)(u, labels, ref_codes=_BANK)


def test_gather_needs_a_process_group():
    with pytest.raises(RuntimeError, match=r"gather=True needs torch\.distributed\.init_process_group"):
        AsymmetricHashLoss(gather=True)(torch.zeros(3, 4), torch.zeros(3, dtype=torch.int64))
