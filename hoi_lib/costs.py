"""What a network and a training step cost, on paper: parameters, multiply-adds, memory, and how they grow.

B batch, L frames, C condition tokens, S = C + L tokens, D width, n tokens of a refined text, P object points, V
vertices, G groups, M experts per group, K active, N blocks. A MAC is one multiply-add, two FLOP. Only matrix products
are counted, as torch's own counter does; a backward pass costs twice its forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from hoi_lib.denoiserconfig import TRAJECTORIES, DenoiserConfig
from hoi_lib.motion import POSE_DIM
from hoi_lib.pointnet import EXTRA_DIM, POINT_DIM

Number = int | float
BETAS = 10
BACKWARD = 3  # a training step is a forward pass and twice as much backwards
PAIR_FLOP = 8  # three differences, three squares, two additions
HAND_MACS = 778 * (3 * 10 + 3 * 135 + 16 * 12 + 9)  # shape, repair of the bend, blended transforms, applied to a vertex
WEIGHT_BYTES = 20  # per parameter in float32: weight, gradient, two moments of Adam, running average
PARTS = (
    "self-attention",
    "cross-attention",
    "experts",
    "router",
    "text of the groups",
    "condition tokens",
    "input and output",
    "norms",
)


@dataclass(frozen=True)
class Part:
    """One part of a network: its ``parameters``, how many of them work for one sample (``active``, for a router in
    balance), how many can never learn (``idle``), and the multiply-adds of one sample in a forward pass (``macs``)."""

    name: str
    parameters: int
    active: Number
    idle: int
    macs: Number


@dataclass(frozen=True)
class StepCost:
    """One training step of a whole batch. FLOP: ``network`` (forward and backward), ``hands`` (posing the estimated
    ones), ``pairs`` (nearest neighbours, both directions in one pass). Bytes: ``state`` (weights, gradients, moments,
    running average), ``activations`` (what the network keeps for its backward pass)."""

    network: Number
    hands: Number
    pairs: Number
    state: Number
    activations: Number

    @property
    def flop(self) -> Number:
        """All arithmetic of the step."""
        return self.network + self.hands + self.pairs

    @property
    def memory(self) -> Number:
        """All bytes that grow with the sizes; the losses work in blocks of at most 64 MB beside it."""
        return self.state + self.activations


def breakdown(
    config: DenoiserConfig, frames: int = 150, words: Number = 48, training: bool = False
) -> tuple[Part, ...]:
    """The parts of a network, largest idea first; their sums are the whole.

    ``words`` is n, the tokens of a refined text. ``training`` counts what dropout adds where a text is one pooled
    vector: its answer is then no longer the same for every token.
    """
    counted = _parameters(config)
    macs = _macs(config, frames, words, training)
    held, chosen, _ = _experts(config)
    ears = config.active / len(config.experts) if config.attention_in == "expert" else 1.0
    working = {"experts": chosen / held, "cross-attention": ears}
    idle = _idle(config)
    return tuple(
        Part(name, counted[name], counted[name] * working.get(name, 1.0), idle.get(name, 0), macs[name])
        for name in PARTS
    )


def parameters(config: DenoiserConfig) -> int:
    """Trainable parameters of the whole network."""
    return sum(part.parameters for part in breakdown(config))


def forward_flop(config: DenoiserConfig, batch: int = 1, frames: int = 150, words: Number = 48) -> Number:
    """FLOP of one forward pass of ``batch`` samples, the texts' keys and values included."""
    return 2 * batch * sum(part.macs for part in breakdown(config, frames, words))


def step_cost(
    config: DenoiserConfig,
    batch: int = 32,
    frames: int = 150,
    words: Number = 48,
    points: int = 1024,
    vertices: int = 778,
    bytes_per_number: int = 4,
) -> StepCost:
    """A training step with all losses. ``bytes_per_number`` of the activations: 4 in float32, 2 in bf16."""
    parts = breakdown(config, frames, words, training=True)
    return StepCost(
        network=2 * BACKWARD * batch * sum(part.macs for part in parts),
        hands=2 * BACKWARD * batch * frames * HAND_MACS * vertices / 778,
        pairs=float(PAIR_FLOP * batch * frames * vertices * points),
        state=float(WEIGHT_BYTES * sum(part.parameters for part in parts)),
        activations=bytes_per_number * batch * _kept_numbers(config, frames, words),
    )


