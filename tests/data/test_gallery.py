"""The page of pictures stands alone, shows every clip it names, and says in words what it shows."""

import base64
import io
import re
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from hoi_lib.cli import app
from hoi_lib.data import gallery, store
from hoi_lib.data.figures import Row
from hoi_lib.errors import OutputError


@pytest.fixture(scope="module")
def page(small_set, tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "clips.html"
    rows = [Row("contact <ratio>", "0.9", "≥ 1", False, "Hands & things."), Row("clips", "36", "", None)]
    assert gallery.write(small_set, file, rows, clips=3) == 3
    return file.read_text(encoding="utf-8")


def test_a_page_needs_nothing_but_itself(page):
    assert page.count("<figure>") == 3
    assert set(re.findall(r'(?:src|href)="([a-z]+):', page)) == {"data"}
    assert "<script" not in page and "@import" not in page and "http" not in page


def test_pictures_show_something_at_four_moments(page):
    for data in re.findall(r"base64,([^\"]+)", page):
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)
        assert picture.shape[1] == 4 * picture.shape[0] * gallery.SIZE[0] // gallery.SIZE[1]
        for panel in np.array_split(picture, 4, axis=1):
            assert (np.abs(panel - panel[0, 0]).sum(-1) > 60).mean() > 0.01


def test_every_picture_is_told_in_words(page):
    texts = [unescape(text) for text in re.findall(r'alt="([^"]+)"', page)]
    assert len(texts) == 3
    for text in texts:
        assert text.startswith("4 moments of") and "hand" in text and text.count(",") >= 3 and "touching" in text


def test_figures_stand_above_the_pictures_and_are_escaped(page):
    assert "<details open>" in page and "2 figures, 1 missed" in page
    assert "contact &lt;ratio&gt;" in page and "Hands &amp; things." in page and 'class="MISSED"' in page


def test_words_follow_what_the_hand_does(small_set):
    clip = next(c for c in small_set if len(c.hands) == 1)
    (side,) = clip.hands
    held = int(np.flatnonzero(clip.labels.contact[side])[5])
    track = clip.hands[side]
    gone = track.valid.copy()
    gone[held + 1] = False
    away = track.transl.copy()
    away[held + 2] += np.float32([0, 0, 1])
    changed = replace(clip, hands={side: replace(track, transl=away, valid=gone)})
    words = gallery.describe(small_set, changed, np.array([held, held + 1, held + 2]))
    assert words.endswith(f"{side} hand touching, absent, far off")


def test_a_clip_with_broken_numbers_has_no_picture_and_says_so(small_set, tmp_path):
    clip = replace(small_set[0], labels=None)
    clip.object.transl[:] = np.nan
    broken = store.write(tmp_path / "s", [clip], small_set.object, source="test", profile="smoke", seed=0)
    gallery.write(broken, tmp_path / "p.html")
    assert "not finite" in (tmp_path / "p.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["pictures", "pictures.png"])
def test_a_name_that_is_no_page_is_refused_before_any_work(tmp_path, name):
    with pytest.raises(OutputError):
        gallery.prepare(tmp_path / name)
    result = CliRunner().invoke(app, ["data", "check", str(tmp_path), "--pictures", str(tmp_path / name)])
    assert isinstance(result.exception, OutputError)


def test_the_command_writes_the_page_and_prints_every_verdict(small_set, tmp_path):
    out = tmp_path / "new" / "clips.html"
    result = CliRunner().invoke(app, ["data", "check", str(small_set.folder), "--pictures", str(out)])
    assert result.exit_code == 0, result.output
    assert "conventions missed" in result.output and "noted" in result.output and out.is_file()
