"""Schedules and samplers: closed forms, Bayes' rule on scalars, and a Gaussian whose ideal denoiser is known."""

import math

import pytest
import torch

from hoi_lib.diffusion import Schedule, sample_ddim, sample_ddpm
from hoi_lib.errors import ConfigError

SCHEDULES = {
    "printed": Schedule.linear(),
    "ho2020": Schedule.linear(end=0.02),
    "cosine": Schedule.cosine(),
    "short": Schedule.linear(steps=7, end=0.5),
}
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)


# --- analytic ---


@pytest.mark.parametrize("end, expected", [(0.02, 4.0e-5), (0.2, 2.1e-47)])
def test_the_linear_schedule_ends_where_the_printed_betas_put_it(end, expected):
    schedule = Schedule.linear(end=end)
    assert schedule.alpha_bar.dtype == torch.float64 and schedule.alpha_bar.shape == (1000,)
    assert float(schedule.alpha_bar[-1]) == pytest.approx(expected, rel=0.03)
    assert float(schedule.alpha_bar[0]) == pytest.approx(1 - 1e-4, rel=1e-14)


@pytest.mark.parametrize("end, first", [(0.02, 827), (0.2, 261)])
def test_the_signal_drowns_at_the_expected_step(end, first):
    below = Schedule.linear(end=end).snr() < 1e-3
    assert int(below.nonzero()[0]) + 1 == first  # counted from 1, as the paper counts


def test_alpha_bar_is_the_product_of_the_kept_shares():
    schedule = Schedule.linear(steps=50)
    product = 1.0
    for t, beta in enumerate(schedule.beta.tolist()):
        product *= 1 - beta
        assert float(schedule.alpha_bar[t]) == pytest.approx(product, rel=1e-12)


def test_the_cosine_schedule_follows_its_cosine_until_the_cap():
    schedule = Schedule.cosine()

    def level(t):
        return math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2

    for t in (0, 1, 250, 500, 998):
        assert float(schedule.alpha_bar[t]) == pytest.approx(level(t + 1) / level(0), rel=1e-9)
    assert float(schedule.beta.max()) == 0.999


@every_schedule
def test_every_table_is_finite_and_ordered(schedule):
    tables = [schedule.alpha_bar, schedule.noise_variance, schedule.snr(), schedule.log_snr(), *schedule.posterior]
    assert all(bool(x.isfinite().all()) for x in tables)
    assert bool((schedule.alpha_bar.diff() < 0).all()) and bool((schedule.log_snr().diff() < 0).all())
    assert torch.allclose(schedule.snr(), schedule.log_snr().exp(), rtol=1e-12)


