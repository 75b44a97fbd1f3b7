"""Headless Chromium on the status page: Debian's chromium, its driver and
selenium, without the network but for the node's own port."""

import json
import pathlib
import shutil
import tempfile

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from hermes_cli import BUILD

SHOTS = pathlib.Path(BUILD) / "regress/page"
WIDE, PHONE = (1280, 900), (390, 844)


class Browser:
    """One window. dark: the colours that the reader's system asks for."""

    def __init__(self, dark=False, size=WIDE, scripts=True):
        self.profile = tempfile.mkdtemp(prefix="hermes-browser-")
        options = Options()
        for word in ("--headless=new", "--no-sandbox", "--disable-gpu",
                     "--disable-dev-shm-usage", "--no-first-run",
                     "--disable-background-networking", "--no-proxy-server",
                     "--disable-component-update", "--hide-scrollbars",
                     f"--user-data-dir={self.profile}",
                     f"--window-size={size[0]},{size[1]}"):
            options.add_argument(word)
        if not scripts:
            options.add_experimental_option(
                "prefs", {"profile.managed_default_content_settings."
                          "javascript": 2})
        options.set_capability("goog:loggingPrefs", {
            "browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(
            service=Service("/usr/bin/chromedriver"), options=options)
        self.driver.set_page_load_timeout(120)
        self.driver.set_script_timeout(60)
        self.command("Emulation.setDeviceMetricsOverride", width=size[0],
                     height=size[1], deviceScaleFactor=1,
                     mobile=size is PHONE)
        self.command("Emulation.setEmulatedMedia", features=[{
            "name": "prefers-color-scheme",
            "value": "dark" if dark else "light"}])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.driver.quit()
        shutil.rmtree(self.profile, ignore_errors=True)

    def command(self, name, **arguments):
        return self.driver.execute_cdp_cmd(name, arguments)

    def open(self, url):
        self.driver.get(url)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def text(self, selector):
        """Of the first element, as it is; None without one."""
        return self.run("const e = document.querySelector(arguments[0]);"
                        "return e && e.textContent", selector)

    def texts(self, selector):
        return self.run("return [...document.querySelectorAll(arguments[0])]"
                        ".map((e) => e.textContent)", selector)

    def complaints(self):
        """What the console was told: errors, policy violations."""
        return [entry["message"] for entry in
                self.driver.get_log("browser")
                if entry["level"] in ("WARNING", "SEVERE")]

    def requests(self):
        """The addresses of all that was asked for since the last call."""
        found = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.append(message["params"]["request"]["url"])
        return found

    def shoot(self, name):
        """The whole page as it looks now, for people: BUILD/regress/page."""
        import base64
        SHOTS.mkdir(parents=True, exist_ok=True)
        size = self.command("Page.getLayoutMetrics")["cssContentSize"]
        shot = self.command(
            "Page.captureScreenshot", captureBeyondViewport=True, clip={
                "x": 0, "y": 0, "width": size["width"],
                "height": size["height"], "scale": 1})
        path = SHOTS / f"{name}.png"
        path.write_bytes(base64.b64decode(shot["data"]))
        return path
