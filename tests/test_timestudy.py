"""The world of one number: its perfect answer, and networks that are told the noise level or not."""

import torch

from hoi_lib.blocks import sinusoid
from hoi_lib.diffusion import Schedule
from hoi_lib.timestudy import CENTRE, WEIGHT, WIDTH, excess, learn, perfect

SCHEDULE = Schedule.cosine()


def test_the_perfect_answer_is_what_averaging_over_all_clean_numbers_gives():
    clean = torch.linspace(-3, 3, 4001, dtype=torch.float64)
    common = (WEIGHT / WIDTH * torch.exp(-((clean[:, None] - CENTRE) ** 2) / (2 * WIDTH**2))).sum(-1)
    for level in (50, 400, 800):
        kept = SCHEDULE.alpha_bar[level]
        x = torch.tensor([[-1.0], [0.2], [1.5]])
        weight = common * torch.exp(-((x - kept.sqrt() * clean) ** 2) / (2 * (1 - kept)))
        slow = (weight * clean).sum(-1) / weight.sum(-1)
        assert torch.allclose(perfect(x, torch.full((3,), level), SCHEDULE)[:, 0].double(), slow, atol=1e-4)


def test_an_answer_that_is_off_by_a_constant_exceeds_by_its_square_at_every_level():
    class Off(torch.nn.Module):
        def forward(self, x, t):
            return perfect(x, t, SCHEDULE) + 0.3

    assert torch.allclose(excess(Off(), SCHEDULE, [0, 300, 999]), torch.full((3,), 0.09), atol=1e-5)


def test_a_network_that_is_told_the_level_learns_more_than_one_that_is_not():
    level = torch.arange(1000)
    told, untold = sinusoid(level, 32), torch.zeros(1000, 32)
    found = [float(excess(learn(c, SCHEDULE, steps=150), SCHEDULE, range(0, 1000, 50)).mean()) for c in (told, untold)]
    assert found[0] < found[1] / 2


def test_the_same_seed_gives_the_same_network_and_leaves_the_random_numbers_of_others_alone():
    code, before = sinusoid(torch.arange(1000), 8), torch.random.get_rng_state()
    first, second = (learn(code, SCHEDULE, range(0, 1000, 10), steps=3).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(torch.random.get_rng_state(), before)
