"""Static widgets: complete, small, exact to 16 bits, and alive under the keyboard in a real browser with no network."""

from __future__ import annotations

import base64
import json
import re

import numpy as np
import pytest

from hoi_lib import widgets
from hoi_lib.widgets import Band, Bars, Choice, Frame, Line, Picture, Plot, Points, Slider, Text, static_widget
from tests.book.browser import Browser

ALT = "A curve that moves with the slider."
X = np.linspace(0, 1, 50)


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
    said = re.findall(r'<img src="data:image/webp;base64,[^"]+" alt="([^"]+)"', html)
    assert said == [f"{ALT} k is {k}+" for k in (1, 5, 8)], "three words are too few: what the widget shows comes first"


def test_a_fallback_of_ones_own_takes_their_place():
    white = np.full((20, 30, 3), 255, np.uint8)
    html = static_widget(curve, Slider("k", range(1, 9)), ALT, fallback=white).html
    assert html.count("<figure>") == 1


def test_truth_is_drawn_in_the_ink_of_the_page():
    assert widgets.color_of("truth") == "ink" and widgets.color_of("hand").startswith("#")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A browser with a page of three widgets."""
    every = Plot(
        [Bars([0, 1], [1, 2], "hand", "bars"), Band(X, X - 1, X, "joint"), Text(0.2, 0.5, "words")],
        xnames=("a", "b"),
        title="every kind",
    )
    arrow = Plot([Line([0, 1], [0, 1], "finger", arrow=True)], equal=True, yscale="linear", bare=True)
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


@pytest.fixture
def page(browser):
    """The page itself, as Playwright knows it."""
    return browser.page


def readout(page, number: int) -> str:
    return page.locator(".hoi-readout").nth(number).text_content()


def test_widgets_come_alive_without_an_error_or_a_request(browser, page):
    assert page.locator(".hoi-widget.is-live").count() == 3
    assert browser.errors == [] and browser.outside == [] and browser.failed == []


def test_the_keyboard_moves_the_slider_and_the_readout_follows(page):
    page.locator("input[type=range]").first.focus()
    for key in ("Home", *["ArrowRight"] * 3):
        page.keyboard.press(key)
    assert readout(page, 0) == "k is 4+"
    assert page.locator("input[type=range]").first.get_attribute("aria-valuetext") == "k = 4"
    assert page.locator("output").first.text_content() == "k = 4"
    assert readout(page, 2) == "k is 1+", "the same widget further down keeps its own state"


def test_the_curve_on_the_page_changes_with_the_state(page):
    path = page.locator(".hoi-stage path[fill=none]").first
    before = path.get_attribute("d")
    page.locator("input[type=range]").first.press("End")
    assert path.get_attribute("d") != before and readout(page, 0) == "k is 8+"


def test_a_choice_changes_the_state(page):
    page.locator("input[type=radio]").nth(1).check()
    assert readout(page, 0).endswith("-")


def test_play_steps_through_and_stops_at_the_end(page):
    button = page.locator(".hoi-play").nth(1)
    button.click()
    assert button.text_content() == "❚❚"
    page.wait_for_function("document.querySelectorAll('.hoi-play')[1].textContent === '▶'", timeout=10_000)
    assert readout(page, 2) == "k is 8+"


def test_every_kind_of_series_is_drawn(page):
    stage = "document.querySelectorAll('.hoi-stage')[1]"
    count = page.evaluate(f"['rect[rx]','path','text'].map((s) => {stage}.querySelectorAll(s).length)")
    assert count[0] >= 2 and count[1] >= 3 and count[2] >= 5


def test_a_bare_plot_has_neither_numbers_nor_grid(page):
    numbered, bare = (page.locator(".hoi-widget").nth(1).locator("svg:has(clipPath)").nth(k) for k in (0, 1))
    assert numbered.locator("text.muted, line.grid").count() > 4
    assert bare.locator("text.muted, line.grid").count() == 0 and bare.locator("path, line").count() > 0


def test_a_phone_shows_all_of_it(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_print_shows_the_strip_instead_of_the_controls(page):
    strip, controls = page.locator(".hoi-print").first, page.locator(".hoi-controls").first
    assert controls.is_visible() and not strip.is_visible()
    page.emulate_media(media="print")
    assert strip.is_visible() and not controls.is_visible()
    page.emulate_media(media="screen")
