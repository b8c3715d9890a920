# SPDX-License-Identifier: Apache-2.0
"""What every loss keeps to, whatever it computes: see contract.py."""

from __future__ import annotations

import copy
import inspect
import math

import pytest
import torch
import torch._dynamo.testing

from fasthash import losses
from fasthash.nn import Linear, ScheduleDriver
from tests.losses.contract import BITS, CLASSES, LOSSES, OTHERS, batch, names_against, value_and_gradient

NAMES = sorted(LOSSES)
PAIRS = names_against("items")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:torch")


def options_of(name):
    return inspect.signature(getattr(losses, name).__init__).parameters


def test_every_exported_loss_is_in_the_catalog():
    assert set(losses.__all__) == set(LOSSES) | OTHERS
    assert not set(LOSSES) & OTHERS


@pytest.mark.parametrize("name", NAMES)
def test_numbers_among_the_options_are_numbers(name):
    """Weights are not below 0; a margin may be."""
    numbers = [option for option, each in options_of(name).items() if "float" in str(each.annotation)]
    for option in numbers:
        bad = ["a", math.nan, math.inf]
        if option.endswith(("quantization", "weight", "soft", "scale", "gamma", "kappa", "variance", "temperature")):
            bad.append(-1.0)
        for value in bad:
            with pytest.raises(ValueError, match=f"^{name}: {option} must be a finite number.*, got {value!r}$"):
                LOSSES[name].make(**{**LOSSES[name].options, option: value})
    assert ("margin" in numbers) is ("margin" in options_of(name))


