"""What is asked of every page of the book in a browser. Each rule takes an open browser and returns faults in words.

What is measured inside the page stands in ``probe.js``. A rule leaves the page as it found it, so that one page load
serves them all.
"""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
OWN_LIMIT = 3_000_000
COMMON_LIMIT = 5_000_000
PATIENCE = 4.0  # seconds until a widget has to have answered


def network(browser) -> list[str]:
    """Nothing is asked of another host, and all that is asked for arrives."""
    outside = [f"asks another host: {address}" for address in browser.outside]
    return outside + [f"did not arrive: {address}" for address in browser.failed if address not in browser.outside]


def console(browser) -> list[str]:
    """No exception, nothing logged as an error."""
    return [f"logged: {said}" for said in browser.errors]


def complete(browser) -> list[str]:
    """Equations are set, plots are drawn, widgets are alive, pictures have arrived."""
    empty = {
        "equations are not set": ".math:not(:has(mjx-container))",
        "equations have an error": "mjx-merror",
        "plots are empty": ".plotly-graph-div:not(:has(.main-svg))",
        "widgets are not alive": ".hoi-widget:not(.is-live), .hoi-viewer:not([data-mounted])",
    }
    found = {what: browser.page.locator(selector).count() for what, selector in empty.items()}
    lost = "[...document.images].filter((i) => i.complete && !i.naturalWidth && i.src).length"
    found["pictures are broken"] = browser.page.evaluate(lost)
    return [f"{count} {what}" for what, count in found.items() if count]


def weigh(browser) -> tuple[dict[str, int], dict[str, int]]:
    """Bytes on disk of every file that the page needs: (its own, those that it has in common with other pages).

    Its own are the HTML, with the pictures and states that are written into it, and whatever else it asks for or will
    ask for when scrolled. In common are the files of the theme, MathJax, the viewer and plotly.js, all in ``_static``,
    and the index of the search: a reader loads them once.
    """
    addresses = {*browser.requests, *browser.page.evaluate("hoiProbe.addresses()")}
    files = {Path(unquote(urlsplit(a).path)) for a in addresses if a.startswith("file:")}
    sizes = {path.as_posix(): path.stat().st_size for path in files if path.is_file()}
    common = {p: size for p, size in sizes.items() if "/_static/" in p or p.endswith("/searchindex.js")}
    return {p: size for p, size in sizes.items() if p not in common}, common


def weight(browser) -> list[str]:
    """Its own files are under 3 MB, the common ones under 5, and plotly.js is there only where it draws."""
    own, common = weigh(browser)
    plotly = [path for path in common if path.endswith("plotly.min.js")]
    drawn = browser.page.evaluate("document.querySelectorAll('.plotly-graph-div').length")
    faults = ["loads plotly.js and draws nothing with it"] if plotly and not drawn else []
    for kind, sizes, limit in (("its own", own, OWN_LIMIT), ("the common", common, COMMON_LIMIT)):
        total = sum(size for path, size in sizes.items() if path not in plotly)
        if total > limit:
            heaviest = sorted(sizes.items(), key=lambda item: -item[1])[:3]
            most = ", ".join(f"{Path(path).name} {size / 1e6:.2f} MB" for path, size in heaviest)
            faults.append(f"{kind} files weigh {total / 1e6:.2f} MB, more than {limit / 1e6:.0f}: {most}")
    return faults


def words(browser) -> list[str]:
    """Every picture in the document has alt text of five words or more, whoever put it there."""
    return browser.page.evaluate("hoiProbe.wordless()")


def keyboard(browser) -> list[str]:
    """Tab reaches every control of every widget, the focus is seen, and the control's keys change what is read out."""
    page = browser.page
    faults = [f"a control without a read-out: {stray}" for stray in page.evaluate("hoiProbe.strays()")]
    for index in range(page.evaluate("hoiProbe.widgets().length")):
        faults += [f"widget {index + 1}: {fault}" for fault in _Widget(page, index).faults()]
    return faults


