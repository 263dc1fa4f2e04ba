"""Static widgets: complete, small, exact to 16 bits, and alive under the keyboard in a real browser with no network."""

from __future__ import annotations

import base64
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from hoi_lib import widgets
from hoi_lib.widgets import Band, Bars, Choice, Frame, Line, Picture, Plot, Points, Slider, Text, static_widget

sys.path.insert(0, str(Path(__file__).resolve().parent / "book"))
from browser import Browser, find_chromium

ALT = "A curve that moves with the slider."
X = np.linspace(0, 1, 50)
needs_browser = pytest.mark.skipif(find_chromium() is None, reason="no chromium: the widgets were not run in a browser")


def curve(k: int, sign: str = "+") -> Frame:
    """A wave of frequency ``k``."""
    y = np.sin(k * X) * (1 if sign == "+" else -1)
    return Frame(Plot([Line(X, y, "truth", "wave"), Points([0.5], [y[25]], "noise")], xlabel="time"), f"k is {k}{sign}")


def states(widget) -> dict:
    """The JSON inside a widget's script."""
    return json.loads(re.search(r"\('[0-9a-f]{12}',(.*)\)</script>", widget.html, re.S)[1].replace("<\\/", "</"))


def decode(entry: list) -> np.ndarray:
    """An array of the pool, as the page's script reads it."""
    low, high, code, log = entry
    raw = np.frombuffer(base64.b64decode(code), "<u2").astype(float)
    value = np.where(raw == 65535, np.nan, low + (high - low) * raw / 65534)
    return 10**value if log else value


def test_every_combination_is_there_with_the_last_control_fastest():
    widget = static_widget(curve, [Slider("k", [1, 2, 3]), Choice("sign", "+-")], ALT)
    assert [f["text"] for f in states(widget)["frames"]] == [
        "k is 1+",
        "k is 1-",
        "k is 2+",
        "k is 2-",
        "k is 3+",
        "k is 3-",
    ]


def test_a_missing_state_is_refused():
    with pytest.raises(ValueError, match="2 states for 3"):
        static_widget([curve(1), curve(2)], Slider("k", [1, 2, 3]), ALT)


def test_words_are_demanded():
    with pytest.raises(ValueError, match="alt"):
        static_widget(curve, Slider("k", [1]), "wave")


def test_arrays_survive_to_16_bits_with_gaps():
    pool = widgets._Packer()
    values = np.array([-3.0, np.nan, 0.25, 1e4, np.inf])
    back = decode(pool.pool[pool.array(values)])
    assert np.isnan(back[[1, 4]]).all()
    assert np.allclose(back[[0, 2, 3]], values[[0, 2, 3]], atol=1.1 * (1e4 + 3) / 65534 / 2)


def test_logarithmic_axes_keep_the_relative_error_small():
    pool = widgets._Packer()
    values = np.logspace(-40, 8, 200)
    assert np.abs(decode(pool.pool[pool.array(values, log=True)]) / values - 1).max() < 1e-3


def test_equal_arrays_are_stored_once():
    one = static_widget(curve, Slider("k", [1]), ALT).weight
    same = static_widget([curve(1)] * 20, Slider("k", range(20)), ALT).weight
    assert same < one + 20 * 60


def test_too_heavy_is_refused():
    noise = np.random.default_rng(0)
    frames = [Frame(Plot([Line(range(2000), noise.normal(size=2000))]), str(k)) for k in range(80)]
    with pytest.raises(ValueError, match="more than 300"):
        static_widget(frames, Slider("k", range(80)), ALT)


def test_limits_stay_put_over_all_states():
    axes = {json.dumps(states(static_widget(curve, Slider("k", [1, 5]), ALT))["pool"][0])}
    assert len(axes) == 1
    rows = widgets._fixed_limits([curve(1), curve(5)])
    assert rows[0][1][0].ylim == rows[1][1][0].ylim and rows[0][1][0].xlim == (0.0, 1.0)


def test_nothing_in_it_asks_the_network_or_closes_its_script():
    widget = static_widget([Frame(Picture("<svg></svg>"), "</script> & co")], Slider("k", [1]), ALT)
    assert widget.html.count("</script>") == 1
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", widget.html)


