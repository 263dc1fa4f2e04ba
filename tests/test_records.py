"""Records: what fits the schema is kept exactly, what does not is named, and no file is ever half written."""

import errno
import json
import os

import pytest

from hoi_lib import records
from hoi_lib.errors import OutputError, RecordError


def make(**changes):
    fields = dict(
        config={"batch": 32, "denoiser": {"width": 128}},
        seeds=[0],
        data={"fingerprint": "ab" * 32, "profile": "smoke"},
        metrics={"cr": records.metric(0.87, 1200, spread=0.01), "mpjpe": records.metric(31.5, 1200, "mm")},
        curves={"loss": {"step": [1, 2], "value": [0.5, 0.25]}},
        wall_time_s=1.5,
        sameness="close",
        command="hoi evaluate runs/first",
    )
    return records.new("first", **(fields | changes))


def test_a_record_survives_the_disk(tmp_path):
    record = make(checkpoint="0" * 64, rule="last EMA weights", notes=["one seed"])
    path = records.write(record, tmp_path / "deep" / "record.json")
    assert records.load(path) == record == records.validate(path)
    assert list(path.parent.iterdir()) == [path]


def test_new_says_where_the_run_came_from():
    record = make()
    assert len(record["code"]["commit"] or "0" * 40) == 40
    assert record["packages"]["torch"] and record["packages"]["python"]
    assert record["hardware"]["threads"] >= 1 and record["hardware"]["cpu"]
    assert record["peak_memory_mb"] > 10


def test_lookup_by_dots_gives_a_metric_its_value():
    record = make()
    assert records.value(record, "metrics.cr") == 0.87
    assert records.value(record, "metrics.cr.n") == 1200
    assert records.value(record, "config.denoiser.width") == 128


@pytest.mark.parametrize("key", ["metrics.fid", "config.batch.size", "nothing"])
def test_a_lookup_that_fails_names_record_and_key(key):
    with pytest.raises(RecordError, match=f"'first' has no '{key}'"):
        records.value(make(), key)


@pytest.mark.parametrize(
    ("path", "bad", "word"),
    [
        (["schema"], "hoi-record/9", "hoi-record/9"),
        (["name"], "", "name"),
        (["created"], "yesterday", "created"),
        (["created"], "2026-01-01T00:00:00", "created"),
        (["seeds"], [], "seeds"),
        (["seeds"], [0.5], "seeds"),
        (["sameness"], "roughly", "sameness"),
        (["wall_time_s"], -1, "wall_time_s"),
        (["checkpoint_sha256"], "abc", "checkpoint_sha256"),
        (["data"], {"profile": "smoke"}, "data.fingerprint"),
        (["code"], {"commit": None}, "code.dirty"),
        (["metrics", "cr", "value"], float("nan"), "metrics.cr.value"),
        (["metrics", "cr", "value"], True, "metrics.cr.value"),
        (["metrics", "cr", "n"], 0, "metrics.cr.n"),
        (["metrics", "cr", "spread"], -0.1, "metrics.cr.spread"),
        (["metrics", "cr"], 0.87, "metrics.cr"),
        (["curves", "loss", "value"], [0.5], "curves.loss"),
        (["curves", "loss", "value"], [0.5, None], "curves.loss"),
        (["notes"], "text", "notes"),
        (["extra"], 1, "extra"),
    ],
)
def test_the_bad_field_is_named(path, bad, word):
    record = make()
    target = record
    for part in path[:-1]:
        target = target[part]
    target[path[-1]] = bad
    with pytest.raises(RecordError, match=word):
        records.validate(record)


@pytest.mark.parametrize("field", ["name", "config", "metrics", "hardware", "rule"])
def test_a_missing_field_is_named(field):
    record = make()
    del record[field]
    with pytest.raises(RecordError, match=f"'{field}' is missing"):
        records.validate(record)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": "hoi-record/1"}', "\x00\x01"])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "broken.json"
    path.write_text(content)
    with pytest.raises(RecordError, match="broken.json"):
        records.load(path)
    with pytest.raises(RecordError, match=r"missing\.json"):
        records.load(tmp_path / "missing.json")


def test_a_full_disk_leaves_the_old_record_and_nothing_beside_it(tmp_path, monkeypatch):
    path = records.write(make(), tmp_path / "record.json")
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="record.json.*No space left"):
        records.write(make(wall_time_s=2.0), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), records.atomic(tmp_path / "x") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        records.write(make(), tmp_path / "file" / "record.json")


def test_a_record_off_the_schema_is_never_written(tmp_path):
    record = make()
    record["metrics"]["cr"]["value"] = float("inf")
    with pytest.raises(RecordError):
        records.write(record, tmp_path / "record.json")
    assert list(tmp_path.iterdir()) == []


def test_the_index_lists_valid_records_by_name_and_stops_at_a_bad_one(tmp_path):
    records.write(make(), tmp_path / "b.json")
    records.write(make(), tmp_path / "a.json")
    assert list(records.book(tmp_path)) == ["a", "b"]
    (tmp_path / "c.json").write_text(json.dumps({"schema": records.SCHEMA}))
    with pytest.raises(RecordError, match="c.json"):
        records.book(tmp_path)


def test_every_record_of_the_book_is_valid():
    for name, record in records.book().items():
        assert record["metrics"], name


def test_file_hash_is_the_sha256(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    assert records.file_hash(tmp_path / "empty").startswith("e3b0c44298fc1c14")
