# SPDX-License-Identifier: Apache-2.0
"""Everything a training run can be told, as one flat table of keys; TOML files and flags both end up here."""

from __future__ import annotations

import dataclasses
import difflib
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fasthash.models import model_names
from fasthash.training.losses import LOSSES, loss_options
from fasthash.types import WEIGHTINGS

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

SKLEARN_DIGITS = "sklearn:digits"


class ConfigError(ValueError):
    """A key or value of a training configuration is not what was expected; the text names it."""


@dataclass(frozen=True)
class TrainConfig:
    """The settings of a run. None means the default of the part that is concerned.

    Attributes:
        data: Folder with ``train/<class>/*`` and ``test/<class>/*``, or "sklearn:digits".
        bits: Code length.
        model: Name for `fasthash.models.build_model`.
        batch_norm: Normalise each bit's logits over the batch, which keeps the bits balanced.
        width: Channels of the network's first stage.
        image_size: Side that images are resized to; None where they share one size.
        grayscale: Read images with one channel.
        on_broken: "skip" or "fail" on images that cannot be decoded.
        epochs: Passes over the training images.
        classes_per_batch: P of the batches of P classes x K images.
        samples_per_class: K.
        seed: Decides weights, batches and augmentation.
        device: "cpu", "cuda" or "auto" (CUDA where there is one).
        optimizer: "adamw" or "sgd".
        learning_rate: Highest learning rate; it falls to 0 along half a cosine.
        warmup: Share of all steps over which the learning rate first rises from 0.
        weight_decay: For "adamw" decoupled, for "sgd" added to the gradient.
        momentum: Of "sgd" (Nesterov).
        sharpness: Factor inside tanh at the start.
        sharpness_end: Factor inside tanh at the end; in between it grows linearly with the steps.
        penalty: Quantization penalty: "l2", "l1", "log_cosh", "cubic" or "none".
        penalty_weight: Weight of the penalty beside the loss.
        amplifier: Where the gradient of saturated bits is amplified: "wrong_side", "magnitude" or "none".
        amplification: The amplifier's factor.
        inverse: Amplify by the inverse slope, up to ``amplification``.
        threshold: Saturation from which the amplifier acts.
        loss: Name in `fasthash.training.losses.LOSSES`. Losses with a quantization term of their own may want
            ``penalty_weight = 0``.
        loss_options: Options of that loss, as its class takes them.
        margin: Of a loss that has one; None for its own. Of "order_aware_triplet" in squared Euclidean distance of +-1
            codes, bits / 4 + 4.
        weighting: Of "order_aware_triplet": "delta_ap", "delta_ndcg", "rank_difference" or "none".
        squared: Of "order_aware_triplet": square the hinge.
        backend: "fused" (the C++ and CUDA kernels) or "reference" (pure PyTorch).
        flip: Mirror training images at random.
        pad: Shift training images by up to so many pixels.
        workers: Processes that decode images which do not fit in memory.
        cache_mb: Largest MiB of pixels kept in memory for each split.
        checkpoint_every: Steps between checkpoints; 0 for one after every epoch.
        log_every: Steps between lines in the log.
    """

    data: str = ""
    bits: int = 32
    model: str = "conv_small"
    width: int | None = None
    batch_norm: bool = True
    image_size: int | None = None
    grayscale: bool = False
    on_broken: str = "skip"
    epochs: int = 30
    classes_per_batch: int = 10
    samples_per_class: int = 8
    seed: int = 0
    device: str = "auto"
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    warmup: float = 0.05
    weight_decay: float = 5e-4
    momentum: float = 0.9
    sharpness: float = 1.0
    sharpness_end: float = 2.0
    penalty: str = "l2"
    penalty_weight: float = 0.1
    amplifier: str = "wrong_side"
    amplification: float | None = None
    inverse: bool = False
    threshold: float = 0.99
    loss: str = "order_aware_triplet"
    loss_options: dict[str, Any] = field(default_factory=dict)
    margin: float | None = None
    weighting: str = "delta_ap"
    squared: bool = True
    backend: str = "fused"
    flip: bool = True
    pad: int = 4
    workers: int = 0
    cache_mb: int = 2048
    checkpoint_every: int = 0
    log_every: int = 1

    def __post_init__(self) -> None:
        for key, choices in _CHOICES.items():
            if getattr(self, key) not in choices:
                raise ConfigError(f'{key} must be one of {", ".join(choices)}, got "{getattr(self, key)}"')
        for key, (low, high) in _RANGES.items():
            value = getattr(self, key)
            if value is not None and not low <= value <= high:
                limit = f"between {low:g} and {high:g}" if high < _UNBOUNDED else f"at least {low:g}"
                raise ConfigError(f"{key} must be {limit}, got {value}")
        known = loss_options(self.loss)
        for key in self.options_of_loss():
            if key not in known:
                raise ConfigError(f"{key} is no option of loss {self.loss}; known are {', '.join(known)}")

    def options_of_loss(self) -> dict[str, Any]:
        """What is set of the loss: `loss_options`, and the keys of the loss that differ from their defaults."""
        defaults = {each.name: each.default for each in dataclasses.fields(self)}
        keys = [key for key in ("margin", "weighting", "squared") if getattr(self, key) != defaults[key]]
        return {**{key: getattr(self, key) for key in keys}, **self.loss_options}

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], source: str = "configuration") -> TrainConfig:
        """The configuration that ``values`` describe; what they leave out keeps its default.

        Raises:
            ConfigError: an unknown key (the nearest known one is named), a value of a wrong type or out of range.
        """
        known = typing.get_type_hints(cls)
        checked = {}
        for key, value in values.items():
            if key not in known:
                near = difflib.get_close_matches(key, known, 1)
                hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"
                raise ConfigError(f"{source}: unknown key {key}{hint}")
            checked[key] = _convert(key, value, known[key], source)
        try:
            return cls(**checked)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from None

    def changed(self, values: Mapping[str, Any], source: str = "configuration") -> TrainConfig:
        """A copy in which ``values`` replace what was there; errors as for `from_mapping`."""
        return self.from_mapping({**self.as_dict(), **values}, source)

    def as_dict(self) -> dict[str, Any]:
        """Every key that is neither None nor an empty table: what a TOML file of this run holds."""
        return {key: value for key, value in dataclasses.asdict(self).items() if value is not None and value != {}}

    def save(self, path: Path) -> None:
        """Writes the configuration as a TOML file that `load_config` reads back."""
        import tomli_w

        from fasthash.files import atomic_write

        with atomic_write(path) as file:
            file.write(tomli_w.dumps(self.as_dict()).encode())


