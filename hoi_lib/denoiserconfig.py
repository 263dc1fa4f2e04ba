"""What decides a denoiser: one frozen config, the three readings of the paper, and the rows of its ablation tables.

D width, G groups (hand, finger, joint), M experts per group, K active ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from hoi_lib.diffusion import SCHEDULES
from hoi_lib.errors import ConfigError
from hoi_lib.motion import COORDINATES, OBJECT_DIM, RICH_OBJECT_DIM
from hoi_lib.profiles import Profile

TRAJECTORIES = {"raw": OBJECT_DIM, "rich": RICH_OBJECT_DIM}  # numbers per frame
LEVELS = ("hand", "finger", "joint")
TOKENS = ("text", "action", "object", "side", "shape")
CHAPTER = "the docstring of hoi_lib.denoiserconfig.DenoiserConfig"
CHOICES: dict[str, tuple[str, ...]] = {
    "feedforward": ("dense", "experts", "dit_moe"),
    "guidance": ("refined", "caption", "none"),
    "cross_attention": ("tokens", "pooled", "constant"),
    "attention_in": ("group", "expert"),
    "norm": ("pre", "post"),
    "activation": ("gelu", "relu"),
    "balance": ("sum", "release"),
    "side": ("learned", "fixed"),
    "positions": ("frames", "all"),
    "coordinates": COORDINATES,
    "trajectory": tuple(TRAJECTORIES),
    "schedule": tuple(SCHEDULES),
    "betas": ("subject", "zero"),
    "sampler": ("ddim", "ddpm"),
    "executor": ("fast", "dense"),
}
"""The values that each choice of a :class:`DenoiserConfig` may take."""


@dataclass(frozen=True)
class DenoiserConfig:
    """Sizes and choices of a :class:`~hoi_lib.denoiser.Denoiser`; the defaults are the hollow network's.

    **Experts.** ``feedforward``: "dense" (one of inner width ``hidden``), "experts" (HSE), or "dit_moe". Each of
    ``groups`` has one expert per entry of ``experts`` (their inner widths), ``active`` of which run. A group hears the
    ``guidance``: its level of the refined text, the plain caption, or nothing; through ``cross_attention`` to its
    tokens, to its one pooled vector ("pooled", with the queries and keys that never learn; "constant", without them),
    once per group or in every expert (``attention_in``). The router hears ``branches``, each through its own linear
    map, or through one of both together (``joint_router``); ``balance`` combines the branches' losses. ``executor``
    runs the chosen experts alone ("fast") or all of them ("dense", the reference).

    **Network.** ``norm`` before or after each half of a block; ``tokens`` the condition tokens after the time's, in
    order; ``side`` a learned or the fixed vector; ``positions`` the tokens that carry a position code; without
    ``mask_padding`` padded frames are attended to. ``text_dim`` and ``level_dim`` are the widths of ``encoder`` (text,
    action) and ``level_encoder`` (refined text); ``points`` and ``point_width`` the PointNet's.

    **Numbers.** ``coordinates``: the frame in which the 99 numbers are written ("object": the object's own at each
    frame); ``standardise`` them or leave metres; ``trajectory``: what the network hears of the object's motion ("raw":
    its 10 numbers, or "rich": :func:`~hoi_lib.motion.rich_trajectory`); ``betas``: the subject's hand or the mean one.

    **Noise.** ``schedule`` (:meth:`Schedule.of`), ``condition_dropout`` (how often text and action are each withheld in
    training), ``sampler`` and, for DDIM, ``sampling_steps``.

    Raises :class:`ConfigError` where values do not fit together.
    """

    width: int = 512
    blocks: int = 8
    heads: int = 4
    feedforward: str = "dense"
    hidden: int = 2048
    groups: Sequence[str] = LEVELS
    experts: Sequence[int] = (1024, 512, 256)
    active: int = 1
    guidance: str = "refined"
    cross_attention: str = "tokens"
    attention_in: str = "group"
    branches: Sequence[str] = ("action", "time")
    joint_router: bool = False
    balance: str = "sum"
    executor: str = "fast"
    norm: str = "pre"
    activation: str = "gelu"
    dropout: float = 0.0
    tokens: Sequence[str] = TOKENS
    side: str = "learned"
    positions: str = "frames"
    mask_padding: bool = True
    encoder: str = "minilm"
    text_dim: int = 384
    level_encoder: str = "minilm"
    level_dim: int = 384
    points: int = 1024
    point_width: int = 256
    coordinates: str = "object"
    standardise: bool = True
    trajectory: str = "rich"
    betas: str = "subject"
    schedule: str = "cosine"
    condition_dropout: float = 0.1
    sampler: str = "ddim"
    sampling_steps: int = 50

    def __post_init__(self) -> None:
        for field in fields(self):  # a checkpoint's JSON gives lists
            if isinstance(getattr(self, field.name), list):
                object.__setattr__(self, field.name, tuple(getattr(self, field.name)))
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} {getattr(self, name)!r}: expected one of {', '.join(known)}.")
        self._check_sizes()
        self._check_lists()

    def _check_sizes(self) -> None:
        if self.heads < 1 or self.width % (2 * self.heads):
            raise ConfigError(
                f"width {self.width} with {self.heads} heads: expected an even number of channels per head.",
                "Choose a width that twice the number of heads divides.",
                CHAPTER,
            )
        sizes = (self.width, self.blocks, self.hidden, self.text_dim, self.level_dim, self.points, self.point_width)
        if min(*sizes, self.sampling_steps) < 1:
            raise ConfigError("sizes of the denoiser: expected whole numbers of at least 1.")
        if not (0 <= self.dropout < 1 and 0 <= self.condition_dropout <= 1):
            raise ConfigError("dropout: expected shares from 0 to 1.")

    def _check_lists(self) -> None:
        if not self.experts or min(self.experts) < 1 or not 1 <= self.active <= len(self.experts):
            raise ConfigError(
                f"{self.active} of the experts {self.experts} active: expected widths of at least 1, and from one "
                "expert to all of them active."
            )
        for name, known in (("branches", ("action", "time")), ("tokens", TOKENS)):
            given = getattr(self, name)
            if len(set(given)) < len(given) or not set(given) <= set(known) or not given:
                raise ConfigError(f"{name} {', '.join(given) or 'of nothing'}: expected some of {', '.join(known)}.")
        if not self.groups or (self.guidance == "refined" and not set(self.groups) <= set(LEVELS)):
            raise ConfigError(
                f"groups {', '.join(self.groups) or 'of nothing'} with refined text: expected some of "
                f"{', '.join(LEVELS)}.",
                'Set guidance="caption" for other groups.',
            )


Preset = Callable[..., DenoiserConfig]


def hollow(width: int = 512, blocks: int = 8, heads: int = 4, **changes: Any) -> DenoiserConfig:
    """The network with a dense feed-forward where the experts will stand; inner width 4 D unless given."""
    return DenoiserConfig(width=width, blocks=blocks, heads=heads, **{"hidden": 4 * width, **changes})


def paper(width: int = 512, blocks: int = 8, heads: int = 4, **changes: Any) -> DenoiserConfig:
    """MoEG-HOI as printed, with only the decisions that the paper leaves open (the appendix "Reading decisions").

    The paper's encoders are ``encoder="clip", level_encoder="longclip"``, both with width 512; the default is the one
    that needs no download.
    """
    printed = {
        "feedforward": "experts",
        "experts": (2 * width, width, width // 2),
        "dropout": 0.1,
        "tokens": ("text", "action", "object", "side"),
        "positions": "all",
        "coordinates": "world",
        "standardise": False,
        "trajectory": "raw",
        "betas": "zero",
        "schedule": "linear",
        "sampler": "ddpm",
        "sampling_steps": 1000,
    }
    return DenoiserConfig(width=width, blocks=blocks, heads=heads, **{**printed, **changes})


def release(width: int = 512, blocks: int = 8, heads: int = 4, **changes: Any) -> DenoiserConfig:
    """MoEG-HOI as its authors' published code has it, where that differs from the paper."""
    published = {
        "cross_attention": "pooled",
        "attention_in": "expert",
        "norm": "post",
        "activation": "relu",
        "balance": "release",
        "tokens": ("text", "action", "side", "shape", "object"),
        "side": "fixed",
        "mask_padding": False,
        "betas": "subject",
        "schedule": "cosine",
        "condition_dropout": 0.0,
        "sampler": "ddim",
        "sampling_steps": 100,
    }
    return paper(width, blocks, heads, **{**published, **changes})


