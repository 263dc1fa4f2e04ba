"""Numbers inserted from records: the right value, readable, and a clear word when something is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))
from hoi_records import insert, slug  # noqa: E402

from hoi_lib import records  # noqa: E402

RUN = {
    "metrics": {"cr": {"value": 0.8764, "n": 8, "spread": None, "unit": ""}},
    "wall_time_s": 71.5,
    "seeds": [0, 1],
    "config": {"gap": -0.0123},
    "name": "run",
}


@pytest.mark.parametrize(
    "text, expected",
    [
        ("run:metrics.cr", "0.876"),
        ("run:metrics.cr | .1%", "87.6%"),
        ("run:metrics.cr.n", "8"),
        ("run : wall_time_s | .0f s", "72\u00a0s"),
        ("run:config.gap | *1000 .1f mm", "\u221212.3\u00a0mm"),
        ("run:seeds", "[0, 1]"),
    ],
)
def test_a_value_comes_formatted(text, expected):
    assert insert({"run": RUN}, text) == ("run", expected)


@pytest.mark.parametrize(
    "text, words",
    [
        ("other:metrics.cr", "'other' is not in book/records; there are: run"),
        ("run:metrics.fid", "metrics.fid"),
        ("run:name | .2f", "does not fit the format '.2f'"),
        ("run metrics", "expected NAME:path"),
    ],
)
def test_what_is_missing_is_named(text, words):
    with pytest.raises(ValueError, match=words):
        insert({"run": RUN}, text)


def test_every_committed_record_is_valid_and_has_an_anchor_of_its_own():
    found = records.book(ROOT / "book" / "records")
    assert len({slug(name) for name in found}) == len(found)


def build(folder: Path, prose: str) -> tuple[int, str, str]:
    """Build a page with Sphinx as the book does, warnings as errors: (exit code, page, what was said)."""
    record = records.new(
        "run",
        config={},
        seeds=[0],
        data={"fingerprint": "f", "profile": "smoke"},
        metrics={"cr": records.metric(0.8764, 8)},
        wall_time_s=1.0,
        sameness="close",
    )
    records.write(record, folder / "book" / "records" / "run.json")
    (folder / "index.md").write_text(f"# A page\n\n{prose}\n\n```{{run-records}}\n```\n", encoding="utf-8")
    (folder / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT / 'book' / '_ext')!r})\n"
        "extensions = ['myst_parser', 'hoi_records']\nhtml_theme = 'basic'\n"
    )
    command = [sys.executable, "-m", "sphinx", "-q", "-n", "-W", "--keep-going", ".", "out"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    page = folder / "out" / "index.html"
    return done.returncode, page.read_text(encoding="utf-8") if page.exists() else "", done.stderr


def test_a_page_shows_the_value_with_a_link_and_the_record_itself(tmp_path):
    code, page, said = build(tmp_path, "It touches in {record}`run:metrics.cr | .1%` of the frames.")
    assert code == 0, said
    assert ">87.6%</a>" in page and "run_records.html#record-run" in page
    assert 'id="record-run"' in page and "0.8764" in page


def test_a_table_shows_the_value_behind_an_escaped_bar(tmp_path):
    code, page, said = build(tmp_path, r"| CR |" "\n" r"| --- |" "\n" r"| {record}`run:metrics.cr \| .1%` |")
    assert code == 0, said
    assert ">87.6%</a>" in page and "{record}" not in page


def test_a_wrong_path_fails_the_build_and_is_named(tmp_path):
    code, _, said = build(tmp_path, "It touches in {record}`run:metrics.fid` of the frames.")
    assert code != 0 and "metrics.fid" in said and "index.md" in said


def test_a_broken_record_fails_the_build_and_is_named(tmp_path):
    (tmp_path / "book" / "records").mkdir(parents=True)
    (tmp_path / "book" / "records" / "torn.json").write_text('{"schema": "hoi-record/1"')
    code, _, said = build(tmp_path, "Nothing.")
    assert code != 0 and "torn.json" in said
