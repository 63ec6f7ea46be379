"""The page at / in headless Chromium, which is told that no other host exists."""

import re
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.mojo
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)


@pytest.mark.skipif(not BROWSER, reason="needs Chromium")
def test_the_page_shows_the_models(server, tmp_path):
    line = [
        BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--user-data-dir={tmp_path}", "--no-first-run", "--disable-background-networking",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--virtual-time-budget=3000", "--enable-logging=stderr", "--dump-dom", f"{server.url}/",
    ]  # fmt: skip
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    page = done.stdout
    assert '<small id="ready">ready</small>' in page, done.stderr[-2000:]
    assert (
        "x FP32[?,32]" in page
        and "i INT64[3], f FP32[2,2], b BOOL[4], h FP16[3], w BF16[3], s FP32[]" in page
    )
    models = set(re.findall(r"<option value=\"(\w+)\"", page))
    assert models == set(server.models)
    assert "CONSOLE" not in done.stderr or "Uncaught" not in done.stderr


def test_the_page_names_no_outside_resource():
    from mojoaccel.serve.page import page

    text = page().decode()
    assert not re.search(r"(src|href)\s*=\s*[\"'](https?:)?//", text)
    assert "@import" not in text and "url(" not in text
