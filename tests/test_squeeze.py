"""A hand in a few numbers: what the closed form keeps, and what descent finds."""

import torch

from hoi_lib.squeeze import closed_form, fitted


def rows():
    """300 rows of six numbers that vary in three directions, the first number in large units."""
    dice = torch.Generator().manual_seed(0)
    hidden = torch.randn(300, 3, generator=dice, dtype=torch.float64) * torch.tensor([3.0, 2.0, 1.0])
    return hidden @ torch.linalg.qr(torch.randn(6, 3, generator=dice, dtype=torch.float64))[0].T + 5


def test_as_many_numbers_as_directions_lose_nothing():
    x = rows()
    for keep in (3, 6):
        assert torch.allclose(closed_form(x, keep)(x), x)


def test_what_is_lost_is_the_variance_of_the_directions_left_out():
    x = rows()
    left_out = torch.linalg.svdvals(x - x.mean(0))[1:].square().sum() / x.numel()
    assert torch.isclose((closed_form(x, 1)(x) - x).square().mean(), left_out)


def test_a_scale_decides_in_which_units_errors_count():
    x, scale = rows(), torch.tensor([100.0, 1, 1, 1, 1, 1], dtype=torch.float64)
    plain, scaled = (f(x) - x for f in (closed_form(x, 2), closed_form(x, 2, scale)))
    assert scaled[:, 0].abs().mean() < plain[:, 0].abs().mean()
    assert (scale * scaled).square().mean() < (scale * plain).square().mean()


def test_descent_finds_what_the_closed_form_knows_and_leaves_its_start_alone():
    x, scale = rows(), torch.tensor([3.0, 1, 1, 1, 1, 1], dtype=torch.float64)
    start = closed_form(x, 2)
    kept = [part.clone() for part in start]
    found = fitted(start, x, lambda guess, i: (scale * (guess - x[i])).square().mean(), steps=600)
    best, reached, begun = (
        float((scale * (f(x) - x)).square().mean()) for f in (closed_form(x, 2, scale), found, start)
    )
    assert best - 1e-9 <= reached < best + 0.1 * (begun - best)
    assert all(torch.equal(a, b) for a, b in zip(start, kept, strict=True))
