"""A headless Chromium, driven by the DevTools protocol."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import websocket

from tests.patience import PATIENCE
from tests.programs import Program

__all__ = ["Page", "open_page"]

# Resolves once an expression is true, looking again after each change of the page.
_UNTIL = """
new Promise((resolve, reject) => {{
  const look = () => {{
    const found = {expression};
    if (found) {{ observer.disconnect(); clearTimeout(timer); resolve(found); }}
  }};
  const observer = new MutationObserver(look);
  const timer = setTimeout(
    () => reject(new Error("not within {seconds} s: " + document.body.innerText)),
    1000 * {seconds});
  observer.observe(document, {{subtree: true, childList: true, characterData: true}});
  look();
}})
"""


class Page:
    """
    One page of a browser.

    Args:
        connection: To the DevTools of the page.
    """

    def __init__(self, connection: websocket.WebSocket) -> None:
        self._connection = connection
        self._numbers = count(1)

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol, and return its result."""
        number = next(self._numbers)
        self._connection.send(
            json.dumps({"id": number, "method": method, "params": parameters})
        )
        while True:
            answer = json.loads(self._connection.recv())
            if answer.get("id") == number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page; waits for a promise."""
        result = self.command(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait_until(self, expression: str, timeout: float = PATIENCE) -> Any:
        """Wait until an expression is true in the page; return its value."""
        return self.evaluate(_UNTIL.format(expression=expression, seconds=timeout))

    def screenshot(self, path: Path) -> None:
        """Write what the page looks like, as PNG."""
        data = self.command("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def open_page(
    url: str, profile: Path, *, width: int = 840, height: int = 560
) -> Iterator[Page]:
    """
    Open a page in a browser of its own; skip the test where there is none.

    Args:
        url: The page.
        profile: A directory for what the browser keeps.
        width: Of the window, in pixels.
        height: Of the window, in pixels.
    """
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with subprocess.Popen(
        [
            program,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--remote-debugging-port=0",
            f"--user-data-dir={profile}",
            "about:blank",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        browser = Program(process)
        try:
            pattern = r"DevTools listening on ws://([\d.]+:\d+)/"
            browser.wait_for(pattern)
            found = re.search(pattern, browser.log)
            assert found is not None
            connection = websocket.create_connection(
                _page_of(found[1]), timeout=2 * PATIENCE, suppress_origin=True
            )
            try:
                page = Page(connection)
                page.command("Page.enable")
                page.command(
                    "Emulation.setDeviceMetricsOverride",
                    width=width,
                    height=height,
                    deviceScaleFactor=1,
                    mobile=False,
                )
                page.command("Page.navigate", url=url)
                page.wait_until("location.href != 'about:blank' && document.body")
                yield page
                page.command("Browser.close")
            finally:
                connection.close()
        finally:
            browser.end()


def _page_of(address: str) -> str:
    """Return where the DevTools of the one page are."""
    with urllib.request.urlopen(f"http://{address}/json", timeout=PATIENCE) as answer:
        targets = json.load(answer)
    pages = [target for target in targets if target["type"] == "page"]
    url: str = pages[0]["webSocketDebuggerUrl"]
    return url
