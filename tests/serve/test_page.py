"""The page at / in headless Chromium, which is told that no other host exists."""

import json
import os
import re
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.mojo
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)


FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip


@pytest.mark.skipif(not BROWSER, reason="needs Chromium")
def test_the_page_shows_the_models(server, tmp_path):
    line = [
        BROWSER, *FLAGS, f"--user-data-dir={tmp_path}", "--virtual-time-budget=3000",
        "--enable-logging=stderr", "--dump-dom", f"{server.url}/",
    ]  # fmt: skip
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    page = done.stdout
    assert '<small id="ready">ready</small>' in page, done.stderr[-2000:]
    assert "x FP32[?,32]" in page
    assert "i INT64[3], f FP32[2,2], b BOOL[4], h FP16[3], w BF16[3], s FP32[]" in page
    models = set(re.findall(r"<option value=\"(\w+)\"", page))
    assert models == set(server.models)
    assert "CONSOLE" not in done.stderr or "Uncaught" not in done.stderr


class Browser:
    """Chromium, told what to do over the pipes of its DevTools protocol."""

    def __init__(self, folder):
        ours, theirs = os.pipe(), os.pipe()
        self._write, self._read = ours[1], theirs[0]
        flags = (*FLAGS, f"--user-data-dir={folder}", "--remote-debugging-pipe")
        places = f"3<&{ours[0]} 4>&{theirs[1]}"
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$0" "$@" {places}', BROWSER, *flags],
            pass_fds=(ours[0], theirs[1]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(ours[0])
        os.close(theirs[1])
        self._number, self._rest = 0, b""

    def call(self, method, session=None, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            text, found, self._rest = self._rest.partition(b"\0")
            if not found:
                piece = os.read(self._read, 1 << 16)
                assert piece, "the browser ended"
                self._rest = text + piece
                continue
            answer = json.loads(text)
            if answer.get("id") == self._number:
                return answer["result"]

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self._write)
        os.close(self._read)


TRY = """(async () => {
  const at = id => document.getElementById(id);
  const until = async holds => {
    for (let n = 0; n < 500 && !holds(); n++) await new Promise(done => setTimeout(done, 20));
  };
  const row = () => [...at("models").rows].map(r => [...r.cells].map(c => c.textContent))
    .find(cells => cells[0] === "net");
  await until(() => at("model") && at("model").options.length);
  at("model").value = "net";
  at("model").dispatchEvent(new Event("change"));
  const before = +row()[6];
  at("send").click();
  await until(() => at("answer").textContent);
  await until(() => +row()[6] > before);
  at("request").value = "{}";
  const first = at("answer").textContent;
  at("send").click();
  await until(() => at("answer").textContent !== first);
  return JSON.stringify([first, at("answer").textContent, before, row()]);
})()"""


@pytest.mark.skipif(not BROWSER, reason="needs Chromium")
def test_the_form_runs_a_model_and_the_table_counts_it(server, tmp_path):
    browser = Browser(tmp_path)
    try:
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        browser.call("Page.navigate", session, url=f"{server.url}/")
        done = browser.call(
            "Runtime.evaluate", session,
            expression=TRY, awaitPromise=True, returnByValue=True,
        )  # fmt: skip
    finally:
        browser.close()
    good, bad, before, row = json.loads(done["result"]["value"])
    status, _, body = good.partition("\n")
    assert status.startswith("200, ")
    assert json.loads(body)["outputs"][0]["shape"] == [1, 8]
    assert bad.startswith("400, ") and "inputs" in bad
    assert int(row[6]) > before and float(row[3]) > 0 and float(row[5]) >= float(row[4]) > 0


def test_the_page_names_no_outside_resource():
    from mojoaccel.serve.page import page

    text = page().decode()
    assert not re.search(r"(src|href)\s*=\s*[\"'](https?:)?//", text)
    assert "@import" not in text and "url(" not in text
