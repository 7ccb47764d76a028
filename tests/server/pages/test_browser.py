"""The pages in a real browser: nothing is refused, keyboards and narrow screens work, colours can be read."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from ..house import open_registry
from .test_pages import two_experts

CHROMIUM = os.environ.get("PERSTACK_TEST_CHROMIUM") or shutil.which("chromium")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no chromium here (install it, or set PERSTACK_TEST_CHROMIUM)"
    ),
]

PATHS = (
    "/",
    "/search?q=what",
    "/experts/@acme/triage",
    "/experts/@acme/researcher/versions",
    "/experts/@acme/researcher/diff?from=2.0.0&to=2.1.0",
    "/orgs/acme",
    "/experts/@acme/nobody",
)

# The contrast of each text with what is behind it, after WCAG 2.2: those below 4.5, or 3 for large letters.
PALE = """() => {
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b };
  const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n };
  const behind = e => { for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor); if (c[3] > 0) return c }
    return [255, 255, 255, 1] };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, s = getComputedStyle(e);
    if (!walk.currentNode.data.trim() || !e.checkVisibility() || e.closest('option')) continue;
    const [a, b] = [light(parse(s.color)), light(behind(e))].sort((x, y) => y - x);
    const large = parseFloat(s.fontSize) >= 24 || (parseFloat(s.fontSize) >= 18.66 && s.fontWeight >= 700);
    if ((a + 0.05) / (b + 0.05) < (large ? 3 : 4.5)) found.push(walk.currentNode.data.trim());
  }
  return found;
}"""

# Controls without a name, pictures without words, regions that scroll and cannot be reached by keyboard.
MUTE = """() => [
  ...[...document.querySelectorAll('a, button')].filter(e => !(e.ariaLabel || e.textContent.trim())),
  ...[...document.querySelectorAll('input, select')].filter(e => !e.labels.length && !e.ariaLabel),
  ...[...document.querySelectorAll('img')].filter(e => !e.hasAttribute('alt')),
  ...[...document.querySelectorAll('pre, .scroll')].filter(e => e.scrollWidth > e.clientWidth && e.tabIndex < 0),
].map(e => e.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a registry that runs as it does for its users."""
    database = tmp_path_factory.mktemp("registry") / "registry.db"

    async def seed() -> None:
        async with open_registry(str(database)) as registry:
            await two_experts(registry)

    with ThreadPoolExecutor(1) as apart:  # the browser's driver has a loop in this thread
        apart.submit(anyio.run, seed).result()
    program = [sys.executable, "-m", "perstack.cli.main", "registry", "serve", "--port", "0"]
    process = subprocess.Popen(
        [*program, "--database", str(database)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield _address(process.stdout)
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _address(said: Iterator[str]) -> str:
    lines: list[str] = []
    for line in said:
        lines.append(line)
        if match := re.search(r"http://[\d.]+:\d+", line):
            return match[0]
    raise AssertionError("".join(lines))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


def opened(browser: Browser, url: str, *, width: int = 1280, dark: bool = False) -> Page:
    """The page; what went wrong in it fails the test."""
    context = browser.new_context(
        color_scheme="dark" if dark else "light", viewport={"width": width, "height": 800}
    )
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("requestfailed", lambda request: wrong.append(request.url))
    page.goto(url)
    assert [line for line in wrong if "status of 404" not in line] == []
    return page


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("path", PATHS)
def test_a_page_can_be_read_and_used_by_everyone(
    browser: Browser, site: str, path: str, dark: bool
) -> None:
    page = opened(browser, site + path, dark=dark)
    # The style sheet is there
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert color == ("rgb(20, 22, 26)" if dark else "rgb(251, 251, 249)")
    assert page.evaluate(PALE) == []
    assert page.evaluate(MUTE) == []
    page.context.close()


@pytest.mark.parametrize("path", PATHS)
def test_a_narrow_screen_shows_all_of_it(browser: Browser, site: str, path: str) -> None:
    page = opened(browser, site + path, width=320)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.context.close()


def test_the_keyboard_is_enough_to_find_an_expert(browser: Browser, site: str) -> None:
    page = opened(browser, site + "/")
    page.wait_for_function("document.activeElement.id === 'q'")
    page.keyboard.type("researcher")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?q=researcher")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    names: list[str] = []
    for _ in range(8):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.textContent"))
        if names[-1] == "@acme/researcher":
            break
    assert names[-1] == "@acme/researcher"
    page.keyboard.press("Enter")
    page.wait_for_url("**/experts/@acme/researcher")
    page.context.close()


def test_pages_work_where_scripts_are_off(browser: Browser, site: str, tmp_path: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site}/experts/@acme/triage")
    assert page.get_by_role("heading", name="What it may touch").is_visible()
    page.get_by_role("link", name="All 1 version").click()
    assert page.get_by_role("columnheader", name="Digest").is_visible()
    page.screenshot(path=tmp_path / "page.png")
    context.close()
