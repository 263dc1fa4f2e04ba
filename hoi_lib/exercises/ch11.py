"""Checks of chapter 11, "The action-and-noise router"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hoi_lib.exercises import exercise, require


def _without_weights(router: Any) -> Any:
    from hoi_lib.routing import ActionNoiseRouter

    return ActionNoiseRouter(*_widths(router), joint=True)


def _the_wrong_way_round(router: Any) -> Any:
    import torch

    joint, (action, time) = _without_weights(router), _weights(router)
    with torch.no_grad():
        joint.scorer["joint"].weight.copy_(torch.cat([time, action], 1))
    return joint


def _widths(router: Any) -> list[int]:
    return [weight.shape[1] for weight in _weights(router)]


def _weights(router: Any) -> list:
    return [router.scorer[name].weight for name in ("action", "time")]


@exercise(
    "one_map_for_both",
    chapter="11",
    hint="A row of the joint map reads the action's numbers first and the noise level's after them. Put the two weight "
    "matrices side by side with torch.cat along the axis of the inputs.",
    wrong=[lambda router: router, _without_weights, _the_wrong_way_round],
)
def one_map_for_both(answer: Callable) -> None:
    """Which router with one map for both features starts as the same function, so that only the balance differs?"""
    import torch

    from hoi_lib.routing import ActionNoiseRouter

    for seed, widths in enumerate([(384, 128), (5, 7)]):
        generator = torch.Generator().manual_seed(seed)
        action, time = (3 * torch.randn(64, width, generator=generator) for width in widths)
        router = ActionNoiseRouter(*widths)
        joint = answer(router)
        require(list(getattr(joint, "scorer", ())) == ["joint"], "it has to be a router with joint=True")
        require(
            joint.scorer["joint"].weight.shape == (9, sum(widths)),
            "the joint map reads the features of both, as many numbers as they have together",
        )
        plain, twin = router(action, time), joint(action, time)
        require(torch.allclose(plain.gate, twin.gate, atol=1e-5), "some sample is routed differently")
        require((plain.aux - twin.aux).abs() > 0.1, "the balance losses have to differ: one term for one map")


@exercise(
    "impossible_tables",
    chapter="11",
    hint="For two experts there are sixteen tables, few enough to write down. For three, draw very many random logits, "
    "add them, and count which tables never come up.",
    wrong=[{2: 0, 3: 0, 4: 0}, {2: 1, 3: 3, 4: 6}, {2: 2, 3: 2, 4: 2}, {2: 2, 3: 12, 4: 24}],
)
def impossible_tables(answer: dict[int, int]) -> None:
    """How many tables of two actions by two noise levels can no sum of logits give, for M = 2, 3 and 4 experts?"""
    for experts in (2, 3, 4):
        found = answer[experts]
        require(found > 0, "a swap of two experts is one that cannot be had")
        require(
            found != experts * (experts - 1) // 2,
            "a swap can be written in two ways: the first action may begin with either of the two experts",
        )
        require(found == experts * (experts - 1), f"M = {experts}: another number of tables never comes up")


@exercise(
    "decisions",
    chapter="11",
    hint="A decision is made from the pair (action, noise level) and from nothing else. A set of active experts is one "
    "expert out of three, in each of three groups.",
    wrong=[[12_000, 12_000], [1_000, 27], [36_000, 27], [12_000, 9], [12_000, 512]],
)
def decisions(answer: Sequence[int]) -> None:
    """At most how many decisions can one block make for 12 actions, and how many sets of active experts are there?"""
    pairs, sets = answer
    require(pairs != 1_000, "the action counts too")
    require(pairs == 12_000, "count the pairs of an action and a noise level")
    require(sets != 9, "nine experts, but the three groups choose independently of each other")
    require(sets != 512, "any subset of nine would be 512, but every group activates exactly one expert")
    require(sets == 27, "count the ways to choose one of three experts in each of three groups")


def _added(f_a: Any, f_t: Any) -> Any:
    import torch

    of_action, of_time = torch.tensor([[0.5, 0.0], [0.0, 0.5], [0.0, 0.0]]), torch.tensor([[0.2], [-0.2], [0.0]])
    return (f_a @ of_action.T)[:, None] + (f_t @ of_time.T)[None]


def _by_heart(f_a: Any, f_t: Any) -> Any:
    import torch

    return torch.eye(3)[torch.tensor([[0, 1], [1, 0]])]


@exercise(
    "interaction",
    chapter="11",
    hint="torch.einsum('ax,ty,mxy->atm', f_a, f_t, V) adds for expert m the product of every number of the action with "
    "every number of the noise level, weighted by V. Here f_t is −1 at low noise and +1 at high noise.",
    wrong=[_added, lambda f_a, f_t: 9 * _added(f_a, f_t), _by_heart],
)
def interaction(answer: Callable) -> None:
    """Which term, added to the logits, lets two actions swap their experts between low and high noise?"""
    import torch

    actions, levels = torch.eye(2), torch.tensor([[-1.0], [1.0]])
    found = answer(actions, levels)
    require(found.shape == (2, 2, 3), "the logits need the shape (actions, noise levels, experts)")
    require(torch.isfinite(found).all(), "every logit has to be finite")
    winner = found.argmax(-1)
    require(winner[0].tolist() == [0, 1], "the first action needs expert 1 at low noise and expert 2 at high noise")
    require(winner[1].tolist() == [1, 0], "the second action needs expert 2 at low noise and expert 1 at high noise")
    turned = answer(actions.flip(0), levels)
    require(torch.allclose(turned, found.flip(0)), "the logits have to follow the features, not their places")
    silent = answer(actions, torch.zeros(1, 1))
    require(
        torch.allclose(silent, _added(actions, torch.zeros(1, 1)), atol=1e-6),
        "where the noise level says nothing, only the action's part of the given logits may be left",
    )
