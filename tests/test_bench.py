"""``hoi bench``: both ways of every pair give the same and are what they say; bars, tables and records add up.

No test looks at a time: whether a figure keeps its bar is for the machine that it is measured on.
"""

from dataclasses import replace

import pytest
import torch
from random_batches import WordHash

from hoi_lib import bench as measuring
from hoi_lib import benchjobs, benchsteps, cli, costs, records, timing
from hoi_lib.benchjobs import Bench, Sizes
from hoi_lib.denoiser import Denoiser, paper, recommended, release
from hoi_lib.denoiserconfig import ROWS
from hoi_lib.errors import ConfigError, HoiError
from hoi_lib.losses import BETWEEN, diffusion_loss
from hoi_lib.timing import Bar, Figure, Pair, Patience

SMALL = Sizes(width=16, blocks=2, batch=4, frames=10, points=32, vertices=778, steps=4, gpu_batch=2)
NETWORK = {"text_dim": WordHash.dim, "level_dim": WordHash.dim, "points": 32, "point_width": 16}


def small_bench(**changes):
    bench = Bench(replace(SMALL, **changes), Patience(1, 1), config=recommended(16, 2, 2, **NETWORK))
    bench.encoder = WordHash()
    return bench


@pytest.fixture
def bench():
    return small_bench()


# --- figures and bars ---


def test_a_bar_holds_from_below_from_above_or_both():
    assert Bar(1.5).met(1.5) and not Bar(1.5).met(1.49)
    assert Bar(most=25).met(25) and not Bar(most=25).met(25.1)
    assert Bar(76, 83).met(80) and not Bar(76, 83).met(75) and not Bar(76, 83).met(84)
    assert [str(Bar(1.5)), str(Bar(most=25)), str(Bar(76, 83))] == ["≥ 1.5", "≤ 25", "76 to 83"]


def test_a_figure_is_judged_only_where_it_has_a_bar_and_a_value():
    verdicts = [
        Figure("a", "a", value, bar=bar).verdict
        for value, bar in ((2.0, Bar(1)), (0.5, Bar(1)), (2.0, None), (None, Bar(1)))
    ]
    assert verdicts == ["✓", "falls short", "", ""]


def test_two_ways_that_differ_are_no_short_cut():
    right = Pair("halves", lambda: torch.tensor([1.0]), lambda: torch.tensor([1.0 + 1e-6]), agree=1e-5)
    assert "apart 1e-06" in timing.compare("halves", right, Patience(1)).note
    for wrong in (torch.tensor([1.1]), torch.tensor([float("nan")])):
        with pytest.raises(HoiError, match="halves"):
            timing.compare("halves", replace(right, fast=lambda wrong=wrong: wrong), Patience(1))


def test_results_that_are_several_tensors_differ_as_their_worst():
    a = (torch.zeros(2), [torch.ones(3), torch.zeros(1)])
    b = (torch.zeros(2), [torch.ones(3), torch.tensor([-0.25])])
    assert timing.difference(a, b) == 0.25
    with pytest.raises(ValueError):
        timing.difference(a, a[:1])


def test_ways_run_in_turn_and_every_second_round_backwards():
    order = []
    jobs = [lambda n=n: order.append(n) for n in "ab"]
    taken = timing.alternate(jobs, Patience(3, 60))
    assert "".join(order) == "abbaab" and [len(t) for t in taken] == [3, 3]


def test_patience_ends_the_rounds_but_not_before_the_second():
    assert [len(t) for t in timing.alternate([lambda: None], Patience(50, 0))] == [2]


def test_a_ratio_is_the_median_over_rounds_so_that_a_slow_minute_hits_both_ways(monkeypatch):
    monkeypatch.setattr(timing, "alternate", lambda jobs, patience: [[2.0, 20.0, 3.0], [1.0, 10.0, 1.0]])
    figure = timing.compare("x", Pair("x", lambda: None, lambda: None), Patience())
    assert (figure.value, figure.n, figure.plain, figure.fast) == (2.0, 3, 3000.0, 1000.0)
    assert figure.spread == pytest.approx(torch.tensor([2.0, 2.0, 3.0]).std().item())


# --- the jobs ---


