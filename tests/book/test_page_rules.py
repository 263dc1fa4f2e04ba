"""Every rule for pages in a browser sees the fault planted for it, and is silent about a clean page."""

from __future__ import annotations

import numpy as np
import pytest

from hoi_lib.widgets import Choice, Frame, Line, Picture, Plot, Slider, static_widget
from tests.book import page_rules as rules
from tests.book.browser import Browser

STYLE = """
html[data-theme=dark] { color-scheme: dark; background: #12161b; color: #e6edf3 }
body { margin: 1rem } a { color: #0f5bc4 } html[data-theme=dark] a { color: #6cb6ff } img { background: #fff }
summary:focus-visible, .toggle-button:focus-visible { outline: 3px solid #0072b2 }
@media print { .toggle-button { display: none } }
"""
THEME = """
const dark = matchMedia("(prefers-color-scheme: dark)"), root = document.documentElement;
const follow = () => (root.dataset.theme = dark.matches ? "dark" : "light");
dark.onchange = follow; follow();
addEventListener("beforeprint", () => {
  root.dataset.theme = "light";
  for (const e of document.querySelectorAll(".toggle-hidden")) e.classList.remove("toggle-hidden");
});
const toggle = (button) => button.closest(".toggle").classList.toggle("toggle-hidden");
"""
WORDS = "A square that says nothing more."
SQUARE = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' width='60' height='60'>{}</svg>"
CROSS = SQUARE.format("<path d='M5 5L55 55M55 5L5 55' stroke='black' stroke-width='8'/>")
FULL = SQUARE.format("<rect width='60' height='60' fill='teal'/>")
READOUT = '<p class=hoi-readout>one</p><div class=hoi-print><img src="' + FULL + f'" alt="{WORDS}"></div>'
SAY = "this.closest('.hoi-widget').querySelector('.hoi-readout').textContent = "


def widget(control: str) -> str:
    """A widget with this control alone."""
    style = "<style>@media print { .c { display: none } }</style>"
    return f"{style}<div class='hoi-widget is-live'><div class=c>{control}</div>{READOUT}</div>"


def fold(attributes: str = "", box: str = "", more: str = "") -> str:
    """A box that unfolds by a button, like a solution."""
    button = f"<button class=toggle-button {attributes or 'onclick=toggle(this)'}>Show</button>"
    return f"<div class='solution toggle toggle-hidden' {box}><p>Solution {button}</p><p>Four.</p>{more}</div>"


def state(value, kind):
    """A frame with a plot and a picture."""
    plot = Plot([Line([0, 1], [0, value], "hand", "rise", arrow=True)], xlabel="time")
    return Frame([plot, Picture(np.full((20, 20, 3), 30 * value, np.uint8))], f"The line rises to {value}, {kind}.")


@pytest.fixture(scope="module")
def clean() -> str:
    """What a page of the book is made of."""
    controls = [Slider("height", range(1, 7), play=True), Choice("kind", ["straight", "bent", "broken"])]
    living = static_widget(state, controls, "A line that rises with the slider.").html
    table = "<table><tr><th>What<td>one<tr><th>More<td><a href=#>two</a></table>"
    verdict = "<div class=hoi-verdict>✓ right</div>"
    picture = f"<img src=\"{FULL}\" alt='{WORDS}'>"
    return f"{table}{picture}{fold(more=verdict)}<details open><summary>Hint</summary>Add.</details>{living}"


@pytest.fixture(scope="module")
def browser():
    """One browser for all faults."""
    with Browser() as started:
        yield started


@pytest.fixture
def visit(browser, tmp_path):
    """Open a page with this body."""

    def go(body: str):
        head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><style>{STYLE}</style>"
        page = f"<!doctype html><html lang=en>{head}<script>{THEME}</script><body>{body}</body></html>"
        (tmp_path / "page.html").write_text(page, encoding="utf-8")
        browser.open(tmp_path / "page.html")
        return browser

    return go


def test_a_clean_page_keeps_every_rule(visit, clean):
    opened = visit(clean)
    assert {rule.__name__: found for rule in rules.RULES if (found := rule(opened))} == {}


