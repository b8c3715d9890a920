# SPDX-License-Identifier: Apache-2.0
"""Any embedding loss, over hash codes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fasthash import _checks
from fasthash.losses._inputs import check_embeddings
from fasthash.nn.hash_activation import HashActivation
from fasthash.types import HashOutput

_NAME = "BinaryLoss"
_MODELS = ("model", "sentence_embedder")  # what losses of sentence-transformers call their model


class BinaryLoss(nn.Module):
    """Another loss, of relaxed codes in place of embeddings, and a quantization penalty: binary codes for any model.

        h = tanh(sharpness * z),   L = inner(h, ...) + quantization * penalty(h)

    z are the logits of `hash_layer`, or without one the embeddings at the length sqrt(K). Called like losses of
    pytorch-metric-learning, reference embeddings become codes too. Called like those of sentence-transformers, with
    columns of features, the model's embeddings become codes on their way to the inner loss. `encode` gives the packed
    codes after training; a hash layer is trained with the loss: its parameters go to the optimizer.

    Args:
        inner: called as `inner(codes, labels, indices_tuple, ref_codes, ref_labels)` up to the last that was given, or
            as `inner(sentence_features, labels)`.
        hash_layer: a module from embeddings to `HashOutput`, such as `fasthash.nn.HashLayer(features, bits)`; None for
            `fasthash.nn.HashActivation()`, as many bits as the embeddings have values, which is all that suits a loss
            that truncates them, such as MatryoshkaLoss of sentence-transformers. Sharpness, the kind of penalty and the
            gradient amplifier are the layer's.
        quantization: weight of the layer's penalty, >= 0.
        schedule: the sharpness at each step, see `fasthash.nn.schedules`; a step is a call in training mode. The number
            of steps is saved in `state_dict`. None leaves the sharpness alone: so it has to be where the loss is
            compiled, with a `ScheduleDriver` on `set_sharpness`, as each step with a schedule is a graph of its own.
        check_finite: refuse NaN and infinite embeddings; None does so on the CPU, but not on CUDA, where it would wait
            for the device, nor under `torch.compile`.

    Raises:
        ValueError: no loss, a negative or infinite weight, a schedule for a layer that has no `set_sharpness`; in the
            call, embeddings that are not (B, K) of a floating dtype or not finite, a layer that returns something else,
            and inner losses with a gradient cache, which embed once more in backward.

    Source: growing sharpness is the continuation of HashNet (Cao et al., ICCV 2017). Putting codes under a given loss
    is this library's.

    Example:
        >>> loss = BinaryLoss(pml.losses.MultiSimilarityLoss(), HashLayer(512, 64), schedule=Continuation())
        >>> value = loss(embeddings, labels)
        >>> loss = BinaryLoss(sentence_transformers.losses.MultipleNegativesRankingLoss(model))
        >>> packed = loss.encode(torch.as_tensor(model.encode(texts)))
    """

    def __init__(
        self,
        inner: nn.Module,
        hash_layer: nn.Module | None = None,
        *,
        quantization: float = 0.1,
        schedule: Callable[[int], float] | None = None,
        check_finite: bool | None = None,
    ) -> None:
        super().__init__()
        _checks.require_finite_number(_NAME, "quantization", quantization, nonnegative=True)
        _checks.require(_is_made(inner), _NAME, "inner", "a loss, not its class", inner)
        known = hash_layer is None or _is_made(hash_layer)
        _checks.require(known, _NAME, "hash_layer", "None or a layer, not its class", hash_layer)
        self.inner = inner
        self.hash_layer: Any = HashActivation(check_finite=False) if hash_layer is None else hash_layer
        self.quantization = quantization
        self.schedule = schedule
        self.check_finite = check_finite
        self.steps = 0
        if schedule is not None:
            settable = hasattr(self.hash_layer, "set_sharpness")
            _checks.require(settable, _NAME, "schedule", "None for a hash_layer without set_sharpness", "a schedule")
            self.set_sharpness(schedule(0))

    @property
    def model(self) -> nn.Module:
        """The model that an inner loss of sentence-transformers embeds with; AttributeError where it has none."""
        found = self._model()
        if found is None:
            raise AttributeError(f"{_NAME} has no attribute 'model'")
        return found

    def _model(self) -> nn.Module | None:
        found = (getattr(self.inner, name, None) for name in _MODELS)
        return next((each for each in found if isinstance(each, nn.Module)), None)

    def set_sharpness(self, value: float) -> None:
        """Changes the sharpness of the hash layer in place."""
        self.hash_layer.set_sharpness(value)

    def forward(
        self,
        embeddings: Tensor | Iterable[Mapping[str, Any]],
        labels: Tensor | None = None,
        indices_tuple: Sequence[Tensor] | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Any:
        """Loss of a batch.

        Args:
            embeddings: (B, F), any floating dtype, F as the hash layer takes them; or the columns of features that a
                loss of sentence-transformers takes, followed by its labels alone.
            labels: as the inner loss takes them.
            indices_tuple: as the inner loss takes them.
            ref_emb: (M, F) to compare with; coded by the layer like `embeddings`, and not penalized.
            ref_labels: as the inner loss takes them.

        Returns:
            () the sum; or where the inner loss returns a dict of parts, that dict with `quantization` added.
        """
        self._advance()
        if not isinstance(embeddings, Tensor):
            return self._of_sentences(embeddings, labels)
        check_embeddings(_NAME, embeddings, ref_emb, self.check_finite)
        out = self._coded(embeddings)
        ref_codes = out.codes if ref_emb is embeddings else None if ref_emb is None else self._coded(ref_emb).codes
        arguments = [labels, indices_tuple, ref_codes, ref_labels]
        while arguments and arguments[-1] is None:
            arguments.pop()
        return self._sum(self.inner(out.codes, *arguments), out.penalty)

    def _of_sentences(self, features: Iterable[Mapping[str, Any]], labels: Tensor | None) -> Any:
        cached = bool(getattr(self.inner, "uses_gradient_cache", False))
        expected = "a loss without gradient cache, which embeds once more in backward"
        _checks.require(not cached, _NAME, "inner", expected, type(self.inner).__name__)
        model = self._model()
        if model is None:
            expected = "a tensor where the inner loss has no model"
            raise ValueError(f"{_NAME}: embeddings must be {expected}, got {type(features).__name__}")
        penalties = []

        def encode(module: nn.Module, inputs: Any, output: dict[str, Any]) -> dict[str, Any]:
            values = output["sentence_embedding"]
            check_embeddings(_NAME, values, None, self.check_finite)
            taken, width = getattr(self.hash_layer, "in_features", None), values.shape[1]
            expected = (
                f"of {taken} columns for hash_layer (losses that truncate, like MatryoshkaLoss, work without one)"
            )
            _checks.require(taken in (None, width), _NAME, "embeddings", expected, width)
            out = self._coded(values)
            penalties.append(out.penalty)
            return {**output, "sentence_embedding": out.codes}

        handle = model.register_forward_hook(encode)
        try:
            loss = self.inner(features, labels)
        finally:
            handle.remove()
        return self._sum(loss, torch.stack(penalties).mean())

    def _coded(self, embeddings: Tensor) -> HashOutput:
        out: HashOutput = self.hash_layer(embeddings)
        if not (hasattr(out, "codes") and hasattr(out, "penalty")):
            expected = "a module that returns a HashOutput, as fasthash.nn.HashLayer does"
            raise ValueError(f"{_NAME}: hash_layer must be {expected}, got one that returns {type(out).__name__}")
        return out

    def _sum(self, loss: Any, penalty: Tensor) -> Any:
        weighted = self.quantization * penalty
        if isinstance(loss, dict):
            return {**loss, "quantization": weighted}
        return loss + weighted if self.quantization else loss

    def _advance(self) -> None:
        if self.schedule is None or not self.training:
            return
        self.set_sharpness(self.schedule(self.steps))
        self.steps += 1

    @torch.no_grad()
    def encode(self, embeddings: Tensor) -> Tensor:
        """Packed codes (B, ceil(K / 8)) uint8 of embeddings (B, F), as `HashLayer.encode` makes them."""
        packed: Tensor = self.hash_layer.encode(embeddings)
        return packed

    def get_extra_state(self) -> dict[str, int]:
        """What `state_dict` holds beside buffers and parameters: how many steps were made."""
        return {"steps": self.steps}

    def set_extra_state(self, state: Mapping[str, int]) -> None:
        """Takes up the step of a `state_dict`."""
        self.steps = int(state["steps"])

    def extra_repr(self) -> str:
        """Shown by print(loss)."""
        return f"quantization={self.quantization}, schedule={self.schedule!r}"


def _is_made(module: object) -> bool:
    return callable(module) and not isinstance(module, type)