def growth(config: DenoiserConfig, **sizes: int) -> dict[str, dict[str, float]]:
    """What doubling one thing multiplies: {what is doubled: {measure: factor}}.

    The measures are "parameters", arithmetic and memory of a step ("network", "pairs", "memory"), and the "steps" of an
    epoch. ``sizes`` are those of :func:`step_cost`. Width takes the experts' inner widths with it, as the presets do;
    "experts per group" adds a second expert of each width.
    """
    base = {"batch": 32, "frames": 150, "words": 48, "points": 1024, "vertices": 778, **sizes}
    wider = replace(
        config, width=2 * config.width, hidden=2 * config.hidden, experts=tuple(2 * d for d in config.experts)
    )
    more = replace(config, experts=tuple(d for d in config.experts for _ in range(2)))
    changed: dict[str, tuple[DenoiserConfig, dict[str, int]]] = {
        "clips": (config, base),
        "batch": (config, {**base, "batch": 2 * base["batch"]}),
        "frames": (config, {**base, "frames": 2 * base["frames"]}),
        "object points": (config, {**base, "points": 2 * base["points"]}),
        "experts per group": (more, base),
        "active experts": (replace(config, active=2 * config.active), base),
        "blocks": (replace(config, blocks=2 * config.blocks), base),
        "width": (wider, base),
    }
    before, count = step_cost(config, **base), parameters(config)
    table = {}
    for name, (other, given) in changed.items():
        after = step_cost(other, **given)
        table[name] = {
            "parameters": parameters(other) / count,
            "network": after.network / before.network,
            "pairs": after.pairs / before.pairs,
            "memory": after.memory / before.memory,
            "steps": {"clips": 2.0, "batch": 0.5}.get(name, 1.0),
        }
    return table


def _parameters(config: DenoiserConfig) -> dict[str, int]:
    """Parameters by part, counted on a network that is built without memory for its weights."""
    from hoi_lib.denoiser import Denoiser

    with torch.device("meta"):
        model = Denoiser(config)
    counted = dict.fromkeys(PARTS, 0)
    for name, parameter in model.named_parameters():
        counted[_part_of(name)] += parameter.numel()
    return counted


def _part_of(name: str) -> str:
    """The part that a parameter of the denoiser belongs to, by its name."""
    head, _, rest = name.partition(".")
    if head == "blocks":
        inner = rest.split(".")[1:]
        if inner[0] == "attention":
            return "self-attention"
        if inner[0].startswith("norm"):
            return "norms"
        if "router" in inner:
            return "router"
        return "cross-attention" if "guides" in inner else "experts"
    by_head = {"levels": "text of the groups", "conditions": "condition tokens", "time": "condition tokens"}
    return by_head.get(head, "norms" if head == "norm" else "input and output")


