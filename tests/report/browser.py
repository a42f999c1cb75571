"""A headless Chromium of the distribution's packages with nothing of its own that goes out, and what it did and showed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

DRIVER = "chromedriver"
BROWSER = "chromium"
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
         "--host-resolver-rules=MAP * ~NOTFOUND")


@contextmanager
def chromium(profile: Path, zone: str = "Europe/Berlin") -> Iterator[Browser]:
    """One browser with an empty profile; it and its driver end with the block."""
    pytest.importorskip("selenium", reason="needs selenium: pip install .[test]")
    driver, browser = shutil.which(DRIVER), shutil.which(BROWSER)
    if driver is None or browser is None:
        pytest.skip("needs the packages chromium and chromium-driver")
    from selenium import webdriver  # noqa: PLC0415

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=driver, env={**os.environ, "TZ": zone, "LC_ALL": "C.UTF-8"})
    chrome = webdriver.Chrome(options=options, service=service)
    try:
        chrome.set_page_load_timeout(30)
        chrome.set_script_timeout(10)
        yield Browser(chrome)
    finally:
        chrome.quit()


class Browser:
    """One page at a time."""

    def __init__(self, chrome: Any) -> None:
        self.chrome = chrome
        self.width = 0

    def open(self, page: Path, width: int = 1280, height: int = 900, dots: int = 1) -> None:
        self.width = width
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=dots, mobile=width < 600)
        self.cdp("Emulation.setTouchEmulationEnabled", enabled=width < 600)
        self.chrome.get("about:blank")
        self.console(), self.requests()  # forgotten
        self.chrome.get(page.as_uri())
        self.settle()

    def cdp(self, method: str, **parameters: object) -> Any:
        return self.chrome.execute_cdp_cmd(method, parameters)

    def js(self, script: str, *arguments: object) -> Any:
        return self.chrome.execute_script(script, *arguments)

    def settle(self) -> None:
        """Until two frames have been drawn."""
        self.chrome.execute_async_script("const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done));")

    def console(self) -> list[str]:
        """What the page has written or been told since the last call: errors, refusals of its policy.

        Not Chromium's advice on how :meth:`pixel` could read faster.
        """
        return [entry["message"] for entry in self.chrome.get_log("browser") if "willReadFrequently" not in entry["message"]]

    def requests(self) -> list[str]:
        """The addresses asked for since the last call."""
        messages = (json.loads(entry["message"])["message"] for entry in self.chrome.get_log("performance"))
        return [message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"]

    def mouse(self, kind: str, x: float, y: float, button: str = "none", clicks: int = 0) -> None:
        self.cdp("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=clicks, buttons=int(button == "left"))

    def move(self, x: float, y: float) -> None:
        self.mouse("mouseMoved", x, y)
        self.settle()

    def drag(self, x: float, to: float, y: float) -> None:
        self.mouse("mouseMoved", x, y)
        self.mouse("mousePressed", x, y, "left", 1)
        for part in (0.3, 0.7, 1.0):
            self.mouse("mouseMoved", x + (to - x) * part, y, "left")
        self.mouse("mouseReleased", to, y, "left", 1)
        self.settle()

    def click(self, x: float, y: float, times: int = 1) -> None:
        for count in range(1, times + 1):
            self.mouse("mousePressed", x, y, "left", count)
            self.mouse("mouseReleased", x, y, "left", count)
        self.settle()

    def touch(self, kind: str, *points: tuple[float, float]) -> None:
        self.cdp("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y, "id": place} for place, (x, y) in enumerate(points)])
        self.settle()

    def key(self, name: str, text: str = "") -> None:
        more = {"text": text} if text else {}
        self.cdp("Input.dispatchKeyEvent", type="keyDown", key=name, **more)
        self.cdp("Input.dispatchKeyEvent", type="keyUp", key=name)
        self.settle()

    def text(self, selector: str) -> str:
        return str(self.js("return document.querySelector(arguments[0]).innerText", selector))

    def plot(self, chart: int = 0) -> dict[str, float]:
        """Where a chart's plot lies on the screen; scrolled to."""
        self.js("document.querySelectorAll('.u-over')[arguments[0]].scrollIntoView({block: 'center', behavior: 'instant'})", chart)
        self.settle()
        return dict(self.js("return document.querySelectorAll('.u-over')[arguments[0]].getBoundingClientRect().toJSON()", chart))

    def pixel(self, across: float, up: float, chart: int = 0) -> str:
        """The colour of the plot at shares of its width and height, from its lower left corner."""
        return str(self.js(
            """const chart = document.querySelectorAll('.uplot')[arguments[0]];
            const canvas = chart.querySelector('canvas');
            const over = chart.querySelector('.u-over').getBoundingClientRect();
            const whole = canvas.getBoundingClientRect();
            const dots = canvas.width / whole.width;
            const x = (over.left - whole.left + over.width * arguments[1]) * dots;
            const y = (over.top - whole.top + over.height * (1 - arguments[2])) * dots;
            const data = canvas.getContext('2d').getImageData(Math.round(x), Math.round(y), 1, 1).data;
            const onWhite = [...data.slice(0, 3)].map((part) => Math.round((part * data[3]) / 255 + 255 - data[3]));
            return '#' + onWhite.map((part) => part.toString(16).padStart(2, '0')).join('');""", chart, across, up))

    def overflow(self) -> int:
        """How many pixels the page is wider than the screen, which a phone's browser would shrink to hide it."""
        return int(self.js("return Math.max(document.documentElement.scrollWidth, innerWidth)")) - self.width

    def keep(self, file: Path, whole: bool = True) -> None:
        """A screenshot, of all the page."""
        import base64  # noqa: PLC0415

        shot = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(shot["data"]))
