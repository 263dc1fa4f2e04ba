"""Checks of chapter 10, "Expert groups: hand, finger, joint"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hoi_lib.exercises import exercise, require, require_close

PLACES = {"shrinking": 5_515_008, "equal": 9_451_008, "least": 788_736, "most": 3_150_336}


@exercise(
    "expert_sizes",
    chapter="10",
    hint="Two layers of D × d weights each, a bias for each of the d hidden channels and for each of the D outputs: "
    "2 · 512 · d + d + 512. At K = 1 one expert of each group works.",
    wrong=[
        {"shrinking": 5_505_024, "equal": 9_437_184, "least": 786_432, "most": 3_145_728},
        {"shrinking": 1_838_336, "equal": 3_150_336, "least": 262_912, "most": 1_050_112},
        {"shrinking": 5_515_008, "equal": 9_451_008, "least": 262_912, "most": 3_150_336},
        {"shrinking": 5_515_008, "equal": 9_451_008, "least": 788_736, "most": 1_838_336},
        {"shrinking": 5_515_008, "equal": 5_515_008, "least": 788_736, "most": 3_150_336},
    ],
)
def expert_sizes(answer: dict[str, int]) -> None:
    """How many parameters do the nine experts of a block have, and how few and how many of them work at once?"""
    without = 5_505_024
    require(answer["shrinking"] != without, "the biases are missing: d + D of them in each expert")
    require(answer["shrinking"] != PLACES["shrinking"] // 3, "there are three groups, not one")
    for name, value in PLACES.items():
        require(answer[name] == value, f"{name}: another number, biases included")


@exercise(
    "group_shares",
    chapter="10",
    hint="A group's share is its winner divided by the sum of all three winners. The best of three probabilities lies "
    "between one third and one: what makes one share small, and what makes it large?",
    wrong=[
        {"shares": [1.0, 1.0, 1.0], "least": 1 / 7, "most": 3 / 5},
        {"shares": [0.6, 0.5, 0.34], "least": 1 / 7, "most": 3 / 5},
        {"shares": [0.417, 0.347, 0.236], "least": 0.0, "most": 1.0},
        {"shares": [0.417, 0.347, 0.236], "least": 1 / 9, "most": 3 / 5},
        {"shares": [0.417, 0.347, 0.236], "least": 1 / 7, "most": 1 / 3},
    ],
)
def group_shares(answer: dict[str, Any]) -> None:
    """How much of the output belongs to each group, and how little and how much can it be?"""
    for found, share in zip(answer["shares"], (0.6 / 1.44, 0.5 / 1.44, 0.34 / 1.44), strict=True):
        require(abs(found - 1) > 1e-6, "divided inside each group, a lone winner would always be 1")
        require_close(found, share, "the three shares are the winners, divided by their sum", atol=2e-3, rtol=0)
    require(answer["least"] != 0, "the best of three probabilities is never below one third")
    require_close(answer["least"], 1 / 7, "the smallest share: this winner at its least, the others at their most")
    require_close(answer["most"], 3 / 5, "the largest share: this winner at its most, the others at their least")


@exercise(
    "one_key",
    chapter="10",
    hint="With a single key every attention weight is 1, and the heads are put together in the order in which they "
    "were split: what is left are attention.value and attention.out, one after the other.",
    wrong=[
        lambda attention, pooled: attention.value(pooled),
        lambda attention, pooled: attention.out(attention.value(attention.query(pooled))),
        lambda attention, pooled: attention.out(attention.value(pooled)) / attention.heads,
        lambda attention, pooled: attention.value(attention.out(pooled)),
    ],
)
def one_key(answer: Callable) -> None:
    """What does every token hear from a text that is one vector?"""
    import torch

    from hoi_lib.denoiserconfig import DenoiserConfig
    from hoi_lib.encoders import TextFeatures
    from hoi_lib.experts import CrossAttention

    generator = torch.Generator().manual_seed(10)
    attention = CrossAttention(DenoiserConfig(width=32, heads=4, cross_attention="tokens")).eval()
    tokens, pooled = (torch.randn(*shape, 32, generator=generator) for shape in ((3, 7), (3,)))
    single = TextFeatures(pooled, pooled[:, None], torch.ones(3, 1, dtype=torch.bool))
    with torch.no_grad():
        wanted, found = attention(tokens, attention.hear(single)), answer(attention, pooled)
    require(found.shape == (3, 32), "one vector of width D for each sample: shape (B, D)")
    require(
        torch.allclose(found[:, None].expand_as(wanted), wanted, atol=1e-5),
        "it is not what a cross-attention with this single key answers",
    )


@exercise(
    "starving_routers",
    chapter="10",
    hint="Softmax over the experts, Selector('sample_topk', active, normalise=normalise), and for a loss any weighted "
    "sum of the gates, such as (gate * target).sum(). Then look at logits.grad: rounding leaves about 1e-8.",
    wrong=[
        lambda groups, active, normalise: True,
        lambda groups, active, normalise: normalise == "all",
        lambda groups, active, normalise: active > 1,
        lambda groups, active, normalise: groups > 1,
    ],
)
def starving_routers(answer: Callable) -> None:
    """Under which division, and with how many groups and active experts, does a router hear of the task at all?"""
    for groups, active, normalise, learns in _routers():
        found = answer(groups, active, normalise)
        require(isinstance(found, bool), "the answer is True or False")
        setting = f"{groups} group{'s' * (groups > 1)}, {active} active, divided by {normalise}"
        require(found == learns, f"{setting}: it says {found}")


def _routers() -> Sequence[tuple[int, int, str, bool]]:
    """Groups, active experts of three, the division, and whether a gradient reaches the logits."""
    return [
        (groups, active, normalise, normalise == "none" or active > 1 or (groups > 1 and normalise == "all"))
        for groups in (1, 3)
        for active in (1, 2, 3)
        for normalise in ("group", "all", "none")
    ]
