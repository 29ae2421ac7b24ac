"""How long the page takes from the end of a stroke to the answer, beside a bare call of the same server, in turn.

    python bench/page.py             20 strokes and calls, 20 times load-draw-clear-draw, about 2 minutes (needs chromium)
"""

import argparse
import shutil
import sys
import time
from http.client import HTTPConnection

import numpy as np
from playwright.sync_api import TimeoutError, sync_playwright
from serving import one_shot, start

SEVEN = [(0.3, 0.2), (0.75, 0.2), (0.5, 0.85)]  # of the sheet's side
# from the moment the pen leaves the sheet to the frame in which digit and bars stand there
WATCH = """() => document.addEventListener('pointerup', (event) => {
  if (event.target.tagName !== 'CANVAS') return;
  const started = performance.now();
  const look = () => {
    const digit = document.querySelector('#panel .digit'), bars = document.querySelectorAll('.confidence-set').length;
    if (bars === 10 && digit.textContent) window.spent = performance.now() - started; else requestAnimationFrame(look);
  };
  look();
}, true)"""


def draw(page) -> None:
    """Draw a 7 with the mouse as soon as the brush is armed; the sheet covers 60 % of the canvas and more."""
    page.locator("#pad canvas").last.wait_for()
    page.wait_for_function("!/select the draw tool/i.test(document.querySelector('#pad').innerText)")
    box = page.locator("#pad canvas").last.bounding_box()
    side = 0.6 * min(box["width"], box["height"])
    left, top = box["x"] + (box["width"] - side) / 2, box["y"] + (box["height"] - side) / 2
    first, *others = [(left + x * side, top + y * side) for x, y in SEVEN]
    page.mouse.move(*first)
    page.mouse.down()
    for point in others:
        page.mouse.move(*point, steps=6)
    page.mouse.up()


def clear(page) -> None:
    """Empty the sheet; wait until bars and digit are gone."""
    page.locator("#clear").click()
    page.wait_for_function("!document.querySelector('.confidence-set') && !document.querySelector('#panel .digit').textContent")


def measure(page, port: int, count: int) -> tuple[list[float], list[float]]:
    """Return the milliseconds from the end of a stroke on an empty sheet to its answer, and those of a bare call, `count` times."""
    strokes, calls = [], []
    page.evaluate(WATCH)
    for _ in range(count):
        page.evaluate("window.spent = 0")
        draw(page)
        page.wait_for_function("window.spent")
        strokes.append(page.evaluate("window.spent"))
        clear(page)
        connection = HTTPConnection("127.0.0.1", port)  # a new one: the server closes one that waits for a stroke
        started = time.perf_counter()
        one_shot(connection)
        calls.append(1000 * (time.perf_counter() - started))
    return strokes, calls


def cycle(page, address: str) -> bool:
    """Load the page, draw, clear, draw again; say whether both drawings were answered within 30 seconds."""
    try:
        page.goto(address)
        for _ in range(2):
            draw(page)
            page.wait_for_function("document.querySelectorAll('.confidence-set').length === 10")
            clear(page)
    except TimeoutError:
        return False
    return True


def main() -> None:
    """Measure and print a table and a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20, help="strokes, and loads (default: %(default)s)")
    count = parser.parse_args().count
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("There is no chromium here. Install it (Debian: apt-get install chromium) and run this again.")
    process, port = start(["app.py"])
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(f"http://127.0.0.1:{port}")
            page.wait_for_timeout(5000)  # milliseconds; until the page is at rest
            strokes, calls = measure(page, port, count)
            page.close()
            middle, bare = float(np.median(strokes)), float(np.median(calls))
            print("| Stroke end to answer, ms median | slowest | a bare call, ms median | ratio | n |\n|---|---|---|---|---|\n"
                  f"| {middle:.0f} | {max(strokes):.0f} | {bare:.0f} | {middle / bare:.1f} | {count} |", flush=True)
            answered = sum(cycle(browser.new_page(), f"http://127.0.0.1:{port}") for _ in range(count))
            print(f"\nload, draw, clear, draw: {answered} of {count} answered")
            browser.close()
    finally:
        process.terminate()


if __name__ == "__main__":
    main()