def recommended(width: int = 512, blocks: int = 8, heads: int = 4, **changes: Any) -> DenoiserConfig:
    """The default network: the paper's experts and readings, in the object's frame, with the release's tokens."""
    chosen = {"feedforward": "experts", "experts": (2 * width, width, width // 2)}
    return DenoiserConfig(width=width, blocks=blocks, heads=heads, **{**chosen, **changes})


def flat(config: DenoiserConfig) -> dict[str, Any]:
    """One pool of all experts instead of groups, the caption instead of levels, as many active as before."""
    pool = tuple(sorted(config.experts * len(config.groups), reverse=True))
    active = config.active * len(config.groups)
    return {"guidance": "caption", "groups": ("whole",), "experts": pool, "active": active}


def equal(config: DenoiserConfig) -> dict[str, Any]:
    """:func:`flat`, and every expert as wide as the widest."""
    pool = flat(config)
    return {**pool, "experts": (max(config.experts),) * len(pool["experts"])}


ROWS: dict[str, Callable[[DenoiserConfig], dict[str, Any]]] = {
    "w/o refined text": lambda c: {"guidance": "caption"},
    "+ w/o expert group": flat,
    "+ w/o hierarchical size": equal,
    "w/o independent balance": lambda c: {"joint_router": True},
    "w/o action router": lambda c: {"branches": ("time",)},
    "w/o timestep router": lambda c: {"branches": ("action",)},
    "DiT-MoE": lambda c: {"feedforward": "dit_moe"},
    "d_max 512": lambda c: {"experts": tuple(d // 2 for d in c.experts)},
    "d_max 2048": lambda c: {"experts": tuple(d * 2 for d in c.experts)},
    "M 2": lambda c: {"experts": c.experts[:2]},
    "M 4": lambda c: {"experts": (*c.experts, c.experts[-1] // 2)},
}
"""What each row of the paper's Tables 2 and 3 changes; rows with + keep what the row above took away. The names
d_max 512 and 2048 are the paper's: half and twice the widest expert, whatever the width."""


def ablated(row: str, base: DenoiserConfig) -> DenoiserConfig:
    """``base`` with what a row of the paper's Tables 2 and 3 changes; :class:`ConfigError` for another row."""
    if row not in ROWS:
        raise ConfigError(f"no ablation is called {row!r}: expected one of {', '.join(ROWS)}.")
    return replace(base, **ROWS[row](base))


ABLATIONS: dict[str, Callable[[], DenoiserConfig]] = {row: lambda row=row: ablated(row, paper()) for row in ROWS}
"""Tables 2 and 3 at the paper's sizes: each row is :func:`paper` with one decision replaced."""


def for_profile(profile: Profile, preset: Preset = recommended, **changes: Any) -> DenoiserConfig:
    """A preset at the sizes of a profile. A profile that samples DDIM in fewer steps than the preset keeps its own."""
    config = preset(profile.width, profile.blocks, profile.heads)
    sizes: dict[str, Any] = {"points": profile.points, "point_width": min(256, 2 * profile.width)}
    if config.sampler == "ddim":
        sizes["sampling_steps"] = min(profile.sampling_steps, config.sampling_steps)
    return replace(config, **{**sizes, **changes})
