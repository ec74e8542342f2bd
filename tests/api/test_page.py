"""The page in a real headless Chromium: what a person sees and can do.

TOPIC_SUM_SCREENSHOTS=/tmp/shots .venv/bin/pytest tests/api/test_page.py     also saves what it looks like
"""

from __future__ import annotations

import base64
import json
import os
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome here"
)

# The browser reads its commands from descriptor 3 and answers on 4.
PLUG = "import os, sys; a, b, *c = sys.argv[1:]; os.dup2(int(a), 3); os.dup2(int(b), 4); os.execv(c[0], c)"


class Browser:
    """Chromium, spoken to in its DevTools protocol over a pipe: no driver and no port."""

    def __init__(self, profile: Path):
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        command = [
            CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--no-first-run", "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-c", PLUG, str(to_browser), str(from_browser), *command],
            pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        self._buffer = b""
        self._number = 0
        self._session = None
        self.events: list[dict] = []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **parameters: object) -> dict:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _read(self) -> dict:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], 60)
            assert ready, "the browser does not answer"
            chunk = os.read(self._in, 1 << 20)
            assert chunk, "the browser ended"
            self._buffer += chunk
        raw, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(raw)
        if "method" in message:
            self.events.append(message)
        return message

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)
        os.close(self._out)
        os.close(self._in)

    def open(self, url: str, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        self.events.clear()
        self(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self("Page.navigate", url=url)
        self.until(
            "document.readyState === 'complete' && document.querySelectorAll('#examples button').length > 0"
        )

    def js(self, expression: str) -> object:
        answer = self("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, expression: str, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not self.js(f"Boolean({expression})"):
            assert time.monotonic() < deadline, f"never true: {expression}"
            time.sleep(0.05)

    def press(self, key: str, code: int, modifiers: int = 0, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            self(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code,
                modifiers=modifiers, **({"text": text} if text and kind == "keyDown" else {}),
            )  # fmt: skip

    def type(self, words: str) -> None:
        self("Input.insertText", text=words)

    def text(self, selector: str) -> str:
        return self.js(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def visible(self, selector: str) -> bool:
        return self.js(f"document.querySelector({json.dumps(selector)})?.checkVisibility() ?? false")

    def picture(self, name: str) -> None:
        folder = os.environ.get("TOPIC_SUM_SCREENSHOTS")
        if folder:
            time.sleep(0.5)
            shot = self("Page.captureScreenshot", format="png", captureBeyondViewport=True)
            Path(folder).mkdir(parents=True, exist_ok=True)
            (Path(folder) / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))

    @property
    def complaints(self) -> list[str]:
        """What the console and the content security policy had to say."""
        return [
            json.dumps(event["params"])
            for event in self.events
            if event["method"] in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
        ]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    running = Browser(tmp_path_factory.mktemp("profile"))
    yield running
    running.close()


def put(browser, field, value):
    """Writes a value into a field as a person would, with the events that follow."""
    browser.js(
        f"(() => {{ const field = document.getElementById({json.dumps(field)}); "
        f"field.value = {json.dumps(value)};"
        "for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind)); })()"
    )


def send(browser):
    browser.js("document.getElementById('form').requestSubmit()")


def ask_with_example(browser, number=1):
    browser.js(f"document.querySelectorAll('#examples button')[{number}].click()")
    browser.until("!document.getElementById('result').hidden && document.getElementById('status').hidden")


def test_an_example_is_answered_with_topic_bars_and_summary(browser, api, published):
    browser.open(api.url)
    ask_with_example(browser)
    assert browser.text("#topic") in ("Спорт", "Экономика", "Культура", "Тема не ясна")
    assert browser.js("document.querySelectorAll('#bars li').length") == 3
    widths = browser.js("[...document.querySelectorAll('.fill')].map((bar) => parseFloat(bar.style.width))")
    assert sum(widths) == pytest.approx(100, abs=1)
    assert browser.text(".summary p")
    assert published[:8] in browser.text("#facts")
    assert published[:8] in browser.text("#model")
    assert not browser.complaints, browser.complaints
    browser.picture("wide-light")


def test_a_text_whose_end_was_not_read_says_so(browser, serve, published, text):
    server = serve(MAX_WINDOWS="1")
    browser.open(server.url)
    put(browser, "text", " ".join(text("sport", seed=number) for number in range(30)))
    send(browser)
    browser.until("!document.getElementById('result').hidden && document.getElementById('status').hidden")
    assert re.match(r"Из [\d\s]+ знак(а|ов) прочитано только начало", browser.text("#facts .warn"))
    # The topic's part of the reading is told apart: this text is longer than its 4,000 characters, too.
    assert re.search(r"Тема определена по началу: 4\s000 знаков из \d", browser.text("#facts"))
    assert browser.text(".summary p")
    browser.picture("cut")


def test_names_and_numbers_that_the_text_lacks_are_marked(browser, api):
    browser.open(api.url)
    ask_with_example(browser)
    shown = browser.text(".summary p")
    asked = {name: browser.js(f"document.getElementById('{name}').value") for name in ("text", "title")}
    answer = api.post("/api/v1/analyze", asked).json
    marked = browser.js("[...document.querySelectorAll('mark')].slice(0, -1).map((mark) => mark.textContent)")
    assert answer["unsupported"]
    assert [part["text"] for part in answer["unsupported"]] == marked
    assert " ".join(shown.split()) == answer["summary"]
    assert browser.visible("#legend")


def test_the_keyboard_alone_is_enough(browser, api, text):
    browser.open(api.url)
    browser.js("document.getElementById('title').focus()")
    browser.type("Матч чемпионата")
    browser.press("Tab", 9)
    assert browser.js("document.activeElement.id") == "text"
    browser.type(text("sport"))
    browser.press("Enter", 13, modifiers=2)
    browser.until("!document.getElementById('result').hidden")
    assert browser.text("#topic") == "Спорт"
    assert browser.js("document.activeElement.id") == "answer-title"


def test_a_reload_of_nothing_a_text_without_words_and_a_long_text_are_errors_in_words(browser, api):
    browser.open(api.url)
    send(browser)
    assert "Вставьте текст" in browser.text("#error")
    browser.js(
        "document.getElementById('text').value = '12 345'; document.getElementById('form').requestSubmit()"
    )
    browser.until("document.getElementById('error').innerText.includes('нет ни одного слова')")
    put(browser, "text", "а " * 60_000)
    send(browser)
    browser.until("document.getElementById('error').innerText.includes('Слишком длинно')")
    assert "можно до" in browser.text("#counter")
    browser.picture("error-light")


@pytest.mark.parametrize("task", ["topic", "summarize"])
def test_a_model_with_one_of_the_two_tasks_has_a_page(
    browser, serve, model_hub, model_folder, text, tmp_path, task
):
    tasks = json.loads((model_folder / "tasks.json").read_text(encoding="utf-8"))
    tasks["tasks"] = {task: tasks["tasks"][task]}
    shutil.copytree(model_folder, tmp_path / "one")
    (tmp_path / "one" / "tasks.json").write_text(json.dumps(tasks), encoding="utf-8")
    model_hub.publish(tmp_path / "one", f"demo/page-{task}")
    browser.open(serve(MODEL_REPO=f"demo/page-{task}").url)
    put(browser, "text", text("sport"))
    send(browser)
    browser.until("!document.getElementById('result').hidden && document.getElementById('status').hidden")
    assert browser.visible("#topic-part") == (task == "topic")
    assert browser.visible("#summary-part") == browser.visible("#summary-options") == (task == "summarize")
    assert browser.text("#lead").endswith({"topic": "назовёт тему.", "summarize": "краткий пересказ."}[task])
    assert not browser.complaints, browser.complaints


def test_markup_in_a_text_stays_text(browser, api, text):
    browser.open(api.url)
    bad = "<img src=x onerror='document.title=1'><script>document.title=1</script> " + text("sport")
    put(browser, "text", bad)
    send(browser)
    browser.until("!document.getElementById('result').hidden")
    assert browser.js("document.title") == "О чём новость"
    assert browser.js("document.querySelectorAll('#result img, #result script').length") == 0


def test_variants_and_length_do_what_they_say(browser, api):
    browser.open(api.url)
    put(browser, "variants", 3)
    assert browser.text("#variants-words") == "3"
    ask_with_example(browser, 2)
    assert 1 < browser.js("document.querySelectorAll('.summary').length") <= 3
    put(browser, "length", 60)
    assert browser.text("#length-words") == "до 60 знаков"
    browser.until("document.getElementById('status').hidden")
    browser.until("[...document.querySelectorAll('.summary p')].every((p) => p.innerText.length <= 60)")
    browser.picture("variants-light")


def test_a_dropped_windows_1251_file_is_read(browser, api, text, tmp_path):
    path = tmp_path / "новость.txt"
    path.write_bytes(text("culture").encode("cp1251"))
    browser.open(api.url)
    node = browser("DOM.querySelector", nodeId=browser("DOM.getDocument")["root"]["nodeId"], selector="#file")
    browser("DOM.setFileInputFiles", nodeId=node["nodeId"], files=[str(path)])
    browser.until("document.getElementById('text').value.length > 0")
    assert browser.js("document.getElementById('text').value") == text("culture")
    data = json.dumps(text("economy"))
    browser.js(
        "(() => { const files = new DataTransfer();"
        f"files.items.add(new File([{data}], 'a.txt'));"
        "const drop = new DragEvent('drop', {dataTransfer: files, cancelable: true});"
        "document.getElementById('drop').dispatchEvent(drop); })()"
    )
    browser.until(f"document.getElementById('text').value === {data}")


def test_copy_puts_the_summary_on_the_clipboard(browser, api):
    browser.open(api.url)
    browser(
        "Browser.grantPermissions",
        permissions=["clipboardReadWrite", "clipboardSanitizedWrite"],
        origin=api.url,
    )
    ask_with_example(browser)
    browser.js("document.querySelector('.summary button').click()")
    browser.until("document.querySelector('.summary button').textContent === 'Скопировано'")


@pytest.mark.parametrize(("name", "width", "height", "scheme"), [
    ("wide-dark", 1280, 900, "dark"), ("phone-light", 360, 740, "light"), ("phone-dark", 360, 740, "dark"),
])  # fmt: skip
def test_nothing_sticks_out_sideways(browser, api, name, width, height, scheme):
    browser.open(api.url, width, height, scheme)
    browser.picture(f"{name}-empty")
    ask_with_example(browser)
    assert browser.js("document.documentElement.scrollWidth") <= width
    dark = browser.js("getComputedStyle(document.body).backgroundColor") == "rgb(19, 22, 28)"
    assert dark == (scheme == "dark")
    browser.picture(name)


def test_swagger_ui_works_under_the_content_security_policy(browser, api):
    browser.events.clear()
    browser("Page.navigate", url=f"{api.url}/api/docs")
    browser.until("document.querySelectorAll('.opblock').length >= 4")
    assert not browser.complaints, browser.complaints
    browser.picture("docs")


def test_the_page_asks_nobody_else(browser, api):
    browser.open(api.url)
    ask_with_example(browser)
    asked = {
        event["params"]["request"]["url"]
        for event in browser.events
        if event["method"] == "Network.requestWillBeSent"
    }
    assert asked
    assert all(url.startswith(api.url) for url in asked)
