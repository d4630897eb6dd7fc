"""Firefox without a driver: the few commands of W3C WebDriver BiDi that the tests need,
over its own WebSocket.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

MISSING = (
    "there is no Firefox; get it with `apt-get install firefox-esr` (Debian), "
    "`apt-get install firefox` (Ubuntu) or `brew install --cask firefox` (macOS), "
    "then run `make test` again"
)
KEYS = {
    "ArrowRight": "\ue014",
    "ArrowLeft": "\ue012",
    "Home": "\ue011",
    "Enter": "\ue007",
    "Tab": "\ue004",
}
SECONDS = 90
# What Firefox would ask the network of its own accord, and questions that would
# stop a headless run.
PREFERENCES = {
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.download.folderList": 2,
    "browser.download.useDownloadDir": True,
    "browser.safebrowsing.downloads.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.getAddons.cache.enabled": False,
    "extensions.systemAddon.update.enabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}


def executable() -> str | None:
    macos = "/Applications/Firefox.app/Contents/MacOS/firefox"
    return next(
        filter(None, map(shutil.which, ("firefox-esr", "firefox", macos))), None
    )


class Firefox:
    """One headless Firefox with one tab. It notes every request and every
    script error of the tab.
    """

    def __init__(self) -> None:
        import websocket

        self.folder = Path(tempfile.mkdtemp(prefix="firefox-"))
        self.downloads = self.folder / "downloads"
        profile = self.folder / "profile"
        for made in (self.downloads, profile):
            made.mkdir()
        wanted = {**PREFERENCES, "browser.download.dir": str(self.downloads)}
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
            for name, value in wanted.items()
        ]
        (profile / "user.js").write_text("".join(lines))
        command = [executable(), "--headless", "--no-remote", "--profile", str(profile)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        environment = {
            **os.environ,
            "HOME": str(self.folder),
            "MOZ_CRASHREPORTER_DISABLE": "1",
        }
        self.process = subprocess.Popen(
            [*command, "--remote-debugging-port", "0"],
            env=environment,
            start_new_session=True,
            **quiet,
        )
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._ids = itertools.count(1)
        try:
            place = self._await_file(profile / "WebDriverBiDiServer.json")
            address = f"ws://{place['ws_host']}:{place['ws_port']}/session"
            # Firefox refuses a connection that names an origin, as a page
            # in a browser would.
            self.socket = websocket.create_connection(
                address, timeout=SECONDS, suppress_origin=True
            )
            self.call("session.new", capabilities={})
            self.call(
                "session.subscribe",
                events=["network.beforeRequestSent", "log.entryAdded"],
            )
            self.tab = self.call("browsingContext.getTree")["contexts"][0]["context"]
        except BaseException:
            self.close()
            raise

    def _await_file(self, path: Path) -> dict:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                return json.loads(path.read_text())
            except (OSError, ValueError):  # not there yet, or half written
                time.sleep(0.05)
        raise RuntimeError(
            f"Firefox did not start (its exit code: {self.process.poll()})"
        )

    def call(self, method: str, **params):
        """Send one command and return its result; events that come in
        between are noted.
        """
        number = next(self._ids)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == number:
                if message["type"] == "error":
                    raise RuntimeError(
                        f"{method}: {message['error']}: {message['message']}"
                    )
                return message["result"]
            self._note(message)

    def _note(self, event: dict) -> None:
        facts = event.get("params", {})
        if event.get("method") == "network.beforeRequestSent" and facts.get("context"):
            self.requests.append(facts["request"]["url"])
        if event.get("method") == "log.entryAdded" and facts["level"] == "error":
            self.errors.append(facts["text"] or "")

    def open(self, url: str, width: int = 1280, height: int = 900) -> None:
        self.call(
            "browsingContext.setViewport",
            context=self.tab,
            viewport={"width": width, "height": height},
        )
        self.call(
            "browsingContext.navigate", context=self.tab, url=url, wait="complete"
        )

    def run(self, expression: str):
        """The value of a JavaScript expression in the page; a promise is waited for."""
        where = {"context": self.tab}
        answer = self.call(
            "script.evaluate", expression=expression, target=where, awaitPromise=True
        )
        if answer["type"] == "exception":
            raise RuntimeError(answer["exceptionDetails"]["text"])
        return _plain(answer["result"])

    def wait(self, expression: str, seconds: float = SECONDS):
        """Wait until an expression is true in the page, and return its value."""
        end = time.monotonic() + seconds
        while not (value := self.run(expression)):
            if time.monotonic() > end:
                raise TimeoutError(f"not true in {seconds} s: {expression}")
            time.sleep(0.1)
        return value

    def element(self, selector: str) -> dict:
        """A reference to the first element of a CSS selector."""
        locator = {"type": "css", "value": selector}
        found = self.call(
            "browsingContext.locateNodes",
            context=self.tab,
            locator=locator,
            maxNodeCount=1,
        )
        if not found["nodes"]:
            raise LookupError(f"the page has no {selector}")
        return {"sharedId": found["nodes"][0]["sharedId"]}

    def choose_file(self, selector: str, *paths: Path) -> None:
        files = [str(path) for path in paths]
        self.call(
            "input.setFiles",
            context=self.tab,
            element=self.element(selector),
            files=files,
        )

    def click(self, selector: str) -> None:
        self.run(
            f"document.querySelector({json.dumps(selector)})"
            ".scrollIntoView({block: 'center'})"
        )
        origin = {"type": "element", "element": self.element(selector)}
        steps = [{"type": "pointerMove", "x": 0, "y": 0, "origin": origin}]
        steps += [
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        self._act({"type": "pointer", "id": "mouse", "actions": steps})

    def press(self, key: str) -> None:
        value = KEYS.get(key, key)
        steps = [{"type": "keyDown", "value": value}, {"type": "keyUp", "value": value}]
        self._act({"type": "key", "id": "keyboard", "actions": steps})

    def _act(self, actions: dict) -> None:
        self.call("input.performActions", context=self.tab, actions=[actions])

    def screenshot(self) -> bytes:
        import base64

        return base64.b64decode(
            self.call("browsingContext.captureScreenshot", context=self.tab)["data"]
        )

    def download(self, seconds: float = 30) -> Path:
        """The file that was saved, once it is whole."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            files = sorted(self.downloads.iterdir())
            if (
                files
                and not any(path.suffix == ".part" for path in files)
                and files[0].stat().st_size
            ):
                return files[0]
            time.sleep(0.1)
        raise TimeoutError(f"nothing was saved in {seconds} s")

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _plain(value: dict):
    """A value of the protocol as a value of Python."""
    kind, inside = value["type"], value.get("value")
    if kind in ("array", "nodelist", "htmlcollection"):
        return [_plain(item) for item in inside]
    if kind == "object":
        return {key: _plain(item) for key, item in inside}
    return inside