@pytest.mark.parametrize("name", NAMES)
def test_options_are_shown(name):
    for option, each in options_of(name).items():
        if "float" in str(each.annotation):
            shown = repr(LOSSES[name].make(**{**LOSSES[name].options, option: 1.375}))
            assert f"{option}=1.375" in shown, (option, shown)


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_those_of_pytorch_metric_learning(name):
    entry = LOSSES[name]
    expected = ["self", "embeddings", "labels", "indices_tuple", "ref_emb", "ref_labels"]
    assert list(inspect.signature(getattr(losses, name).forward).parameters)[:6] == expected
    value, gradients = value_and_gradient(entry(), *batch(entry))
    assert value.shape == ()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert gradients[0].abs().sum() > 0


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_gives_the_same_in_float64(name):
    entry = LOSSES[name]
    if "backend" not in options_of(name):
        pytest.skip(f"{name} is plain PyTorch")
    embeddings, labels = batch(entry, dtype=torch.float64)
    ours, reference = (
        value_and_gradient(entry(backend=backend).double(), embeddings, labels) for backend in ("fused", "reference")
    )
    torch.testing.assert_close(ours, reference, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_half_precisions_are_computed_in_float32(name, dtype):
    entry = LOSSES[name]
    embeddings, labels = batch(entry, dtype=dtype)
    wide = embeddings.detach().float().requires_grad_()
    expected, gradients = value_and_gradient(entry(), wide, labels)
    value, found = value_and_gradient(entry(), embeddings, labels)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    assert found[0].dtype == dtype
    largest = gradients[0].abs().max().item()
    torch.testing.assert_close(found[0].float(), gradients[0], rtol=2e-2, atol=1e-2 * largest)
    with torch.autocast("cpu", dtype=dtype):
        torch.testing.assert_close(entry()(wide, labels).float(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_one_graph_for_changing_batches(name):
    entry = LOSSES[name]
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    loss = entry()
    compiled = torch.compile(loss, fullgraph=True, dynamic=True, backend=counter)
    counts = []
    for rows in (24, 33, 20):
        arguments = batch(entry, rows)
        torch.testing.assert_close(value_and_gradient(compiled, *arguments), value_and_gradient(loss, *arguments))
        counts.append(counter.frame_count)  # a backward of its own is a second graph of the first call
    assert counts[0] in (1, 2)
    assert counts == counts[:1] * 3, f"compiled anew: {counts}"


@pytest.mark.parametrize("name", [name for name in NAMES if "margin" in options_of(name)])
def test_a_margin_follows_a_schedule(name):
    entry = LOSSES[name]
    loss, arguments = entry(), batch(entry)
    driver = ScheduleDriver(Linear(0.1, 0.5, 3), loss.set_margin)
    for margin in (0.1, 0.3, 0.5):
        assert loss.margin == pytest.approx(margin)
        torch.testing.assert_close(loss(*arguments), entry(margin=margin)(*arguments))
        driver.step()
    for bad in (math.nan, math.inf):
        for refused in (loss.set_margin, lambda bad: entry(margin=bad)):
            with pytest.raises(ValueError, match=f"^{name}: margin must be a finite number"):
                refused(bad)
    assert loss.margin == 0.5


@pytest.mark.parametrize("backend", ["fused", "reference"])
@pytest.mark.parametrize("name", NAMES)
def test_a_loss_may_be_changed_in_place(name, backend):
    entry = LOSSES[name]
    loss = entry(**({"backend": backend} if "backend" in options_of(name) else {}))
    arguments = batch(entry)
    _, expected = value_and_gradient(loss, *arguments)
    value = loss(*arguments)
    value /= 4
    value += 1
    parameters = [p for p in loss.parameters() if p.requires_grad]
    found = torch.autograd.grad(value, [arguments[0], *parameters])
    torch.testing.assert_close(found, tuple(gradient / 4 for gradient in expected))


@pytest.mark.parametrize("name", NAMES)
def test_copies_and_saved_states_give_the_same(name):
    entry = LOSSES[name]
    embeddings, labels = batch(entry)
    loss = entry()
    loss(embeddings, labels)
    expected = copy.deepcopy(loss).eval()(embeddings, labels)
    torch.manual_seed(9)
    other = entry.make(**entry.options)
    other.load_state_dict(loss.state_dict())
    assert torch.equal(other.eval()(embeddings, labels), expected)


@pytest.mark.parametrize("rows", [150, 2500])
@pytest.mark.parametrize("name", NAMES)
def test_repeated_calls_and_any_number_of_threads_give_the_same(name, rows, threads):
    """Also where PyTorch gives each thread a part of the 40,000 values of a batch."""
    entry = LOSSES[name]
    embeddings, labels = batch(entry, rows)
    threads(1)
    expected, gradients = value_and_gradient(entry(), embeddings, labels)
    for count in (1, 2, 3, 7):
        threads(count)
        value, found = value_and_gradient(entry(), embeddings, labels)
        if count == 1 or entry.split != "all":
            assert torch.equal(value, expected)
        if count == 1 or not entry.split:
            assert all(torch.equal(a, b) for a, b in zip(found, gradients, strict=True))
        torch.testing.assert_close((value, found), (expected, gradients), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_small_and_one_sided_batches_have_a_value(name):
    entry = LOSSES[name]
    embeddings, labels = batch(entry)
    same = embeddings.detach()[:1].expand(24, -1).clone().requires_grad_()
    for rows, ids in (
        (embeddings[:1].detach().requires_grad_(), labels[:1]),
        (embeddings[:2].detach().requires_grad_(), torch.tensor([0, 1])),
        (embeddings, torch.zeros_like(labels)),
        (same, labels),
    ):
        value, gradients = value_and_gradient(entry(), rows, ids)
        assert value.isfinite()
        assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(name, value):
    entry = LOSSES[name]
    embeddings, labels = batch(entry)
    bad = embeddings.detach().clone()
    bad[3, 2] = value
    with pytest.raises(ValueError, match=rf"^{name}: embeddings must .*(finite|NaN|\[-1, 1\])"):
        entry()(bad, labels)


@pytest.mark.parametrize("name", NAMES)
def test_nan_passes_on_where_it_is_not_looked_for(name):
    entry = LOSSES[name]
    embeddings, labels = batch(entry)
    bad = embeddings.detach().clone()
    bad[3, 2] = math.nan
    assert entry(check_finite=False)(bad, labels).isnan()


@pytest.mark.parametrize("name", NAMES)
def test_bad_embeddings_are_named(name):
    _, labels = batch(LOSSES[name])
    loss = LOSSES[name]()
    for embeddings in (torch.zeros(0, BITS), torch.zeros(BITS), torch.zeros(24, BITS, dtype=torch.int32)):
        with pytest.raises(ValueError, match=f"^{name}: embeddings must "):
            loss(embeddings, labels[: len(embeddings)])


@pytest.mark.parametrize("name", names_against("items", "constants", "classes"))
def test_bad_labels_are_named(name):
    embeddings, labels = batch(LOSSES[name])
    loss = LOSSES[name]()
    for bad in (None, labels[:7], torch.zeros(24, 2, 2), labels.to("meta")):
        with pytest.raises(ValueError, match=f"^{name}: labels.* must "):
            loss(embeddings, bad)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_tensor_is_named(name):
    embeddings, labels = (each.detach() for each in batch(LOSSES[name]))
    for options in [{}, {"check_finite": False}]:
        loss = LOSSES[name](**options)
        for bad, kind in ((embeddings.numpy(), "ndarray"), (embeddings.tolist(), "list"), (None, "NoneType")):
            with pytest.raises(TypeError, match=rf"^{name}: embeddings must be a torch.Tensor, got {kind}$"):
                loss(bad, labels)
        if LOSSES[name].against == "nothing":
            continue
        for bad, kind in ((labels.numpy(), "ndarray"), (labels.tolist(), "list"), ("label", "str")):
            with pytest.raises(TypeError, match=rf"^{name}: labels must be a torch.Tensor, got {kind}$"):
                loss(embeddings, bad)


@pytest.mark.parametrize("name", PAIRS)
def test_references_that_are_no_tensors_are_named(name):
    embeddings, labels = (each.detach() for each in batch(LOSSES[name]))
    loss, array = LOSSES[name](), labels.numpy()
    with pytest.raises(TypeError, match=rf"^{name}: ref_emb must be a torch.Tensor, got ndarray$"):
        loss(embeddings, labels, None, embeddings.numpy(), labels)
    with pytest.raises(TypeError, match=rf"^{name}: ref_labels must be a torch.Tensor, got ndarray$"):
        loss(embeddings, labels, None, embeddings, array)
    with pytest.raises(TypeError, match=rf"^{name}: similarity must be a torch.Tensor, got ndarray$"):
        loss(embeddings, similarity=array[:, None] == array)
    with pytest.raises(TypeError, match=r"^(relation_from_indices|Triplet\w+): indices_tuple .* torch.Tensor, got "):
        loss(embeddings, labels, (array, array, array))


@pytest.mark.parametrize("name", names_against("items", "classes"))
def test_indices_that_are_not_of_a_miner_are_named(name):
    embeddings, labels = batch(LOSSES[name])
    loss, one = LOSSES[name](), torch.tensor([0, 1])
    for bad, text in (
        ((one, one), "must be of 3 or 4 tensors, got 2$"),
        ((one, one, one.float()), r"\(n\) must be a 1-D int64 tensor( of length 2)?, got float32 of shape \(2,\)$"),
        ((one, one[:, None], one), r"\(p\) must be a 1-D int64 tensor( of length 2)?, got int64 of shape \(2, 1\)$"),
        ((one, one, one, one + 23), r"\(n\) must be in 0..23, got 23..24$"),
        ((one - 1, one, one), r"\((a|a1)\) must be in 0..23, got -1..0$"),
    ):
        with pytest.raises(ValueError, match=rf"^({name}|relation_from_indices): indices_tuple {text}"):
            loss(embeddings, labels, bad)


@pytest.mark.parametrize("name", names_against("classes"))
def test_ids_out_of_range_are_named(name):
    embeddings, labels = batch(LOSSES[name])
    for shift, got in ((1, "1..4"), (-1, "-1..2")):
        with pytest.raises(ValueError, match=rf"^{name}: labels must be ids in 0..3, got {got}$"):
            LOSSES[name]()(embeddings, labels + shift)


@pytest.mark.parametrize("name", names_against("items", "constants", "classes"))
def test_ids_in_a_column_are_no_multi_hot_rows(name):
    embeddings, labels = batch(LOSSES[name])
    for column in (labels.unsqueeze(1), labels.unsqueeze(1).float()):
        with pytest.raises(ValueError, match=rf"^{name}: labels must .*labels\.squeeze\(1\).* got \(24, 1\)$"):
            LOSSES[name]()(embeddings, column)


@pytest.mark.parametrize("name", names_against("items", "constants", "classes"))
def test_multi_hot_rows_are_set_above_zero_and_finite(name):
    entry = LOSSES[name]
    embeddings, labels = batch(entry)
    rows = torch.nn.functional.one_hot(labels, CLASSES) * 3 - 1
    expected = entry()(embeddings, rows > 0)
    assert torch.equal(entry()(embeddings, rows), expected)
    assert torch.equal(entry()(embeddings, rows.double()), expected)
    bad = rows.float().where(rows > 0, math.nan)
    assert torch.equal(entry(check_finite=False)(embeddings, bad), expected)
    with pytest.raises(ValueError, match=f"^{name}: labels must be finite, got 72 NaN"):
        entry()(embeddings, bad)


@pytest.mark.parametrize("name", PAIRS)
def test_references_and_similarities_are_finite(name):
    entry = LOSSES[name]
    embeddings, labels = batch(entry)
    rows = torch.nn.functional.one_hot(labels, CLASSES).float()
    bad = rows.clone()
    bad[3, 2] = math.nan
    with pytest.raises(ValueError, match=f"^{name}: ref_labels must be finite, got 1 NaN"):
        entry()(embeddings, rows, None, embeddings.detach(), bad)
    with pytest.raises(ValueError, match=f"^{name}: similarity must be finite, got 24 NaN"):
        entry()(embeddings, similarity=bad @ rows.T)


@pytest.mark.parametrize("name", names_against("classes", "nothing"))
def test_references_are_refused_where_nothing_is_compared_with_them(name):
    embeddings, labels = batch(LOSSES[name])
    for references in ((embeddings, labels), (None, labels)):
        with pytest.raises(ValueError, match=f"^{name}: ref_(emb|labels) must be None"):
            LOSSES[name]()(embeddings, labels, None, *references)


@pytest.mark.parametrize("name", PAIRS)
def test_a_gallery_takes_the_place_of_the_batch(name):
    entry = LOSSES[name]
    embeddings, labels = batch(entry)
    gallery, gallery_labels = batch(entry, 40, seed=1)
    value = entry()(embeddings, labels, None, gallery, gallery_labels)
    gradients = torch.autograd.grad(value, [embeddings, gallery])
    assert all(gradient.abs().sum() > 0 for gradient in gradients)
    with pytest.raises(ValueError, match=f"^{name}: "):
        entry()(embeddings, labels, None, gallery)
    with pytest.raises(ValueError, match=f"^{name}: "):
        entry()(embeddings, labels, None, gallery[:, :8], gallery_labels)


@pytest.mark.parametrize("name", PAIRS)
def test_mined_triplets_are_taken_for_the_pairs_they_hold(name):
    """But for losses that look at each triplet by itself."""
    entry = LOSSES[name]
    embeddings, labels = batch(entry)
    gallery, gallery_labels = batch(entry, 40, seed=1)
    alike = labels[:, None] == gallery_labels
    triplets = (alike[:, :, None] & ~alike[:, None]).nonzero()[::7].unbind(1)  # no product of positives and negatives
    anchors, positives, negatives = triplets
    pairs = (anchors, positives, anchors, negatives)
    found, of_pairs = (
        torch.stack([value, *(each.sum() for each in torch.autograd.grad(value, [embeddings, gallery]))])
        for value in (entry()(embeddings, None, indices, gallery) for indices in (triplets, pairs))
    )
    assert found.isfinite().all()
    assert torch.equal(found, of_pairs) is (name not in ("TripletHardLoss", "TripletMarginLoss", "TripletSemiHardLoss"))


@pytest.mark.parametrize("of_gallery", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", names_against("items", "constants"))
def test_a_gallery_of_another_dtype_is_brought_to_that_of_the_embeddings(name, dtype, of_gallery):
    entry = LOSSES[name]
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    embeddings, labels = batch(entry, dtype=dtype)
    gallery, gallery_labels = batch(entry, 40, seed=1, dtype=of_gallery)
    value = entry()(embeddings, labels, None, gallery, gallery_labels)
    value.backward()
    assert value.dtype == wide
    expected = entry()(embeddings.detach().to(wide), labels, None, gallery.detach().to(wide), gallery_labels)
    torch.testing.assert_close(value.detach(), expected, rtol=1e-5, atol=1e-6)
    assert embeddings.grad.dtype == dtype
    assert gallery.grad is None if entry.against == "constants" else gallery.grad.dtype == of_gallery