@pytest.mark.parametrize("name", ["executor", "sampling", "text", "routing", "hand", "nearest", "bf16"])
def test_both_ways_of_every_job_give_the_same(bench, name):
    figures = measuring.JOBS[name](bench)  # raises where they do not
    assert figures and all(f.value > 0 and f.plain > 0 and f.fast > 0 for f in figures)
    assert all("apart" in f.note for f in figures)


def test_a_plan_that_went_wrong_would_stop_the_benchmark(bench, monkeypatch):
    monkeypatch.setattr(benchjobs, "planned", lambda *a: lambda x, t: 0.999 * x)
    with pytest.raises(HoiError, match="DDIM-4"):
        benchjobs.sampling(bench)


def test_the_dense_way_runs_every_expert_and_the_fast_way_one_of_each_group(bench, monkeypatch):
    pairs = {}
    monkeypatch.setattr(benchjobs, "compare", lambda key, pair, _: pairs.update({key: pair}) or Figure(key, "", 1.0))
    benchjobs.executor(bench)
    runs = []
    for block in bench.denoiser.blocks:
        for group in block.feedforward.groups:
            for expert in group.experts:
                expert.register_forward_hook(lambda _, inputs, __: runs.append(len(inputs[0])))
    for pair in pairs.values():
        for way, experts in ((pair.plain, 3), (pair.fast, 1)):
            runs.clear()
            way()
            assert sum(runs) == experts * 2 * 3 * SMALL.batch  # blocks × groups × samples
    assert pairs["executor/forward"].bar == pairs["executor/training"].bar == Bar(1.5)
    assert bench.config.executor == "fast"


def test_the_plain_sampler_prepares_at_every_step_and_the_planned_one_once(bench, monkeypatch):
    prepared, routed = [], []
    prepare, level = Denoiser.prepare, Denoiser._level
    monkeypatch.setattr(Denoiser, "prepare", lambda self, *a: prepared.append(0) or prepare(self, *a))
    monkeypatch.setattr(Denoiser, "_level", lambda self, *a: routed.append(0) or level(self, *a))
    for way, counts in ((benchjobs.alone(bench, bench.encoder, 4), (4, 4)), (benchjobs.ahead(bench, 4), (1, 0))):
        prepared.clear(), routed.clear()
        way()
        assert (len(prepared), len(routed)) == counts


def test_as_released_every_text_is_read_at_every_step(bench):
    benchjobs.alone(bench, bench.encoder, 2)()
    known = bench.encoder.reads
    benchjobs.alone(bench, bench.encoder, 2)()
    assert bench.encoder.reads == known
    benchjobs.alone(bench, benchjobs.Anew(bench.encoder), 2)()
    assert bench.encoder.reads - known == 2 * 5 * SMALL.batch  # caption, verb and three levels of every sample


def test_requests_have_their_hand_at_the_object_and_no_padding():
    batch = benchjobs.requests(6, 12, 16)
    assert batch.pose.shape == (6, 12, 99) and bool(batch.valid.all()) and len(set(batch.verb)) == 4
    wrist = batch.pose[..., :3] + batch.wrist_rest[:, None]
    assert torch.allclose(wrist, batch.object_pose[..., :3])
    assert batch.side.unique().tolist() == [0, 1]


def test_what_cannot_be_compiled_is_said_not_raised(bench, monkeypatch):
    monkeypatch.setattr(benchjobs, "with_compiled_parts", lambda model: 1 / 0)
    (figure,) = benchjobs.compiled(bench)
    assert figure.value is None and figure.note.startswith("not here: ZeroDivisionError")


def test_compiling_leaves_the_network_itself_alone(bench):
    model = benchjobs.with_compiled_parts(bench.denoiser)
    assert model.blocks[0].attention._compiled_call_impl is not None
    assert bench.denoiser.blocks[0].attention._compiled_call_impl is None


# --- the training step ---


def test_the_parts_of_a_step_are_what_each_adds(bench, monkeypatch):
    monkeypatch.setattr(benchsteps, "alternate", lambda jobs, patience: [[2.0, 2.0], [0.5, 0.5], [2.0, 2.0]])
    found = {f.key: f for f in benchsteps.step(bench)}
    assert found["step/all"].value == 4000.0
    assert [found[f"step/{k}"].value for k in ("network", "hands", "object")] == [50.0, 12.5, 37.5]


