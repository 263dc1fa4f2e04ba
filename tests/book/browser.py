"""One page of a headless chromium, driven by Playwright, with the network off and a log of all that went wrong.

Playwright brings the keyboard, the media and the pictures; here is only which browser is taken, that nothing leaves
the machine, and what the page asked for and complained of since it was opened.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

FLAGS = [
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--allow-file-access-from-files",  # the pages of a book on disk are one site, as they are on a server
    "--disable-quic",
]
LOCAL = re.compile(r"(file|data|blob|about):|(https?|wss?)://(localhost|127\.0\.0\.1)[:/]")
ABSENT = "no chromium on this machine: the browser tests did not run"


def find_chromium() -> str | None:
    """The path of a chromium or chrome, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


class Browser:
    """A browser with one page; use it as a context manager. Without a chromium the tests that want one are skipped.

    ``page`` is Playwright's page. ``requests`` are the addresses asked for since :meth:`open`, ``outside`` those on
    other hosts (none is let through), ``failed`` those that did not arrive, ``errors`` what the page complained of.
    """

    def __init__(self, size: tuple[int, int] = (1280, 900)):
        self.size = {"width": size[0], "height": size[1]}
        self.requests: list[str] = []
        self.failed: list[str] = []
        self.errors: list[str] = []

    def __enter__(self) -> Browser:
        if find_chromium() is None:
            pytest.skip(ABSENT)
        from playwright.sync_api import sync_playwright

        self._playwright = sync_playwright().start()
        self._chromium = self._playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        context = self._chromium.new_context(viewport=self.size, service_workers="block", reduced_motion="reduce")
        context.route(lambda address: not LOCAL.match(address), lambda route: route.abort())
        # a socket that is not connected on by hand stays where it is
        context.route_web_socket(lambda address: not LOCAL.match(address), lambda socket: self._ask(socket.url))
        context.add_init_script("localStorage.clear()")  # every page is the first that this reader opens
        context.add_init_script(path=Path(__file__).with_name("probe.js"))
        self.page = context.new_page()
        self.page.on("request", lambda request: self._ask(request.url))
        self.page.on("requestfailed", lambda request: self.failed.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._hear)
        return self

    def __exit__(self, *_) -> None:
        self._chromium.close()
        self._playwright.stop()

    def _ask(self, address: str) -> None:
        if not address.startswith(("data:", "blob:")):
            self.requests.append(address)

    def _hear(self, message) -> None:
        if message.type == "error" or (message.type == "warning" and "Error" in message.text):
            self.errors.append(message.text)

    @property
    def outside(self) -> list[str]:
        """Addresses on other hosts that the page asked for."""
        return [address for address in self.requests if not LOCAL.match(address)]

    def open(self, address: str | Path) -> None:
        """Load a page (a path or a URL) and wait until its scripts, equations and widgets are there."""
        self.page.goto("about:blank")
        self.page.set_viewport_size(self.size)
        self.page.emulate_media(media="screen", color_scheme="light")
        self.requests, self.failed, self.errors = [], [], []
        self.page.goto(address if isinstance(address, str) else address.resolve().as_uri(), wait_until="load")
        self.page.evaluate("() => window.MathJax?.startup?.promise")
        self.page.evaluate("() => Promise.all([window.hoiViewerReady, document.fonts.ready])")
