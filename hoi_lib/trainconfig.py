"""What decides a training run: one frozen config, made from a preset, a profile and settings given as text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any

from hoi_lib.data.protocols import PROTOCOLS
from hoi_lib.data.samples import WINDOWS
from hoi_lib.denoiserconfig import (
    ROWS,
    DenoiserConfig,
    ablated,
    for_profile,
    hollow,
    paper,
    recommended,
    release,
)
from hoi_lib.encoders import ENCODERS
from hoi_lib.errors import ConfigError
from hoi_lib.feed import SAMPLERS
from hoi_lib.losses import LOSSES
from hoi_lib.motion import MAX_FRAMES
from hoi_lib.profiles import Profile

PRESETS = {preset.__name__: preset for preset in (recommended, paper, release, hollow)}
"""Networks; the presets of :data:`hoi_lib.data.protocols.PROTOCOLS` add the paper's training on a real set."""
CHAPTER = "hoi train --help"


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a run learns.

    ``batch`` samples make one optimiser step, however many GPUs or ``accumulation`` shares it is divided among.
    ``epochs`` above 0 replaces ``steps``: an epoch is as many whole batches as the training hands fill. The
    ``data_sampler`` "shuffled" shows every hand at most once an epoch; "balanced" draws with replacement, every caption
    as often as any other. A clip longer than ``frames`` gives its ``windows``: the "first" one, or all that stand side
    by side ("tiled").
    ``lr`` is reached after ``warmup`` steps and falls as a cosine to ``final_lr`` times itself. ``ema`` averages the
    weights over the last 1/(1 − ema) steps (0: no averaging). ``clip`` bounds the gradient's norm (0: it does not).
    ``weights`` replaces weights of :data:`hoi_lib.losses.LOSSES`. The geometric losses see ``vertices`` of the 778 and
    ``loss_points`` of the object's 1 024 points, those between hand and object (Eqs. 12–14) every ``stride``-th frame.
    ``init`` is a run or an exported checkpoint whose weights the run begins with, standardising included; left empty,
    they are drawn anew. ``refined`` is a file of refined texts (``hoi refine``); left empty, they are written by rules.
    ``threads`` 0 leaves torch's own number. ``validation`` samples are held out from the validation subject for the
    losses, ``evaluation`` for the metrics at the end.
    """

    denoiser: DenoiserConfig
    profile: str = "smoke"
    steps: int = 6000
    epochs: float = 0.0
    batch: int = 32
    lr: float = 1e-3
    warmup: int = 200
    final_lr: float = 0.02
    weight_decay: float = 0.01
    ema: float = 0.999
    clip: float = 1.0
    accumulation: int = 1
    seed: int = 0
    data_sampler: str = "shuffled"
    frames: int = MAX_FRAMES
    windows: str = "first"
    vertices: int = 778
    loss_points: int = 1024
    stride: int = 1
    init: str = ""
    refined: str = ""
    weights: Mapping[str, float] = field(default_factory=dict)
    precision: str = "fp32"
    threads: int = 0
    checkpoint_every: int = 500
    log_every: int = 25
    validate_every: int = 500
    validation: int = 64
    evaluation: int = 16
    tensorboard: bool = True

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "batch",
            "accumulation",
            "frames",
            "vertices",
            "loss_points",
            "stride",
            "checkpoint_every",
            "log_every",
            "validate_every",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} {getattr(self, name)}: expected at least 1.", chapter=CHAPTER)
        if self.batch % self.accumulation:
            raise ConfigError(
                f"batch {self.batch} cannot be divided into {self.accumulation} equal shares.", chapter=CHAPTER
            )
        if not (self.epochs >= 0 and math.isfinite(self.epochs)):
            raise ConfigError(f"epochs {self.epochs}: expected a number above 0, or 0 to count steps.", chapter=CHAPTER)
        if not (self.lr > 0 and 0 <= self.ema < 1 and 0 <= self.final_lr <= 1):
            raise ConfigError("expected lr > 0, 0 ≤ ema < 1 and 0 ≤ final_lr ≤ 1.", chapter=CHAPTER)
        for name, known in (("precision", ("fp32", "bf16")), ("data_sampler", SAMPLERS), ("windows", WINDOWS)):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} {getattr(self, name)!r}: expected {' or '.join(known)}.", chapter=CHAPTER)
        _known(self.weights, LOSSES, "loss")


def plain(config: TrainConfig) -> dict[str, Any]:
    """The config as JSON would bring it back."""
    return json.loads(json.dumps(asdict(config)))


def config_for(
    preset: str, profile: Profile, settings: Mapping[str, str] | None = None, ablation: str | None = None
) -> TrainConfig:
    """The training config of a preset at the sizes of a profile, with ``settings`` given as text ("steps": "2000").

    A preset is a network (:data:`PRESETS`) or the paper's experiment on a real set, training included
    (:data:`hoi_lib.data.protocols.PROTOCOLS`), of which the profile then decides the sizes alone. ``ablation`` names a
    row of the paper's Tables 2 and 3 (:data:`hoi_lib.denoiserconfig.ROWS`) to apply to the preset.

    A key names a field of :class:`TrainConfig`, of the denoiser ("denoiser.width", or "width" where no other field is
    called so) or a loss's weight ("weights.rec"); ``steps`` takes the place of a preset's epochs. Raises
    :class:`ConfigError` that names a wrong key or value and the nearest right one.
    """
    _known([preset], [*PRESETS, *PROTOCOLS], "preset")
    _known([ablation] if ablation else [], ROWS, "ablation")
    protocol = PROTOCOLS.get(preset)
    network = for_profile(profile, PRESETS[protocol.network if protocol else preset])
    config = TrainConfig(
        ablated(ablation, network) if ablation else network,
        profile=profile.name,
        steps=profile.steps,
        batch=profile.batch,
        lr=1e-3 * min(1.0, 128 / profile.width),  # of 5e-4 and 1e-3 the better at width 128; less for wider networks
        warmup=min(200, profile.steps // 10),
        vertices=profile.vertices,
        loss_points=profile.loss_points,
        stride=profile.stride,
        weights={"edge": 2.0} if preset == "release" and profile.vertices == 778 else {},
        evaluation=profile.evaluation_clips or 64,
    )
    return with_settings(replace(config, **protocol.settings) if protocol else config, settings or {})


def rate(config: TrainConfig, step: int) -> float:
    """Learning rate of a step (from 0) as a share of ``lr``: a line up over ``warmup`` steps, then half a cosine."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    along = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.final_lr + (1 - config.final_lr) * (1 + math.cos(math.pi * min(along, 1))) / 2