def gradient(job, model):
    job()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def test_the_networks_own_part_is_the_objective_without_any_geometry(bench):
    step = benchsteps.Step(bench)
    bare = step.objective(bench.denoiser, **dict.fromkeys(("rec", "acc", "dist", "con", "pen"), 0.0))
    found = [gradient(job, bench.denoiser) for job in (step.jobs()["network"], step._gradient(bare))]
    assert found[0].keys() == found[1].keys()
    assert all(torch.allclose(found[0][n], found[1][n], atol=1e-6) for n in found[0])


def test_the_losses_own_part_is_the_objective_at_a_given_estimate(bench):
    step = benchsteps.Step(bench)
    answered = benchsteps.Answered(bench.config.coordinates, bench.batch)
    torch.nn.init.normal_(answered.answer)
    losses = step.objective(answered)
    terms, _ = losses(bench.batch, step.truth, bench.levels, bench.noise)
    assert set(terms) == {"diff", "rec", "acc", "dist", "con", "pen", "balance", "total"}
    expected = diffusion_loss(answered.answer, bench.denoiser.to_model(bench.batch), bench.batch.valid)
    assert torch.allclose(terms["diff"], expected)
    assert list(gradient(step._gradient(losses), answered)) == ["answer"]
    few, _ = step.objective(answered, **dict.fromkeys(BETWEEN, 0.0))(bench.batch, step.truth, bench.levels, bench.noise)
    assert set(terms) - set(few) == {"dist", "con", "pen"}


def test_what_is_known_beforehand_is_what_would_be_worked_out(bench):
    known, unknown = (benchsteps.Step(bench, known=k) for k in (True, False))
    totals = [step.jobs()["all"]() for step in (known, unknown)]
    assert torch.allclose(*totals, rtol=1e-5) and unknown.truth.fields is None


def test_the_training_job_moves_the_weights(bench):
    before = bench.denoiser.head.weight.detach().clone()
    benchsteps.Step(bench).training()()
    assert float((bench.denoiser.head.weight.detach() - before).abs().max()) > 1e-6


def test_memory_is_measured_in_a_process_of_its_own(bench, monkeypatch):
    (figure,) = benchsteps.memory(bench)
    assert 0 <= figure.value < 2 and figure.verdict == "✓" and "B 2, 10 frames, 32 points" in figure.what
    monkeypatch.setattr(benchsteps.sys, "executable", "false")
    with pytest.raises(HoiError, match="memory failed"):
        benchsteps.memory(bench)


# --- a GPU ---


