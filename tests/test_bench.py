"""The fast way of every benchmark gives what the plain way gives."""

import pytest
import torch

from hoi_lib import bench


@pytest.fixture(scope="module")
def pairs():
    return bench.jobs()


def test_planned_sampling_equals_plain_sampling(pairs):
    plain, planned = pairs["DDIM-10: conditions at every step / once"]
    assert torch.allclose(plain(), planned(), atol=1e-5)


def test_a_cached_sentence_equals_a_fresh_one(pairs):
    fresh, cached = pairs["sentence: encode anew / from the cache"]
    assert torch.allclose(fresh().pooled, cached().pooled, atol=1e-6)


def test_the_table_names_every_pair(pairs, monkeypatch):
    monkeypatch.setattr(bench, "jobs", lambda: {"nothing": (lambda: None, lambda: None)})
    (row,) = bench.run(repeats=2)
    assert row[0] == "nothing" and row[3].endswith("×")