class _Widget:
    """One widget under the keyboard: Tab through it and try each control on the way."""

    def __init__(self, page, index: int):
        self.page = page
        self.root = page.evaluate_handle(f"hoiProbe.widgets()[{index}]").as_element()

    def faults(self) -> list[str]:
        """Walk through with Tab; a radio group is one stop."""
        self.root.scroll_into_view_if_needed()
        if self.root.evaluate("(root) => root.matches('.hoi-viewer')"):
            self.page.wait_for_function("(root) => root.matches('.is-live, .is-still')", arg=self.root)
        self.root.evaluate("(root) => hoiProbe.begin(root)")
        faults, stops = [], 0
        self.page.keyboard.press("Tab")
        while (control := self.root.evaluate("(root) => hoiProbe.focused(root)")) and not control["again"]:
            stops += 1
            if not control["shown"]:
                faults.append(f"the focus is not to be seen on {control['name']}")
            if not getattr(self, f"_try_{control['kind']}", self._try_picture)(control):
                faults.append(f"does not answer the keyboard: {control['name']}")
            self.page.keyboard.press("Tab")
        faults += [f"Tab does not reach {name}" for name in self.page.evaluate("hoiProbe.missed()")]
        return faults if stops else [*faults, "Tab finds no control at all"]

    def _says(self) -> str:
        return self.root.evaluate("(root) => hoiProbe.says(root)")

    def _press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def _changes(self, look, before) -> bool:
        """Whether ``look()`` gives something else than ``before`` soon."""
        deadline = time.monotonic() + PATIENCE
        while look() == before:
            if time.monotonic() > deadline:
                return False
            self.page.wait_for_timeout(40)
        return True

    def _try_range(self, control: dict) -> bool:
        """The sentence at both ends differs, and the slider tells its value at every step."""
        told, values = [], []
        for key in ("Home", "End", "ArrowLeft"):
            self._press(key)
            told.append(self._says())
            values.append(self.page.evaluate("document.activeElement.getAttribute('aria-valuetext')"))
        return told[0] != told[1] and values[0] != values[1] != values[2]

    def _try_radio(self, control: dict) -> bool:
        """Every option, one after the other, says something else than the one before."""
        told = [self._says()]
        for _ in range(control["options"]):
            self._press("ArrowRight")
            told.append(self._says())
        return control["options"] > 1 and all(one != two for one, two in zip(told, told[1:], strict=False))

    def _try_checkbox(self, control: dict) -> bool:
        before = self._says()
        self._press("Space")
        return self._says() != before

    def _try_select(self, control: dict) -> bool:
        """The value that it shows changes, and comes back."""
        shown = [self.page.evaluate("document.activeElement.value")]
        for key in ("End", "Home"):
            self._press(key)
            shown.append(self.page.evaluate("document.activeElement.value"))
        return shown[0] != shown[1] or shown[1] != shown[2]

    def _try_summary(self, control: dict) -> bool:
        opened = "document.activeElement.parentElement.open"
        before = self.page.evaluate(opened)
        self._press("Enter")
        changed = self.page.evaluate(opened) != before
        self._press("Enter")
        return changed and self.page.evaluate(opened) == before

    def _try_button(self, control: dict) -> bool:
        """A play button sets the read-out going and stops it; any other changes it or the picture."""
        label = "document.activeElement.getAttribute('aria-label') + document.activeElement.textContent"
        before, said, named = self.root.screenshot(), self._says(), self.page.evaluate(label)
        self._press("Enter")
        if self.page.evaluate(label) == named:
            return self._says() != said or self._changes(self.root.screenshot, before)
        moved = self._changes(self._says, said)
        if self.page.evaluate(label) != named:  # it may have come to its end by itself
            self._press("Enter")
        return moved and self.page.evaluate(label) == named

    def _try_picture(self, control: dict) -> bool:
        """What takes the focus and is no form control turns with its keys."""
        before = self.root.screenshot()
        self._press("d")
        return self._changes(self.root.screenshot, before)


def folded(browser) -> list[str]:
    """Solutions, answers and hints are reached by Tab, show the focus, and open and close with Enter.

    Every solution is tried; of what folds in any other way, the first two of a kind on the page.
    """
    page, faults = browser.page, []
    for index in range(page.evaluate("hoiProbe.folds().length")):
        handle = page.evaluate_handle(f"hoiProbe.folds()[{index}]").as_element()
        if handle is None:
            break
        handle.evaluate("(e) => hoiProbe.standBefore(e)")
        page.keyboard.press("Tab")
        before = handle.evaluate("(e) => hoiProbe.here(e)")
        name = handle.evaluate("(e) => `${e.className} ${e.parentElement.textContent.trim().slice(0, 50)}`")
        if not before["there"]:
            faults.append(f"Tab does not reach what folds: {name}")
            continue
        page.keyboard.press("Enter")
        after = handle.evaluate("(e) => hoiProbe.here(e)")
        page.keyboard.press("Enter")
        if not before["shown"]:
            faults.append(f"the focus is not to be seen on {name}")
        if before["open"] == after["open"]:
            faults.append(f"does not open with Enter: {name}")
    return faults


def solutions(browser) -> list[str]:
    """Every solution was run when the book was built, and was found right."""
    boxes = browser.page.locator("div.solution").all()
    verdicts = [" ".join(box.locator(".hoi-verdict").all_text_contents()) for box in boxes]
    return [f"solution {i} has no verdict that it is right" for i, v in enumerate(verdicts, 1) if "✓ right" not in v]


def phone(browser) -> list[str]:
    """Neither the page nor a table on it scrolls sideways at 390 pixels."""
    browser.page.set_viewport_size(PHONE)
    _settle(browser)
    faults = browser.page.evaluate(f"hoiProbe.tooWide({PHONE['width']})")
    browser.page.set_viewport_size(DESK)
    return faults


def light(browser) -> list[str]:
    """Text stands out from what is behind it, 4.5 to 1."""
    return browser.page.evaluate("hoiProbe.contrast(4.5)")


def dark(browser) -> list[str]:
    """The same in dark mode, and no dark ink on the dark page."""
    _system(browser, "dark")
    faults = browser.page.evaluate("[...hoiProbe.contrast(4.5), ...hoiProbe.blackOnDark()]")
    _system(browser, "light")
    return faults


def paper(browser) -> list[str]:
    """Printed, also by a reader in dark mode: key frames, no control, solutions unfolded, dark text."""
    page, faults = browser.page, []
    for scheme in ("light", "dark"):
        _system(browser, scheme)
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print", color_scheme=scheme)
        _settle(browser)
        faults += page.evaluate("[...hoiProbe.printed(), ...hoiProbe.pale()]")
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        page.emulate_media(media="screen", color_scheme=scheme)
    _system(browser, "light")
    return sorted(set(faults))


def _system(browser, scheme: str) -> None:
    """Give the reader's system a dark or light scheme, and wait until a page that names its theme has followed."""
    browser.page.emulate_media(color_scheme=scheme)
    browser.page.wait_for_function(f"[undefined, '{scheme}'].includes(document.documentElement.dataset.theme)")
    _settle(browser)


def _settle(browser) -> None:
    """Let the page lay itself out anew and end its transitions."""
    browser.page.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => setTimeout(() => {"
        "document.getAnimations().forEach((a) => { try { a.finish() } catch { a.cancel() } }); done() }, 30)))"
    )


# the last three speak of all that happened on the page, hence after the others
RULES = (complete, words, light, solutions, folded, keyboard, phone, dark, paper, weight, network, console)