def test_without_a_gpu_its_rows_say_so(bench, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (figure,) = benchsteps.gpu(bench)
    assert figure.value is None and "no CUDA device" in figure.note and figure.verdict == ""


def test_the_figures_of_a_gpu_have_the_bars_of_an_h100(bench, monkeypatch):
    memory = iter([3 * 2**30, 4 * 2**30])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: next(memory))
    monkeypatch.setattr(benchsteps, "_repeated", lambda bench, job: [10.0, 10.0])
    found = {f.key: f for f in [*benchsteps._gpu_steps(bench), benchsteps._gpu_sampling(bench)]}
    bars = {key: f.bar for key, f in found.items() if f.bar}
    assert bars == {
        "gpu/step": Bar(most=25),
        "gpu/losses": Bar(most=50),
        "gpu/memory": Bar(most=2),
        "gpu/sampling": Bar(most=1.5),
    }
    assert found["gpu/memory"].value == 1.0 and found["gpu/sampling"].value == 0.01
    flop = costs.step_cost(bench.config, 4, 10, bench.words).network
    assert found["gpu/bound/training"].value == pytest.approx(100 * flop / 989e12 / 0.01)
    assert found["gpu/losses"].value == pytest.approx(found["gpu/part/hands"].value + found["gpu/part/object"].value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_every_figure_of_a_gpu_is_measured(monkeypatch):
    monkeypatch.setattr(benchsteps, "Bench", lambda sizes, patience, device: Bench(sizes, patience, device))
    figures = benchsteps.gpu(Bench(replace(SMALL, frames=20), Patience(2, 5)))
    assert all(f.value is not None and f.key.startswith("gpu/") for f in figures)


# --- parameters, tables, records, the command ---


def test_the_readings_have_the_parameters_of_their_sources():
    found = {f.key: f for f in measuring.parameters()}
    assert found["parameters/paper"].verdict == found["parameters/release"].verdict == "✓"
    assert "81.0 M" in found["parameters/paper"].note  # as the paper's own encoders make it
    assert "131.5 M" in found["parameters/release"].note and "37.8 of them idle" in found["parameters/release"].note
    assert found["parameters/recommended"].bar is None


@pytest.mark.parametrize("preset", [paper, release, recommended])
def test_the_parts_of_a_network_add_up_to_what_torch_counts(preset):
    table = measuring.parts_table("p", preset())
    columns = [[float(cell.split()[0]) for cell in row[1:]] for row in table.rows]
    for column in zip(*columns, strict=True):
        assert sum(column[:-1]) == pytest.approx(column[-1], abs=0.05)
    with torch.device("meta"):
        counted = sum(p.numel() for p in Denoiser(preset()).parameters())
    assert columns[-1][0] == pytest.approx(counted / 1e6, abs=0.005)


def test_every_row_of_the_ablations_has_its_parameters():
    table = measuring.ablation_table(paper())
    assert [row[0] for row in table.rows] == ["full", *ROWS]
    total = {row[0]: float(row[1].split()[0]) for row in table.rows}
    active = {row[0]: float(row[2].split()[0]) for row in table.rows}
    assert total["d_max 512"] < total["full"] < total["d_max 2048"]
    assert total["w/o refined text"] == total["full"] and total["M 2"] < total["full"] < total["M 4"]
    assert all(active[row] <= total[row] for row in total)


def test_tables_show_ratio_spread_bar_and_verdict():
    figures = [
        Figure(
            "sampling/planned",
            "DDIM",
            1.42,
            spread=0.034,
            n=3,
            bar=Bar(1.3),
            plain=12345.0,
            fast=8.2,
            note="apart 1e-06",
        ),
        Figure("compile", "compiled", None, note="not here: no compiler"),
        Figure("memory", "memory", 2.5, "GB", bar=Bar(most=2)),
    ]
    ratios, memory = measuring.tables(figures)
    assert ratios.rows[0] == ("DDIM", "12.3 s", "8.2 ms", "1.42×", "± 0.034 (n 3)", "≥ 1.3", "✓", "apart 1e-06")
    assert ratios.rows[1] == ("compiled", "", "", "", "", "", "", "not here: no compiler")
    assert memory.rows == [("memory", "2.5 GB", "", "≤ 2", "falls short", "")]
    assert all(len(row) == len(table.header) for table in (ratios, memory) for row in table.rows)


def test_every_figure_lands_in_a_table_once(bench, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    report = measuring.run(["text", "hand", "step", "gpu", "parameters"], progress=False, bench=bench)
    shown = [row[0] for table in measuring.tables(report.figures) for row in table.rows]
    assert all(shown.count(f.what) == 1 for f in report.figures)


def test_quick_leaves_out_what_takes_long_unless_it_is_asked_for():
    assert set(measuring.selected((), False)) - set(measuring.selected((), True)) == {"compile", "memory"}
    assert measuring.selected(["memory"], True) == ["memory"]
    assert measuring.selected(["text", "executor"], False) == ["executor", "text"]
    with pytest.raises(ConfigError, match="nonsense"):
        measuring.selected(["nonsense"], False)


def test_a_record_keeps_every_measured_figure_and_says_what_is_missing(bench, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    report = measuring.run(["text", "gpu", "parameters"], progress=False, bench=bench)
    record = records.load(records.write(measuring.record(report), tmp_path / "bench.json"))
    assert records.value(record, "metrics.parameters/paper") == pytest.approx(80.7, abs=0.1)
    assert record["metrics"]["text"]["unit"] == "×" and "gpu" not in record["metrics"]
    assert any(note.startswith("gpu: not here") for note in record["notes"])
    assert any("load" in note for note in record["notes"]) and record["config"]["width"] == 16


def test_the_command_prints_its_tables_and_writes_its_record(capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        cli.main(["bench", "--only", "parameters", "--record", str(tmp_path / "bench.json")])
    out = capsys.readouterr().out
    assert not ended.value.code and "release(), by part" in out and "d_max 2048" in out and "✓" in out
    assert records.load(tmp_path / "bench.json")["name"] == "bench"


def test_the_command_refuses_what_it_cannot_measure(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["bench", "--only", "luck"])
    assert ended.value.code == 2 and "luck" in capsys.readouterr().err
