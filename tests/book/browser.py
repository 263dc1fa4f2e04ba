"""A headless chromium driven over its debugging protocol, with the network off.

Only what the tests need: open a page, run JavaScript in it, press keys, take a picture, and say which requests left the
machine, which failed, and which errors were logged.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--remote-debugging-port=0",
    "--hide-scrollbars",
    "--allow-file-access-from-files",
]
KEYS = {"ArrowRight": 39, "ArrowLeft": 37, "Tab": 9, "End": 35, "Home": 36, " ": 32}


def find_chromium() -> str | None:
    """The path of a chromium or chrome, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


class Browser:
    """One browser with one page; use it as a context manager."""

    def __init__(self, size: tuple[int, int] = (1280, 900)):
        self.size = size
        self.requests: list[str] = []
        self.failed: list[str] = []
        self.errors: list[str] = []
        self._names: dict[str, str] = {}
        self._count = 0

    def __enter__(self) -> Browser:
        self._profile = tempfile.mkdtemp(prefix="hoi-browser-")
        window = f"--window-size={self.size[0]},{self.size[1]}"
        command = [find_chromium(), *FLAGS, window, f"--user-data-dir={self._profile}", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._connect())
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.resize(*self.size)
        return self

    def __exit__(self, *_) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)
        self._loop.close()
        shutil.rmtree(self._profile, ignore_errors=True)

    async def _connect(self) -> None:
        from tornado.httpclient import AsyncHTTPClient
        from tornado.websocket import websocket_connect

        port_file = Path(self._profile) / "DevToolsActivePort"
        for _ in range(300):
            if port_file.exists() and port_file.read_text().strip():
                break
            await asyncio.sleep(0.1)
        port = port_file.read_text().split()[0]
        pages = json.loads((await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/json/list")).body)
        address = next(p["webSocketDebuggerUrl"] for p in pages if p["type"] == "page")
        self._socket = await websocket_connect(address, max_message_size=1 << 28)

    def call(self, method: str, **params) -> dict:
        """Send one command of the protocol and return its result."""
        return self._loop.run_until_complete(self._call(method, params))

    async def _call(self, method: str, params: dict) -> dict:
        self._count += 1
        number = self._count
        await self._socket.write_message(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(await asyncio.wait_for(self._socket.read_message(), 60))
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return message["result"]
            self._note(message)

    def _note(self, message: dict) -> None:
        what, params = message.get("method"), message.get("params", {})
        if what == "Network.requestWillBeSent":
            url = params["request"]["url"]
            self._names[params["requestId"]] = url
            if not url.startswith(("data:", "blob:")):
                self.requests.append(url)
        elif what == "Network.loadingFailed" and not params.get("canceled"):
            self.failed.append(self._names.get(params["requestId"], "?"))
        elif what == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])

    def open(self, address: str | Path, wait: float = 0.8) -> None:
        """Load a page (a path or a URL) and wait until it is complete and ``wait`` seconds more."""
        self.requests, self.failed, self.errors = [], [], []
        url = address if isinstance(address, str) else address.resolve().as_uri()
        self.call("Page.navigate", url=url)
        deadline = time.monotonic() + 60
        while self.run("document.readyState") != "complete" and time.monotonic() < deadline:
            self.pause(0.05)
        self.pause(wait)

    def pause(self, seconds: float) -> None:
        """Let the page work for a while."""
        time.sleep(seconds)
        self.run("1")

    def run(self, script: str):
        """The value of a JavaScript expression; an exception in it becomes ``RuntimeError``."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", {}).get("description", "JavaScript failed"))
        return answer["result"].get("value")

    def press(self, key: str, times: int = 1) -> None:
        """Press a key on whatever has the focus."""
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                code = KEYS[key]
                self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def resize(self, width: int, height: int) -> None:
        """Give the page another size in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def media(self, kind: str = "", dark: bool | None = None) -> None:
        """Emulate print, or a dark or light system."""
        features = [] if dark is None else [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", media=kind, features=features)

    def picture(self, file: str | Path, whole: bool = True) -> None:
        """Save a PNG of the page, all of it or what fits the window."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        Path(file).write_bytes(base64.b64decode(data))

    @property
    def outside(self) -> list[str]:
        """Requests that were not to the machine itself."""
        local = ("file:", "http://127.0.0.1", "http://localhost", "about:", "chrome")
        return [url for url in self.requests if not url.startswith(local)]
