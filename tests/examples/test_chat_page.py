"""The chat's page in a real browser: two people meet, and the receiver hears of all of it.

``apt install chromium chromium-driver`` sets it up. Without them these tests are skipped on a
developer's machine, and fail where the environment variable ``CI`` is set.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias

import pytest
from support.examples import Chat, Receiver

if find_spec("selenium"):
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService
    from selenium.webdriver.common.by import By
    from selenium.webdriver.remote.webelement import WebElement
    from selenium.webdriver.support.ui import Select, WebDriverWait

#: Where Debian puts them, should they not be on the PATH.
_BROWSER: Final = shutil.which("chromium") or "/usr/bin/chromium"
_DRIVER: Final = shutil.which("chromedriver") or "/usr/bin/chromedriver"
_FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,760",
)
_WAIT: Final = 20.0
_PASSWORD: Final = "correct horse"


class Browser:
    """Somebody at a browser of their own, with the page open."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def find(self, id: str) -> WebElement:
        return self.driver.find_element(By.ID, id)

    def fill(self, id: str, text: str) -> None:
        field = self.find(id)
        field.clear()
        field.send_keys(text)

    def click(self, id: str) -> None:
        self.find(id).click()

    def text(self, id: str) -> str:
        """What can be read there."""
        return self.find(id).text

    def until(self, holds: Callable[[], object]) -> None:
        """Wait until it does; what the page replaces meanwhile is looked up again."""
        wait = WebDriverWait(
            self.driver, _WAIT, 0.05, ignored_exceptions=[StaleElementReferenceException]
        )
        wait.until(lambda _: holds())

    def come_in(self, url: str, name: str, email: str) -> None:
        """Sign up, verify with the code that the page shows, and sign in."""
        self.driver.get(url)
        self.fill("username", name)
        self.fill("email", email)
        self.fill("password", _PASSWORD)
        self.click("enter")
        self.until(lambda: email in self.text("mail"))
        code = re.search(r"code is (\d{6})", self.text("mail"))
        assert code is not None
        self.fill("code", code[1])
        self.click("verify")
        self.until(lambda: "is verified" in self.text("door-note"))
        self.click("enter")
        self.until(lambda: self.text("my-name") == name)

    def create(self, room: str) -> None:
        self.fill("new-room", room)
        self.find("create").find_element(By.NAME, "create").click()
        self.until(lambda: self.text("room-name") == room)

    def choose(self, room: str) -> None:
        """Click on a room as soon as it is listed."""

        def clicked() -> bool:
            buttons = self.find("rooms").find_elements(By.TAG_NAME, "button")
            names = [button.find_element(By.CLASS_NAME, "name").text for button in buttons]
            if room in names:
                buttons[names.index(room)].click()
            return room in names

        self.until(clicked)
        self.until(lambda: self.text("room-name") == room)

    def say(self, body: str) -> None:
        self.fill("body", body)
        self.find("composer").find_element(By.TAG_NAME, "button").click()

    def messages(self) -> list[tuple[str, str]]:
        """Who said what, as it can be read."""
        return [
            (
                line.find_element(By.TAG_NAME, "strong").text,
                line.find_element(By.CLASS_NAME, "body").text,
            )
            for line in self.find("log").find_elements(By.TAG_NAME, "li")
        ]

    def console_errors(self) -> list[object]:
        """What the page complained of since the last time."""
        log = self.driver.execute("getLog", {"type": "browser"})
        return [entry for entry in log["value"] if entry["level"] == "SEVERE"]


OpenBrowser: TypeAlias = Callable[[], Browser]


def _missing(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def open_browser(tmp_path: Path) -> Iterator[OpenBrowser]:
    """Starts browsers, each with a profile of its own."""
    if not find_spec("selenium"):
        _missing("selenium is not installed")
    for program in (_BROWSER, _DRIVER):
        if not shutil.which(program):
            _missing(f"{program} is missing: apt install chromium chromium-driver")
    drivers: list[Chrome] = []

    def open_browser() -> Browser:
        options = ChromeOptions()
        options.binary_location = _BROWSER
        for flag in (*_FLAGS, f"--user-data-dir={tmp_path / str(len(drivers))}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = Chrome(options=options, service=ChromeService(_DRIVER))
        drivers.append(driver)
        return Browser(driver)

    yield open_browser
    for driver in drivers:
        driver.quit()


async def test_two_people_meet(open_browser: OpenBrowser, chat: Chat, receiver: Receiver) -> None:
    ada, ben = open_browser(), open_browser()
    ada.come_in(chat.url, "Ada", "ada@example.org")
    ada.create("chat:lobby")
    ben.come_in(chat.url, "Ben", "ben@example.org")
    ben.choose("chat:lobby")

    ada.say("Is anybody there?")
    ben.until(lambda: ("Ada", "Is anybody there?") in ben.messages())
    ben.until(lambda: "chat:lobby 3" in ben.text("board"))
    Select(ben.find("status")).select_by_value("away")
    ada.until(lambda: re.search(r"Ben\s+away", ada.text("people")))
    ben.find("body").send_keys("…")
    ada.until(lambda: ada.text("typing") == "Ben is typing …")
    ben.driver.refresh()
    ada.until(lambda: "Ben" not in ada.text("people"))
    ben.until(lambda: ben.text("my-name") == "Ben")
    ada.click("leave")
    ada.until(lambda: ada.find("nowhere").is_displayed())

    assert ada.console_errors() == ben.console_errors() == []
    left = await receiver.gets(lambda r: r["event"] == "room:leave" and _who(r) == "Ada")
    assert left["data"] == {"roomId": "chat:lobby"}
    assert all(record["status"] == 204 for record in receiver.records)
    assert {record["event"] for record in receiver.records} == {
        "auth:signup",
        "auth:verify",
        "auth:signin",
        "auth:session:initialize",
        "room:create",
        "room:join",
        "room:publish",
        "room:leave",
        "presence:join",
        "presence:update",
        "presence:leave",
        "user:status:update",
    }


async def test_markup_is_shown_as_text(open_browser: OpenBrowser, chat: Chat) -> None:
    """In names of people and rooms and in messages; nothing of it runs."""
    page = open_browser()
    name, room = "<b>Ada</b>", "<img src=x onerror=document.title=1>"
    body = "<script>document.title = 'run'</script>"
    page.come_in(chat.url, name, "ada@example.org")
    page.create(room)
    page.say(body)
    page.until(lambda: (name, body) in page.messages())
    page.until(lambda: room in page.text("board"))
    assert ("Welcome bot", f"Welcome, {name}!") in page.messages()
    assert name in page.text("people")
    for tag in ("b", "img"):
        assert not page.driver.find_elements(By.TAG_NAME, tag)
    assert len(page.driver.find_elements(By.TAG_NAME, "script")) == 1
    assert page.driver.title == "Relaybox chat"
    assert page.console_errors() == []


async def test_refusals_are_shown(open_browser: OpenBrowser, chat: Chat) -> None:
    page = open_browser()
    page.come_in(chat.url, "Ada", "ada@example.org")
    page.fill("new-room", "nowhere")
    page.find("create").find_element(By.NAME, "join").click()
    page.until(lambda: page.text("trouble") == "there is no such room")
    page.click("sign-out")
    page.fill("email", "ada@example.org")
    page.fill("password", "wrong horse")
    page.click("enter")
    page.until(lambda: page.text("door-note") == "the address or the password is wrong")


def _who(record: dict[str, Any]) -> object:
    return record["session"]["user"]["username"]