def test_print_shows_key_frames_with_words():
    html = static_widget(curve, Slider("k", range(1, 9)), ALT).html
    assert re.findall(r"<figcaption>(.*?)</figcaption>", html) == ["k is 1+", "k is 5+", "k is 8+"]
    assert len(re.findall(r'<img src="data:image/webp;base64,[^"]+" alt="[^"]{3,}"', html)) == 3


def test_a_fallback_of_ones_own_takes_their_place():
    white = np.full((20, 30, 3), 255, np.uint8)
    html = static_widget(curve, Slider("k", range(1, 9)), ALT, fallback=white).html
    assert html.count("<figure>") == 1


def test_truth_is_drawn_in_the_ink_of_the_page():
    assert widgets.color_of("truth") == "ink" and widgets.color_of("hand").startswith("#")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page with three widgets, open in a browser."""
    every = Plot(
        [Bars([0, 1], [1, 2], "hand", "bars"), Band(X, X - 1, X, "joint"), Text(0.2, 0.5, "words")],
        xnames=("a", "b"),
        title="every kind",
    )
    arrow = Plot([Line([0, 1], [0, 1], "finger", arrow=True)], equal=True, yscale="linear")
    parts = [
        static_widget(curve, [Slider("frequency", range(1, 9), "k = {}", play=True), Choice("sign", "+-")], ALT),
        static_widget([Frame([every, arrow], f"state {k}") for k in range(3)], Slider("k", range(3)), ALT),
        static_widget(curve, [Slider("frequency", range(1, 9), "k = {}", play=True), Choice("sign", "+-")], ALT),
    ]
    file = tmp_path_factory.mktemp("page") / "page.html"
    body = "".join(part.html for part in parts)
    file.write_text(f"<!doctype html><html><meta charset=utf-8><meta name=viewport content='width=device-width'>{body}")
    with Browser((390, 844)) as browser:
        browser.open(file)
        yield browser


def readout(page, number: int) -> str:
    return page.run(f"document.querySelectorAll('.hoi-readout')[{number}].textContent")


@needs_browser
def test_widgets_come_alive_without_an_error_or_a_request(page):
    assert page.run("document.querySelectorAll('.hoi-widget.is-live').length") == 3
    assert page.errors == [] and page.outside == [] and page.failed == []


@needs_browser
def test_the_keyboard_moves_the_slider_and_the_readout_follows(page):
    page.run("document.querySelector('input[type=range]').focus()")
    page.press("Home")
    page.press("ArrowRight", 3)
    assert readout(page, 0) == "k is 4+"
    assert page.run("document.querySelector('input[type=range]').getAttribute('aria-valuetext')") == "k = 4"
    assert page.run("document.querySelector('output').textContent") == "k = 4"
    assert readout(page, 2) == "k is 1+", "the same widget further down keeps its own state"


@needs_browser
def test_the_curve_on_the_page_changes_with_the_state(page):
    path = "document.querySelector('.hoi-stage path[fill=none]').getAttribute('d')"
    before = page.run(path)
    page.run("document.querySelector('input[type=range]').focus()")
    page.press("End")
    assert page.run(path) != before and readout(page, 0) == "k is 8+"


@needs_browser
def test_a_choice_changes_the_state(page):
    page.run("document.querySelectorAll('input[type=radio]')[1].click()")
    assert readout(page, 0).endswith("-")


@needs_browser
def test_play_steps_through_and_stops_at_the_end(page):
    page.run("document.querySelectorAll('.hoi-play')[1].click()")
    page.pause(1.6)
    assert readout(page, 2) == "k is 8+"
    assert page.run("document.querySelectorAll('.hoi-play')[1].textContent") == "▶"


@needs_browser
def test_every_kind_of_series_is_drawn(page):
    stage = "document.querySelectorAll('.hoi-stage')[1]"
    count = page.run(f"['rect[rx]','path','text'].map((s) => {stage}.querySelectorAll(s).length)")
    assert count[0] >= 2 and count[1] >= 3 and count[2] >= 5


@needs_browser
def test_a_phone_shows_all_of_it(page):
    assert page.run("document.documentElement.scrollWidth") <= 390


@needs_browser
def test_print_shows_the_strip_instead_of_the_controls(page):
    visible = "getComputedStyle(document.querySelector('.hoi-print')).display"
    assert page.run(visible) == "none"
    page.media("print")
    assert page.run(visible) == "flex"
    assert page.run("getComputedStyle(document.querySelector('.hoi-controls')).display") == "none"
    page.media("")