@pytest.mark.equation("MoEG-HOI", 1)
@every_schedule
def test_noising_mixes_signal_and_noise_by_the_roots_of_their_variances(schedule):
    t = torch.tensor([0, schedule.steps // 2, schedule.steps - 1])
    x0, noise = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = schedule.noised(x0, t, noise)
    for b, level in enumerate(t.tolist()):
        kept = math.prod(1 - s for s in schedule.beta[: level + 1].tolist())
        assert torch.allclose(x[b], math.sqrt(kept) * x0[b] + math.sqrt(1 - kept) * noise[b], atol=1e-12)


@pytest.mark.equation("MoEG-HOI", 1)
def test_noising_keeps_unit_variance():
    gen = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, 4000, 8, generator=gen)
    for level in (0, 300, 999):
        x = Schedule.cosine().noised(x0, torch.full((4000,), level), noise)
        assert float(x.var()) == pytest.approx(1, abs=0.03)


# --- equivalence ---


@every_schedule
def test_the_posterior_is_bayes_rule_on_scalars(schedule):
    post = schedule.posterior
    for t in {1, schedule.steps // 3, schedule.steps // 2}:
        beta, prior_mean, prior_var = float(schedule.beta[t]), *_prior(schedule, t - 1)
        # p(x_{t-1} | x_0) = N(prior_mean x_0, prior_var);  p(x_t | x_{t-1}) = N(√(1-β) x_{t-1}, β)
        precision = 1 / prior_var + (1 - beta) / beta
        assert float(post.variance[t]) == pytest.approx(1 / precision, rel=1e-9)
        assert float(post.x0[t]) == pytest.approx(prior_mean / prior_var / precision, rel=1e-9)
        assert float(post.x_t[t]) == pytest.approx(math.sqrt(1 - beta) / beta / precision, rel=1e-9)


def _prior(schedule, t):
    kept = math.prod(1 - s for s in schedule.beta[: t + 1].tolist())
    return math.sqrt(kept), 1 - kept


@every_schedule
def test_the_last_step_of_the_posterior_is_the_clean_signal(schedule):
    post = schedule.posterior
    assert float(post.x0[0]) == pytest.approx(1, rel=1e-14)
    assert float(post.x_t[0]) == 0 and float(post.variance[0]) == 0


def test_posterior_mean_variance_reads_each_sample_at_its_own_level():
    schedule = Schedule.cosine()
    x0, x_t = torch.randn(2, 3, 4, 99, generator=torch.Generator().manual_seed(1))
    t = torch.tensor([0, 10, 999])
    mean, variance = schedule.posterior_mean_variance(x0, x_t, t)
    assert variance.shape == (3, 1, 1) and mean.dtype == torch.float32
    assert torch.allclose(mean[0], x0[0])
    a, b, v = (float(table[10]) for table in schedule.posterior)
    assert torch.allclose(mean[1], a * x0[1] + b * x_t[1], atol=1e-6)
    assert float(variance[1]) == pytest.approx(v, rel=1e-6)


@every_schedule
def test_ddim_with_eta_one_takes_the_posterior_step(schedule):
    post = schedule.posterior
    for t in range(schedule.steps):
        a, b, sigma = schedule.jump(t, t - 1, eta=1.0)
        assert sigma**2 == pytest.approx(float(post.variance[t]), rel=1e-6, abs=1e-15)
        assert a == pytest.approx(float(post.x0[t]), rel=1e-6, abs=1e-9)
        assert b == pytest.approx(float(post.x_t[t]), rel=1e-6, abs=1e-9)


@every_schedule
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_a_ddim_jump_lands_on_the_marginal_of_its_target(schedule, eta):
    for t, to in [(schedule.steps - 1, schedule.steps // 2), (schedule.steps // 2, 1), (3, 0), (5, -1)]:
        a, b, sigma = schedule.jump(t, to, eta)
        kept_t, kept_to = float(schedule.alpha_bar[t]), float(schedule.alpha_bar[to]) if to >= 0 else 1.0
        assert a + b * math.sqrt(kept_t) == pytest.approx(math.sqrt(kept_to), rel=1e-9)  # the mean of x_to given x_0
        assert b**2 * (1 - kept_t) + sigma**2 == pytest.approx(1 - kept_to, rel=1e-9, abs=1e-15)  # its variance


def test_a_jump_to_the_clean_signal_returns_the_estimate():
    assert Schedule.linear().jump(0, -1, eta=1.0) == (1.0, 0.0, 0.0)


def test_ddpm_is_the_loop_of_the_textbook():
    schedule = Schedule.linear(steps=6, end=0.5)
    noise = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x, gen = noise, torch.Generator().manual_seed(1)
    for t in reversed(range(6)):
        mean, variance = schedule.posterior_mean_variance(_half(x, None), x, torch.full((3,), t))
        x = mean if t == 0 else mean + variance.sqrt() * torch.randn(3, 4, dtype=torch.float64, generator=gen)
    assert torch.allclose(sample_ddpm(_half, noise, schedule, torch.Generator().manual_seed(1)), x, atol=1e-12)


def ideal(schedule, mean, variance):
    """E[x_0 | x_t] for x_0 ~ N(mean, variance): the network that a perfect training would give."""

    def denoise(x, t):
        kept, noise = schedule.alpha_bar[t][:, None], schedule.noise_variance[t][:, None]
        gain = kept.sqrt() * variance / (kept * variance + noise)
        return mean + gain * (x - kept.sqrt() * mean)

    return denoise


SAMPLERS = {
    "ddpm": lambda d, x, s, g: sample_ddpm(d, x, s, generator=g),
    "ddim": lambda d, x, s, g: sample_ddim(d, x, s, steps=500, generator=g),
    "ddim in log-snr": lambda d, x, s, g: sample_ddim(d, x, s, steps=100, spacing="log-snr", generator=g),
    "ddim eta 1": lambda d, x, s, g: sample_ddim(d, x, s, steps=s.steps, eta=1.0, generator=g),
}


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
@pytest.mark.parametrize("name", ["printed", "cosine"])
def test_samplers_recover_a_gaussian_through_its_ideal_denoiser(sampler, name):
    gen = torch.Generator().manual_seed(0)
    schedule, mean, variance = SCHEDULES[name], 1.5, 0.25
    noise = torch.randn(20000, 1, dtype=torch.float64, generator=gen)
    x = sampler(ideal(schedule, mean, variance), noise, schedule, gen)
    assert float(x.mean()) == pytest.approx(mean, abs=0.02)
    assert float(x.var()) == pytest.approx(variance, rel=0.06)


# --- property ---


@every_schedule
@pytest.mark.parametrize("spacing", ["t", "log-snr"])
@pytest.mark.parametrize("steps", [2, 5, 7])
def test_spaced_levels_fall_from_the_last_to_zero(schedule, spacing, steps):
    levels = schedule.spaced(steps, spacing)
    assert len(levels) == steps and levels[0] == schedule.steps - 1 and levels[-1] == 0
    assert all(a > b for a, b in zip(levels, levels[1:], strict=False))


@every_schedule
@pytest.mark.parametrize("spacing", ["t", "log-snr"])
def test_all_steps_visit_every_level(schedule, spacing):
    assert schedule.spaced(schedule.steps, spacing) == list(reversed(range(schedule.steps)))


def test_log_snr_spacing_spends_its_steps_where_the_signal_is():
    schedule = Schedule.linear()  # under β_T = 0.2 most of t is pure noise

    def heard(spacing):
        return sum(float(schedule.snr()[t]) > 1e-4 for t in schedule.spaced(50, spacing))

    assert heard("t") < 16 and heard("log-snr") == 49
    gaps = schedule.log_snr()[schedule.spaced(20, "log-snr")[1:-5]].diff()
    assert float(gaps.max() / gaps.min()) < 1.15  # the last few are as even as whole numbers allow


def test_a_single_step_goes_straight_to_the_estimate():
    seen = []
    x = sample_ddim(lambda x, t: x * 0 + 3, torch.randn(2, 4), Schedule.cosine(), steps=1, callback=seen.append)
    assert torch.equal(x, torch.full((2, 4), 3.0)) and [s.t for s in seen] == [999]


def test_the_printed_schedule_never_gives_a_nan_in_float32():
    schedule = SCHEDULES["printed"]
    gen = torch.Generator().manual_seed(0)
    noise = torch.randn(4, 6, generator=gen)
    for x in (sample_ddpm(_half, noise, schedule, gen), sample_ddim(_half, noise, schedule, 50, 1.0, "t", gen)):
        assert x.dtype == torch.float32 and bool(x.isfinite().all())


def _half(x, t):
    return x / 2


def test_the_callback_sees_every_level_and_the_result_is_its_last_estimate():
    steps, schedule = [], Schedule.cosine(steps=20)
    noise = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    x = sample_ddpm(_half, noise, schedule, torch.Generator().manual_seed(1), steps.append)
    assert [s.t for s in steps] == list(reversed(range(20)))
    assert torch.equal(steps[0].x, noise) and torch.allclose(x, steps[-1].x0)
    assert all(torch.equal(s.x0, s.x / 2) for s in steps)


@pytest.mark.parametrize("sampler", [sample_ddpm, sample_ddim])
def test_a_guide_replaces_every_estimate_before_the_step_is_made(sampler):
    schedule, noise, asked = Schedule.cosine(40), torch.randn(2, 5, dtype=torch.float64), []
    settings = {} if sampler is sample_ddpm else {"steps": 8}

    def guide(x0, t):
        asked.append(t)
        return x0 + t

    def draw(denoise, **extra):
        return sampler(denoise, noise, schedule, generator=torch.Generator().manual_seed(3), **settings, **extra)

    seen = []
    guided = draw(lambda x, t: 0.5 * x, guide=guide, callback=seen.append)
    assert torch.equal(guided, draw(lambda x, t: 0.5 * x + t[:, None]))
    assert asked == [step.t for step in seen] and len(asked) == (40 if sampler is sample_ddpm else 8)
    assert all(torch.equal(step.x0, 0.5 * step.x + step.t) for step in seen)
    assert torch.equal(guided, seen[-1].x0)


def test_the_same_generator_gives_the_same_sample():
    schedule, noise = Schedule.cosine(steps=30), torch.randn(3, 2)
    runs = [sample_ddpm(_half, noise, schedule, torch.Generator().manual_seed(s)) for s in (7, 7, 8)]
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


def test_deterministic_ddim_draws_nothing_from_its_generator():
    gen = torch.Generator().manual_seed(3)
    before = gen.get_state()
    sample_ddim(_half, torch.randn(2, 3), Schedule.cosine(), steps=10, generator=gen)
    assert torch.equal(before, gen.get_state())


# --- golden ---


def test_a_whole_loop_gives_the_pinned_numbers():
    schedule = Schedule.cosine(steps=100)
    grid = torch.linspace(-2, 2, 24, dtype=torch.float64).reshape(2, 12)
    x = sample_ddim(lambda x, t: torch.tanh(x + t[:, None] / 100) * 0.8, grid, schedule, steps=10)
    assert float(x.sum()) == pytest.approx(3.717411321458406, abs=1e-9)
    assert float(x.abs().mean()) == pytest.approx(0.36931237456840593, abs=1e-9)


# --- errors ---


@pytest.mark.parametrize("start, end, steps", [(0.0, 0.2, 10), (1e-4, 1.0, 10), (-0.1, 0.2, 10), (1e-4, 0.2, 0)])
def test_impossible_schedules_are_refused(start, end, steps):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        Schedule.linear(steps, start, end)


def test_schedules_are_found_by_name():
    assert torch.equal(Schedule.of("cosine").beta, Schedule.cosine().beta)
    assert float(Schedule.of("linear").beta[-1]) == 0.2 and float(Schedule.of("ho2020").beta[-1]) == 0.02
    with pytest.raises(ConfigError, match="expected cosine, linear, ho2020"):
        Schedule.of("sawtooth")


def test_impossible_sampling_is_refused():
    schedule, noise = Schedule.cosine(steps=10), torch.zeros(1, 2)
    with pytest.raises(ConfigError, match="spacing"):
        sample_ddim(_half, noise, schedule, steps=5, spacing="sigma")
    with pytest.raises(ConfigError, match="sampling steps"):
        sample_ddim(_half, noise, schedule, steps=11)
    with pytest.raises(ConfigError, match="eta"):
        sample_ddim(_half, noise, schedule, steps=5, eta=1.5)
