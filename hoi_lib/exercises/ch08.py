"""Checks of chapter 8: the size of an attention, a network that knows no order, and what padding gives away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from hoi_lib.exercises import exercise, require, require_close


@exercise(
    "attention_parameters",
    chapter="08",
    hint="Queries, keys, values and the output are four linear maps from 512 to 512 channels, each with a bias. Does a "
    "head add channels, or does it take its share of them?",
    wrong=[[1048576, 1048576], [1050624, 2101248], [262656, 262656]],
)
def attention_parameters(answer: Sequence) -> None:
    """How many parameters has a 512-wide self-attention with biases, with 4 and with 8 heads?"""
    four, eight = answer
    require(four != 4 * 512**2, "the biases are missing")
    require(four == 4 * (512**2 + 512), "count four maps of 512 × 512, each with a bias of 512")
    require(eight == four, "heads share the channels among themselves: their number adds none")


def _only_hands(net: Any, x: Any, t: Any, conditions: Any, order: Any) -> float:
    """The object's path stays where it was."""
    return float((net(x, t, conditions)[:, order] - net(x[:, order], t, conditions)).detach().abs().max())


def _not_put_back(net: Any, x: Any, t: Any, conditions: Any, order: Any) -> float:
    """Compares the shuffled answer with the unshuffled one."""
    mixed = replace(conditions, frames=conditions.frames[:, order])
    return float((net(x, t, conditions) - net(x[:, order], t, mixed)).detach().abs().max())


@exercise(
    "order_gap",
    chapter="08",
    hint="dataclasses.replace(conditions, frames=…) gives conditions whose frames are in another order. Both answers "
    "then have their frames in the order of `order`.",
    wrong=[_only_hands, _not_put_back, lambda *_: 0.0],
)
def order_gap(answer: Callable) -> None:
    """How far is the shuffled answer of a network from its answer to the shuffled frames?"""
    import torch

    net, (x, t, conditions, _) = _tiny(), _question()
    order = torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(3))
    mixed = replace(conditions, frames=conditions.frames[:, order])
    with torch.no_grad():
        expected = float((net(x, t, conditions)[:, order] - net(x[:, order], t, mixed)).abs().max())
    found = answer(net, x, t, conditions, order)
    net.positions = lambda frames: torch.zeros(frames, net.config.width)
    blind = answer(net, x, t, conditions, order)
    require_close(blind, 0, "a network without position code does not notice: shuffle *all* of a frame", atol=1e-4)
    require_close(found, expected, "a network with its position code does notice, and by more or less than this")


def _only_numbers(network: Callable, x: Any, t: Any, conditions: Any, valid: Any) -> bool:
    """Writes something else into the padding, which a network that clears it first does not notice."""
    import torch

    other = torch.where(valid[..., None], x, x + 1)
    gap = network(x, t, conditions, valid) - network(other, t, conditions, valid)
    return bool(gap[valid].abs().max() < 1e-4)


@exercise(
    "padding_witness",
    chapter="08",
    hint="Ask each sample alone, cut to valid.sum(1) frames: x, t, valid, and all that is in the conditions. Compare "
    "with what the batch said about the frames that exist.",
    wrong=[lambda *_: True, lambda *_: False, _only_numbers],
)
def padding_witness(answer: Callable) -> None:
    """Does a test convict every network whose answer depends on the padding, and no other?"""
    net, open_, question = _tiny(), _tiny(mask_padding=False), _question()

    def clears(x: Any, t: Any, conditions: Any, valid: Any) -> Any:
        kept = replace(conditions, frames=conditions.frames * valid[..., None])
        return open_(x * valid[..., None], t, kept, valid)

    require(bool(answer(net, *question)), "it convicts a network that never looks at padding")
    require(not bool(answer(open_, *question)), "it trusts a network that attends to padding")
    require(not bool(answer(clears, *question)), "it trusts a network that clears the padding and then attends to it")


def _tiny(**changes: Any) -> Any:
    """A small hollow denoiser, untrained, in evaluation mode."""
    import torch

    from hoi_lib.denoiser import Denoiser, hollow

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Denoiser(hollow(16, 2, 2, text_dim=8, points=32, point_width=16, **changes)).eval()


def _question() -> tuple:
    """Noised hands, levels, conditions and mask of two samples, of 7 and of 12 frames."""
    import torch

    from hoi_lib.conditions import Conditions

    draw = torch.Generator().manual_seed(1)
    x, frames = torch.randn(2, 12, 99, generator=draw), torch.randn(2, 12, 16, generator=draw)
    tokens, action = torch.randn(2, 5, 16, generator=draw), torch.randn(2, 8, generator=draw)
    valid = torch.arange(12) < torch.tensor([[7], [12]])
    return x, torch.tensor([300, 700]), Conditions(tokens, frames, action), valid