def load_config(path: Path) -> dict[str, Any]:
    """The keys and values of a TOML file.

    Raises:
        ConfigError: there is no such file, or it is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: expected a TOML file, got no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: expected a TOML file, got something else: {error}") from None


def differences(old: TrainConfig, new: TrainConfig) -> list[str]:
    """What keeps ``new`` from going on where ``old`` stopped, as ``key: was old, is new``.

    Keys that change no result (where data lies, device, workers, how often to save and log) may differ.
    """
    return [
        f"{field.name}: was {getattr(old, field.name)}, is {getattr(new, field.name)}"
        for field in dataclasses.fields(TrainConfig)
        if field.name not in _FREE and getattr(old, field.name) != getattr(new, field.name)
    ]


_FREE = {"data", "device", "workers", "cache_mb", "checkpoint_every", "log_every", "on_broken"}

_CHOICES = {
    "model": tuple(model_names()),
    "on_broken": ("skip", "fail"),
    "device": ("auto", "cpu", "cuda"),
    "optimizer": ("adamw", "sgd"),
    "penalty": ("l2", "l1", "log_cosh", "cubic", "none"),
    "amplifier": ("wrong_side", "magnitude", "none"),
    "loss": tuple(LOSSES),
    "weighting": WEIGHTINGS,
    "backend": ("fused", "reference"),
}

_UNBOUNDED = 2.0**62

_RANGES: dict[str, tuple[float, float]] = {
    "bits": (1, 65536),
    "width": (1, 4096),
    "image_size": (4, 65536),
    "epochs": (1, _UNBOUNDED),
    "classes_per_batch": (2, _UNBOUNDED),
    "samples_per_class": (2, _UNBOUNDED),
    "seed": (0, _UNBOUNDED),
    "learning_rate": (0, 1e3),
    "warmup": (0, 1),
    "weight_decay": (0, 1e3),
    "momentum": (0, 1),
    "sharpness": (1e-6, 1e6),
    "sharpness_end": (1e-6, 1e6),
    "penalty_weight": (0, _UNBOUNDED),
    "amplification": (0, _UNBOUNDED),
    "threshold": (0, 1),
    "margin": (0, _UNBOUNDED),
    "pad": (0, 64),
    "workers": (0, 1024),
    "cache_mb": (0, _UNBOUNDED),
    "checkpoint_every": (0, _UNBOUNDED),
    "log_every": (1, _UNBOUNDED),
}


def _convert(key: str, value: Any, hint: Any, source: str) -> Any:
    """``value`` as the type the key has; an integer will do for a float, and nothing else for anything else."""
    wanted = hint
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        if value is None:
            return None
        wanted = next(member for member in typing.get_args(hint) if member is not type(None))
    if wanted is float and type(value) is int:
        return float(value)
    wanted = typing.get_origin(wanted) or wanted
    if type(value) is not wanted:
        raise ConfigError(f"{source}: {key} must be of type {wanted.__name__}, got {value!r}")
    return value


def parse_setting(setting: str) -> tuple[str, Any]:
    """``KEY=VALUE`` as key and value; the value is read as TOML, and as text where it is no TOML.

    Raises:
        ConfigError: there is no ``=``.
    """
    key, equals, value = setting.partition("=")
    if not equals:
        raise ConfigError(f"--set must be KEY=VALUE, got {setting}")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()