def _macs(config: DenoiserConfig, frames: int, words: Number, training: bool) -> dict[str, Number]:
    """Multiply-adds of one sample, by part."""
    D, tokens = config.width, _tokens(config, frames)
    w, motion = config.point_width, TRAJECTORIES[config.trajectory]
    point = POINT_DIM * (w // 4) + (w // 4) * (w // 2) + (w // 2) * w
    conditions = {
        "text": config.text_dim * D,
        "action": config.text_dim * D,
        "object": config.points * point + (w + EXTRA_DIM) * D + D * D,
        "side": 0,
        "shape": BETAS * D,
    }
    routed = len(config.groups) * len(config.experts)
    features = {"action": config.text_dim, "time": D}
    heard = {"dense": 0, "experts": sum(features[b] for b in config.branches), "dit_moe": tokens * D}[
        config.feedforward
    ]
    return {
        "self-attention": config.blocks * (4 * tokens * D**2 + 2 * tokens**2 * D),
        "cross-attention": config.blocks * _heard_macs(config, tokens, words, training),
        "experts": config.blocks * 2 * tokens * D * _running(config) * _experts(config)[2],
        "router": config.blocks * routed * heard,
        "text of the groups": len(config.groups) * (words + 1) * config.level_dim * D if _guided(config) else 0,
        "condition tokens": 2 * D * D + sum(conditions[name] for name in config.tokens),
        "input and output": frames * (2 * POSE_DIM * D + motion * D + 3 * D * D),
        "norms": 0,
    }


def _heard_macs(config: DenoiserConfig, tokens: int, words: Number, training: bool) -> Number:
    """One block's cross-attention: every text is projected once, then those asked answer."""
    if not _guided(config):
        return 0
    D, per_expert = config.width, config.attention_in == "expert"
    texts = len(config.experts) if per_expert else 1
    asked = (len(config.experts) if config.executor == "dense" else config.active) if per_expert else 1
    if config.cross_attention == "tokens":
        hear, answer = 2 * words * D**2, 2 * tokens * D**2 + 2 * tokens * words * D
    else:
        hear, answer = D**2, D**2 * (tokens if training and config.dropout else 1)
    return len(config.groups) * (texts * hear + asked * answer)


def _experts(config: DenoiserConfig) -> tuple[int, int, Number]:
    """One block's MLPs: how many there are, how many a token is sent to, and their mean inner width."""
    groups, each = len(config.groups), len(config.experts)
    if config.feedforward == "dense":
        return 1, 1, config.hidden
    if config.feedforward == "experts":
        return groups * each, groups * config.active, sum(config.experts) / each
    from hoi_lib.baselines.dit_moe import matched_hidden

    chosen = groups * config.active + 1  # and the shared one
    return groups * each + 1, chosen, matched_hidden(config, chosen)


def _running(config: DenoiserConfig) -> int:
    """How many of a block's MLPs are computed for a token."""
    held, chosen, _ = _experts(config)
    return held if config.executor == "dense" else chosen


def _idle(config: DenoiserConfig) -> dict[str, int]:
    """Queries and keys of a text that is one vector: the softmax over a single key is 1 whatever they are."""
    if not _guided(config) or config.cross_attention != "pooled":
        return {}
    each = len(config.experts) if config.attention_in == "expert" else 1
    count = config.blocks * len(config.groups) * each * 2 * (config.width**2 + config.width)
    return {"cross-attention": count}


def _kept_numbers(config: DenoiserConfig, frames: int, words: Number) -> Number:
    """Numbers of one sample that the backward pass needs, to within a fifth and without dropout: what goes into each
    product and norm, and what a nonlinearity made of it. Attention is counted as fused, without its S × S weights."""
    D, tokens, running, hidden = config.width, _tokens(config, frames), _running(config), _experts(config)[2]
    work, texts = running * 2 * hidden, 0
    if config.feedforward != "dense":
        work += running * 2 * D  # the tokens that were picked, and the answer before it is weighted
    if _guided(config):
        asked = running if config.attention_in == "expert" else len(config.groups)
        work += asked * (4 if config.cross_attention == "tokens" else 1) * D  # query, answer, sum
        texts = 2 * len(config.groups) * words * D if config.cross_attention == "tokens" else 0
    block = tokens * (8 * D + work) + texts  # twice into a norm, twice out of it, q, k, v, mixed
    return config.blocks * block + frames * 6 * D + config.points * config.point_width * 2


def _guided(config: DenoiserConfig) -> bool:
    return config.feedforward == "experts" and config.guidance != "none"


def _tokens(config: DenoiserConfig, frames: int) -> int:
    return 1 + len(config.tokens) + frames


def totals(parts: Sequence[Part]) -> Part:
    """The sum of all parts."""
    return Part(
        "all",
        sum(p.parameters for p in parts),
        sum(p.active for p in parts),
        sum(p.idle for p in parts),
        sum(p.macs for p in parts),
    )
