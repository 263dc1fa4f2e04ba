"""Each real set's fixture from its raw files to a table of scores: build, check, train, evaluate, all by ``hoi``."""

import os
from importlib import import_module

import pytest
from fixtures import arctic

from hoi_lib import data, records
from hoi_lib.data import text2hoi

PRESETS = {"arctic": "paper_arctic", "grab": "paper_grab", "h2o": "paper_h2o", "text2hoi": "paper_arctic"}
SMALL = ("steps=20", "batch=4", "vertices=20", "loss_points=32", "stride=8", "threads=1", "tensorboard=no")
QUICK = ("sampler=ddim", "sampling_steps=4")  # the paper's thousand DDPM steps take minutes
SECONDS = 60


def busy():
    """Seconds of computing so far, child processes included; a clock on the wall would measure the neighbours too."""
    return sum(os.times()[:4])


def train(hoi, store, preset, run, *extra):
    settings = [word for pair in (*SMALL, *QUICK, *extra) for word in ("--set", pair)]
    return hoi("train", "--preset", preset, "--profile", "smoke", "--data", store, *settings, "--out", run)


def write_raw(name, folder):
    """The fixture of a set; Text2HOI's files hold the known clips of ARCTIC's."""
    if name != "text2hoi":
        return import_module(f"fixtures.{name}").write(folder)
    known = arctic.write(folder.with_name("arctic"))
    models = {item.model.name: item.model for item in known}
    return text2hoi.write(folder, [item.clip for item in known], models.__getitem__)


@pytest.mark.parametrize("name", PRESETS)
def test_a_set_goes_from_its_files_to_a_table(hoi, name, tmp_path):
    write_raw(name, tmp_path / "raw")
    start = busy()
    store, run = tmp_path / "store", tmp_path / "run"
    code, out, err = hoi("data", "build", name, "--raw", tmp_path / "raw", "--out", store, "--workers", 1)
    assert code == 0, err
    clips = data.load(store)
    assert f"{len(clips)} clips in {store}" in out
    assert clips.subset("train") and not clips.subset("val") and clips.subset("test")

    code, out, err = hoi("data", "check", store)
    assert code == 0, out + err  # a handful of clips is told beside the published counts and misses no bound
    assert "conventions missed" in out and "frames per clip" in out

    code, out, err = train(hoi, store, PRESETS[name], run)
    assert code == 0, err
    assert "no validation subject" in out and "trained in" in out
    record = records.load(run / "record.json")
    assert record["config"]["data_sampler"] == "balanced" and record["config"]["lr"] == 1e-4
    assert record["curves"]["training/total"]["step"][-1] == 20

    code, out, err = hoi("evaluate", run, "--data", store, "--split", "test")
    assert code == 0, err
    assert busy() - start < SECONDS
    measured = records.load(run / "evaluation_test.json")
    assert_table(out, measured)
    assert measured["data"]["fingerprint"] == clips.fingerprint
    assert measured["data"]["clips"] == len(clips.subset("test"))

    code, out, err = hoi("evaluate", run, "--data", store, "--split", "val")
    assert code == 2 and "no hand in the split 'val'" in err and "Measure --split test" in err
    assert len(err.strip().splitlines()) <= 2 and not (run / "evaluation_val.json").exists()


def assert_table(out, measured):
    """Every metric of a set without labels is in the record and in the printed table."""
    assert {"cr", "pen", "mpjpe", "mpvpe", "pskl_real_generated", "truth/cr", "mean_object/cr"} <= set(
        measured["metrics"]
    )
    assert not [key for key in measured["metrics"] if key.endswith("_contact")]
    assert measured["config"]["windows"] == "first" and measured["config"]["frames"] == 150
    lines = out.splitlines()
    assert lines[0].split()[:2] == ["model", "truth"]
    assert [line.split()[0] for line in lines[2:5]] == ["CR", "CR,", "CR"] and "NaN" not in out and "nan" not in out
    assert any(line.startswith("MPJPE ↓") for line in lines)