RANGE = "<input type=range min=0 max=9 aria-valuetext={} {}>"
TOLD = "this.setAttribute('aria-valuetext', this.value)"
RADIO = "<label><input type=radio name=a {0} checked>a</label><label><input type=radio name=a {0}>b</label>"
FAULTS = {
    "a picture of another host": (rules.network, f"<img src=http://example.org/a.png alt='{WORDS}'>", "another host"),
    "a script that asks another host": (rules.network, "<script>fetch('https://example.org')</script>", "another host"),
    "a socket to another host": (rules.network, "<script>new WebSocket('wss://example.org')</script>", "another host"),
    "a file that is not there": (rules.network, "<script src=gone.js></script>", "did not arrive"),
    "an exception": (rules.console, "<script>undefined.x</script>", "undefined"),
    "an error in the log": (rules.console, "<script>console.error('it broke')</script>", "it broke"),
    "an error logged as a warning": (rules.console, "<script>console.warn('TypeError: x')</script>", "TypeError"),
    "a widget whose script died": (rules.complete, "<div class=hoi-widget></div>", "not alive"),
    "a broken picture": (rules.complete, "<img src=data:image/png;base64,AAAA>", "broken"),
    "an equation that stayed text": (rules.complete, "<span class=math>x^2</span>", "not set"),
    "a plot that stayed empty": (rules.complete, "<div class=plotly-graph-div></div>", "empty"),
    "three words": (rules.words, f"<img src=\"{FULL}\" alt='A red square'>", "A red square"),
    "no word": (rules.words, f'<img src="{FULL}">', "is all that is said"),
    "a picture set by a script": (
        rules.words,
        "<script>document.body.append(new Image())</script>",
        "all that is said",
    ),
    "a drawing without a name": (rules.words, "<svg role=img width=9 height=9></svg>", "all that is said"),
    "grey on white": (rules.light, "<table><tr><td style='color:#999'>pale</table>", "2.85:1"),
    "a word on a bar of its tone": (
        rules.light,
        "<svg><rect width=99 height=40 fill=#5b6b7b /><text x=9 y=25 fill=#333>bar</text></svg>",
        "text",
    ),
    "black on a dark page": (rules.dark, "<p style='color:#222'>ink</p>", "ink"),
    "a black curve on the dark page": (
        rules.dark,
        f"<img style='background:none' src=\"{CROSS}\" alt='{WORDS}'>",
        "dark ink on a dark page",
    ),
    "a black line of a drawing": (
        rules.dark,
        "<svg><path d='M0 0L90 90' stroke=#111 stroke-width=5 fill=none /></svg>",
        "a dark shape",
    ),
    "a solution that went wrong": (rules.solutions, fold(more="<p class=hoi-verdict>not yet</p>"), "solution 1"),
    "a fold for the mouse alone": (rules.folded, fold("onmousedown=toggle(this)"), "does not open"),
    "a fold that Tab passes": (rules.folded, fold("tabindex=-1 onclick=toggle(this)"), "Tab does not reach"),
    "a fold without a focus ring": (
        rules.folded,
        fold("style='outline:none' onclick=toggle(this)"),
        "not to be seen",
    ),
    "details that stay shut": (
        rules.folded,
        "<details><summary onclick='event.preventDefault()'>Answer</summary>Four.</details>",
        "does not open",
    ),
    "a slider that says nothing": (rules.keyboard, widget(RANGE.format("x", "")), "does not answer"),
    "a slider that hides its value": (
        rules.keyboard,
        widget(RANGE.format("x", f'oninput="{SAY} this.value"')),
        "does not answer",
    ),
    "a slider that Tab passes": (rules.keyboard, widget(RANGE.format("x", "tabindex=-1")), "Tab does not reach"),
    "a slider without a focus ring": (
        rules.keyboard,
        widget(RANGE.format(0, f'style="outline:none" oninput="{SAY} this.value; {TOLD}"')),
        "not to be seen",
    ),
    "a focus ring in the colour of the card": (
        rules.keyboard,
        widget(RANGE.format(0, f'style="outline:3px solid #eee" oninput="{SAY} this.value; {TOLD}"')),
        "not to be seen",
    ),
    "a choice without a consequence": (rules.keyboard, widget(RADIO.format("")), "does not answer"),
    "a button without a consequence": (rules.keyboard, widget("<button>Play</button>"), "does not answer"),
    "a button that pretends to play": (
        rules.keyboard,
        widget("<button onclick=\"this.textContent = this.textContent == '▶' ? '❚❚' : '▶'\">▶</button>"),
        "does not answer",
    ),
    "a button made of a picture": (
        rules.keyboard,
        widget(f'<span role=button onclick="{SAY} 1">go</span>'),
        "Tab does not reach",
    ),
    "a menu of one": (rules.keyboard, widget("<select><option>1×</select>"), "does not answer"),
    "a slider in the text": (rules.keyboard, RANGE.format(0, ""), "without a read-out"),
    "a wide box": (rules.phone, "<div style='width:600px'>wide</div>", "the page is"),
    "a widget wider than its card": (
        rules.phone,
        "<div class=hoi-widget style='overflow:hidden'><div style='width:600px'>wide</div></div>",
        "wider than its card",
    ),
    "a table wider than a phone": (
        rules.phone,
        "<div class=bd-article><table style='display:block;overflow:auto;max-width:300px'><td>"
        "<div style='width:600px'>wide</div></table></div>",
        "a table scrolls",
    ),
    "a button on paper": (rules.paper, "<button>Copy</button>", "a control is printed"),
    "a slider on paper": (rules.paper, f"<div class=hoi-widget>{RANGE.format(0, '')}{READOUT}</div>", "a control"),
    "a widget without key frames": (rules.paper, "<div class=hoi-widget>one</div>", "no key frame"),
    "key frames that are not shown": (
        rules.paper,
        f"<style>.hoi-print {{ display: none }}</style>{widget('')}",
        "is not printed",
    ),
    "an answer that stays folded": (
        rules.paper,
        "<details class=sd-dropdown><summary>Answer</summary>Four.</details>",
        "printed folded",
    ),
    "a reader in dark mode": (
        rules.paper,
        "<style>html:not([data-theme=light]) p, [data-theme] p { color: #e6edf3 }</style><p>pale</p>",
        "pale on paper",
    ),
    "a heavy page": (rules.weight, f"<!--{'x' * 3_000_000}-->", "its own files weigh 3.00 MB"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_seen(visit, name):
    rule, body, said = FAULTS[name]
    found = rule(visit(body))
    assert any(said in fault for fault in found), found


@pytest.mark.parametrize(
    "name, size, said", [("theme.js", 6_000_000, "the common files weigh"), ("plotly.min.js", 9, "draws nothing")]
)
def test_heavy_or_idle_common_scripts_are_seen(visit, tmp_path, name, size, said):
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / name).write_text("//" + "x" * size)
    found = rules.weight(visit(f"<script src=_static/{name}></script>"))
    assert len(found) == 1 and said in found[0]


def test_pictures_that_load_later_count_as_the_pages_own(visit, tmp_path):
    (tmp_path / "later.png").write_bytes(b"x" * 3_000_001)
    late = "<div style='height:90000px'></div><img loading=lazy src=later.png>"
    assert "later.png 3.00 MB" in rules.weight(visit(late))[0]
