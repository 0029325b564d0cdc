"""A headless Chromium, driven over WebDriver's HTTP without a client library, that can reach nothing."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.processes import kill_everything_below

from accelform.conversion.split import SplitModel, TensorInfo
from accelform.featurizers.families import FAMILIES

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NO_BROWSER = "no Chromium with chromedriver is installed"
START_SECONDS = 60
DRIVER_STARTS = 5


class Browser:
    """One session. `script` runs JavaScript in the page and returns what it returns."""

    def __init__(self, address: str, profile: Path, binary: str) -> None:
        self._address = address
        arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--proxy-server=127.0.0.1:1",
            f"--user-data-dir={profile}",
        ]
        wanted = {
            "goog:chromeOptions": {"binary": binary, "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        self._session = ""
        self._session = self._post("/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def open(self, page: Path) -> None:
        self._post("/url", {"url": page.as_uri()})

    def script(self, source: str, *arguments: object) -> Any:
        return self._post("/execute/sync", {"script": source, "args": list(arguments)})

    def screen(self, width: int, height: int = 900) -> None:
        """A device of that size, in CSS pixels."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )

    def scheme(self, name: str) -> None:
        """`light` or `dark`."""
        self.devtools("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": name}]})

    def devtools(self, command: str, parameters: dict[str, Any]) -> Any:
        return self._post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def requests(self) -> list[str]:
        """Addresses that pages from files asked for since the last call."""
        entries = self._post("/se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        asked = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        return [each["request"]["url"] for each in asked if each["documentURL"].startswith("file:")]

    def complaints(self) -> list[str]:
        """What stood in the console since the last call, the policy's refusals among it."""
        return [entry["message"] for entry in self._post("/se/log", {"type": "browser"})]

    def screenshot(self, path: Path) -> None:
        """Of the whole page."""
        answer = self.devtools("Page.captureScreenshot", {"captureBeyondViewport": True})
        path.write_bytes(base64.b64decode(answer["data"]))

    def quit(self) -> None:
        request = urllib.request.Request(f"{self._address}/session/{self._session}", method="DELETE")
        urllib.request.urlopen(request, timeout=START_SECONDS).close()

    def _post(self, path: str, content: dict[str, Any]) -> Any:
        where = f"/session/{self._session}{path}" if self._session else path
        request = urllib.request.Request(
            f"{self._address}{where}", json.dumps(content).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=START_SECONDS) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(json.load(error)["value"]["message"]) from error


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Skipped by name where no Chromium is installed."""
    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip(NO_BROWSER)
    folder = tmp_path_factory.mktemp("browser")
    process, port = started_driver(driver, folder)
    try:
        session = Browser(f"http://127.0.0.1:{port}", folder / "profile", binary)
        yield session
        session.quit()
    finally:
        end(process)
        kill_everything_below(folder)


def started_driver(driver: str, folder: Path) -> tuple[subprocess.Popen[str], int]:
    """A running driver and its port; it takes a free one of IPv6, and gives up where IPv4 has that in use."""
    log = folder / "driver.log"
    for _ in range(DRIVER_STARTS):
        process = subprocess.Popen(
            [driver, "--port=0", f"--log-path={log}"], stdout=subprocess.PIPE, text=True, cwd=folder
        )
        assert process.stdout is not None
        for line in process.stdout:
            if "started successfully" in line:
                return process, int(re.findall(r"on port (\d+)", line)[0])
        end(process)
    raise AssertionError(f"chromedriver does not start: {log.read_text()}")


def end(process: subprocess.Popen[str]) -> None:
    with process:
        process.terminate()
        process.wait(timeout=START_SECONDS)


@pytest.fixture(scope="session")
def resnet50() -> SplitModel:
    """The family's plan with a classifier's names, without weights."""
    family = FAMILIES["resnet50"]
    return SplitModel(
        network=family.network(),
        parameters={},
        family="resnet50",
        image_tensor=family.image_tensor,
        inputs=(TensorInfo(name="Placeholder:0", alias="images", dtype="DT_STRING", shape=(-1,)),),
        outputs=(TensorInfo(name="Softmax:0", alias="output_alias", dtype="DT_FLOAT", shape=(-1, 1000)),),
        preprocess=family.preprocess,
    )