def with_settings(config: TrainConfig, settings: Mapping[str, str]) -> TrainConfig:
    """The config with fields replaced by values given as text; see :func:`config_for` for the keys."""
    own = {f.name: f for f in fields(TrainConfig) if f.name not in ("denoiser", "weights")}
    inner = {f.name: f for f in fields(DenoiserConfig)}
    changes: dict[str, Any] = {}
    network: dict[str, Any] = {}
    weights = dict(config.weights)
    if {"steps", "epochs"} <= set(settings):
        raise ConfigError("steps and epochs both say when a run ends.", "Give one of them.", CHAPTER)
    if "steps" in settings:
        changes["epochs"] = 0.0
    for key, text in settings.items():
        group, _, name = key.rpartition(".")
        if group == "weights":
            _known([name], LOSSES, "loss")
            weights[name] = _parsed(key, text, 0.0)
        elif group == "" and name in own:
            changes[name] = _parsed(key, text, getattr(config, name))
        elif group in ("", "denoiser") and name in inner:
            network[name] = _parsed(key, text, getattr(config.denoiser, name))
        else:
            _known([key], [*own, *inner, *(f"weights.{loss}" for loss in LOSSES)], "setting")
    for reader, width in (("encoder", "text_dim"), ("level_encoder", "level_dim")):
        if network.get(reader) in ENCODERS:
            network.setdefault(width, ENCODERS[network[reader]].dim)
    return replace(config, denoiser=replace(config.denoiser, **network), weights=weights, **changes)


def _known(names: Iterable[str], choice: Iterable[str], what: str) -> None:
    """Raise :class:`ConfigError` for the first name that is not in ``choice``, with the nearest that is."""
    for name in names:
        if name not in choice:
            near = get_close_matches(name, list(choice), n=1)
            mend = f"Did you mean {near[0]!r}?" if near else f"Expected one of {', '.join(choice)}."
            raise ConfigError(f"no {what} is called {name!r}.", mend, CHAPTER)


def _parsed(key: str, text: str, example: Any) -> Any:
    """``text`` as the type of ``example``."""
    try:
        if isinstance(example, bool):
            return {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}[text.lower()]
        if isinstance(example, tuple):
            return tuple(type(example[0])(part.strip()) for part in text.split(","))
        return type(example)(text)
    except (ValueError, KeyError):
        raise ConfigError(f"{key}={text!r}: expected a value like {example!r}.", chapter=CHAPTER) from None
