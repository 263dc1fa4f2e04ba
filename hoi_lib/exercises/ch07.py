"""Checks of chapter 7, "Text, action and time embeddings"."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hoi_lib.exercises import exercise, require, require_close


def _by_product(features: Any, count: int) -> list:
    """The mistake of leaving the lengths in."""
    return _best(features @ features.T, count)


def _by_distance(features: Any, count: int) -> list:
    import torch

    return _best(-torch.cdist(features, features), count)


def _twice(features: Any, count: int) -> list:
    from hoi_lib.wordmap import cosines

    table = cosines(features).fill_diagonal_(-1)
    return [divmod(int(k), len(table)) for k in table.flatten().argsort(descending=True)[:count]]


def _with_itself(features: Any, count: int) -> list:
    return [(k, k) for k in range(count)]


def _best(table: Any, count: int) -> list:
    pairs = [(a, b) for a in range(len(table)) for b in range(a + 1, len(table))]
    return sorted(pairs, key=lambda pair: -float(table[pair]))[:count]


@exercise(
    "closest_pairs",
    chapter="07",
    hint="Divide every feature by its length, and one matrix product gives all cosines. Of that table only the entries "
    "above the diagonal are pairs; torch.triu_indices(n, n, 1) gives their rows and columns.",
    wrong=[_by_product, _by_distance, _twice, _with_itself],
)
def closest_pairs(answer: Callable) -> None:
    """Which pairs of rows point most nearly the same way, the nearest first?"""
    import torch

    from hoi_lib.wordmap import cosines

    for seed, (count, wanted) in enumerate([(6, 3), (9, 5), (12, 4)]):
        generator = torch.Generator().manual_seed(seed)
        features = torch.randn(count, 16, generator=generator) * torch.linspace(0.5, 6, count)[:, None]
        found = [tuple(int(k) for k in pair) for pair in answer(features, wanted)]
        require(len(found) == wanted, f"{wanted} pairs were asked for")
        require(all(a != b for a, b in found), "a word is no neighbour of its own: leave the diagonal out")
        require(len({frozenset(pair) for pair in found}) == wanted, "a pair counts once, whichever comes first in it")
        found, right, product = (
            [set(pair) for pair in pairs]
            for pairs in (found, _best(cosines(features), wanted), _by_product(features, wanted))
        )
        require(found != product, "a long vector has large products with everything: divide by the lengths")
        require(found == right, "other pairs have larger cosines, or the order is another")


@exercise(
    "norm_disparity",
    chapter="07",
    hint="After standardising, the squares of the entries have mean 1. So the square of the length is the number of "
    "entries, and nothing else about the feature matters.",
    wrong=[{"lengths": 1.0, "spreads": 1.65}, {"lengths": 3.0, "spreads": 1.65}, {"lengths": 3.29, "spreads": 2.84}],
)
def norm_disparity(answer: Mapping[str, float]) -> None:
    """How many times as long is the action's feature as the time's, once both are standardised, and as spread out?"""
    import torch
    from torch.nn.functional import layer_norm

    from hoi_lib.blocks import sinusoid
    from hoi_lib.encoders import load_encoder
    from hoi_lib.sampling import load_denoiser
    from hoi_lib.text import VERBS

    denoiser = load_denoiser().eval()
    f_a = load_encoder("minilm").encode(list(VERBS)).pooled
    f_t = denoiser.time(sinusoid(torch.arange(1000), denoiser.config.width)).detach()
    a, t = (layer_norm(f, f.shape[-1:]) for f in (f_a, f_t))
    lengths = float(a.norm(dim=-1).mean() / t.norm(dim=-1).mean())
    far = [(x - x.mean(0)).square().sum(-1).mean().sqrt() for x in (a, t)]
    length = float(answer["lengths"])
    require(abs(length - 1) > 0.02, "standardised entries have size 1, but one feature has three times as many entries")
    require(abs(length - 3) > 0.02, "three times as many entries; a length is the square root of a sum of squares")
    require_close(length, lengths, "the length of a standardised vector is the root of the number of its entries")
    require_close(
        answer["spreads"], float(far[0] / far[1]), "spread: root mean square distance from the mean row", 0.02
    )


def _smooth(levels: int, width: int) -> Any:
    import torch

    from hoi_lib.blocks import sinusoid

    return sinusoid(torch.arange(levels), width)


def _one_hot(levels: int, width: int) -> Any:
    import torch

    return torch.eye(levels, width) * (width / 2) ** 0.5


def _any_length(levels: int, width: int) -> Any:
    import torch

    return torch.randn(levels, width, generator=torch.Generator().manual_seed(0))


def _pure_noise(levels: int, width: int) -> Any:
    import torch

    code = torch.randn(levels, width)
    return code / code.norm(dim=-1, keepdim=True) * (width / 2) ** 0.5


@exercise(
    "strangers",
    chapter="07",
    hint="Draw the rows from a normal distribution with a generator of fixed seed, then bring each to the length "
    "√(D/2) that every row of the sinusoidal code has.",
    wrong=[_smooth, _one_hot, _any_length, _pure_noise],
)
def strangers(answer: Callable) -> None:
    """Which code tells all levels apart as well as the clocks do, and has the same length, but no neighbourhood?"""
    import torch

    from hoi_lib.wordmap import cosines

    for levels, width in ((1000, 64), (300, 128)):
        code = answer(levels, width)
        require(tuple(code.shape) == (levels, width), "one row for each level, as wide as was asked for")
        require(torch.equal(code, answer(levels, width)), "a level needs the same row each time: fix the seed")
        length = code.norm(dim=-1)
        right = torch.allclose(length, torch.full_like(length, (width / 2) ** 0.5), rtol=1e-3)
        require(right, "only the neighbourhood may differ: every row needs the length √(D/2) of the sinusoidal code")
        table = cosines(code).fill_diagonal_(0)
        require(table.max() < 0.9, "some levels can hardly be told apart")
        near = table.diagonal(1).mean()
        require(near < 0.1, "level 500 must not be nearer to 501 than to any other level")
