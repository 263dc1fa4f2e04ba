"""Checks of chapter 9, "Mixture of experts from scratch"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hoi_lib.exercises import Unanswered, exercise, require, require_close

VALUES = {"even": 1.0, "collapsed": 3.0, "network": 48.0}


@exercise(
    "balance_values",
    chapter="09",
    hint="With M = 3, even choices are f = p̄ = (1/3, 1/3, 1/3) and collapsed ones f = p̄ = (1, 0, 0). Equation 9 adds "
    "one such value for each branch, and every group of every block has a router of its own.",
    wrong=[
        {**VALUES, "even": 1 / 3},
        {**VALUES, "collapsed": 1.0},
        {**VALUES, "network": 24.0},
        {**VALUES, "network": 0.48},
    ],
)
def balance_values(answer: dict[str, float]) -> None:
    """What is the balance loss of three even experts, of three collapsed ones, of the paper's network when even?"""
    require_close(answer["even"], 1, "even: three terms of 1/3 · 1/3, times M", rtol=1e-6)
    require_close(answer["collapsed"], 3, "collapsed: a single term 1 · 1 is left, times M", rtol=1e-6)
    require(abs(float(answer["network"]) - 24) > 1e-6, "each router has two branches, and Equation 9 adds both")
    require(abs(float(answer["network"]) - 0.48) > 1e-6, "that is after the weight λ₆ = 0.01; asked is the loss itself")
    require_close(answer["network"], 48, "count the routers: blocks times groups, and the branches of each", rtol=1e-6)


def _rows(*rows: Sequence[float]) -> Any:
    import torch

    return torch.tensor(rows)


@exercise(
    "below_one",
    chapter="09",
    hint="Leave one expert to be everybody's second choice: nobody takes it, so f is 0 there, and every bit of "
    "probability that it gets costs nothing.",
    wrong=[
        _rows([0.3, 0.3, 0.4]),
        _rows([1 / 3, 1 / 3, 1 / 3]),
        _rows([0.5, 0.5, 0.4], [0.3, 0.5, 0.4]),
        _rows([0.9, 0.1, 0.0], [0.1, 0.9, 0.0]),
        _rows([0.6, -0.2, 0.6], [-0.2, 0.6, 0.6]),
    ],
)
def below_one(answer: Any) -> None:
    """Which probabilities of three experts give a balance loss of 0.9 or less?"""
    import torch

    from hoi_lib.selection import balance_loss

    scores = torch.as_tensor(answer, dtype=torch.float64)
    require(scores.dim() == 2 and scores.shape[1] == 3, "one row for each token, three columns")
    require(bool((scores >= 0).all()), "a probability is not negative")
    ones = torch.ones(len(scores), dtype=scores.dtype)
    require(torch.allclose(scores.sum(1), ones, atol=1e-5), "the probabilities of a token add up to 1")
    value = float(balance_loss([scores[:, None]]))
    require(value <= 0.9 + 1e-6, f"its balance loss is {value:.3f}")


def _divided(scores: Any, active: int) -> Any:
    """The gates that cut the router off: divided by their sum, even where only one is left."""
    kept = _kept(scores, active)
    return kept / kept.sum(-1, keepdim=True)


def _kept(scores: Any, active: int) -> Any:
    import torch

    best = scores.topk(active)
    return torch.zeros_like(scores).scatter(-1, best.indices, best.values)


@exercise(
    "router_alive",
    chapter="09",
    hint="The derivative of a softmax score with respect to its own logit is s (1 − s). A number divided by itself "
    "is a constant.",
    wrong=[
        [0.25, 0.0, _divided],
        [0.5, 0.0, _kept],
        [0.25, 0.25, _kept],
        [0.25, 0.0, lambda scores, active: scores],
        [0.25, 0.0, lambda scores, active: _kept(scores, active).detach()],
    ],
)
def router_alive(answer: Sequence) -> None:
    """How does the gate of the chosen expert react to its logit, and which gates keep the router learning for K = 1?"""
    import torch

    raw, divided, gates = answer
    require_close(raw, 0.25, "raw: the derivative of a softmax score by its own logit, at 0.5", rtol=1e-6)
    require_close(divided, 0, "divided: with a single gate left, what is it divided by?", atol=1e-9)
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    scores = logits.softmax(-1)
    for active in (1, 2, 3):
        gate = gates(scores, active)
        if gate is None or gate is ...:
            raise Unanswered
        require(gate.shape == scores.shape, "one gate for every score")
        outside = _kept(scores, active) == 0
        require(bool((gate[outside] == 0).all()), f"K = {active}: who is not among the best K has the gate 0")
        require(bool((gate[~outside] > 0).all()), f"K = {active}: who is among the best K has a gate above 0")
    gate = gates(scores, 1)
    require(gate.requires_grad, "no gradient flows through these gates: is something detached?")
    (slope,) = torch.autograd.grad(gate.sum(), logits)
    require(float(slope.abs().max()) > 1e-6, "K = 1: the gate does not change with the logits, whatever they are")


def _by_loss(scores: Any, active: int) -> bool:
    from hoi_lib.selection import balance_loss

    return bool(balance_loss([scores[:, None]], active) < 1.05)


@exercise(
    "in_use",
    chapter="09",
    hint="Count choices, not probabilities: how often is each expert among the best K of a token? With even choices "
    "each gets K of M times the number of tokens.",
    wrong=[
        lambda scores, active: True,
        _by_loss,
        lambda scores, active: bool((scores.mean(0) > 0.5 / scores.shape[1]).all()),
    ],
)
def in_use(answer: Callable) -> None:
    """Does a test tell routers that keep every expert at work from those that leave some idle, whatever the loss?"""
    import torch

    dice = torch.Generator().manual_seed(0)
    for active in (1, 2):
        even = (3 * torch.randn(600, 4, generator=dice)).softmax(-1)
        require(bool(answer(even, active)), f"K = {active}: it refuses a router whose choices are even up to chance")
    ahead = torch.full((600, 3), 1 / 3) + torch.tensor([2e-3, -1e-3, -1e-3])
    second = _rows([0.5, 0.1, 0.4], [0.1, 0.5, 0.4]).repeat(300, 1)
    third = _rows([0.4, 0.35, 0.25, 0.0], [0.35, 0.4, 0.25, 0.0]).repeat(300, 1)
    require(not answer(ahead, 1), "it trusts a router that sends every token to the same expert, by a hair's breadth")
    require(not answer(second, 1), "it trusts a router whose third expert is everybody's second choice and never works")
    require(not answer(third, 2), "K = 2: it trusts a router that takes the same two of four experts for every token")
