"""The report in a real browser: it asks for nothing, throws nothing, sorts, fits a phone and prints."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from atod_sweep.evidence.report.write import write

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; Debian: apt-get install chromium"),
]

# Runs before the report's own script, so that it sees every error and every request that the page's policy refuses.
LISTEN = """<script>
window.problems = [];
window.addEventListener("error", (e) => problems.push("error: " + e.message), true);
document.addEventListener("securitypolicyviolation", (e) => problems.push("request: " + e.blockedURI));
</script>"""
# Sorts the first table by its fifth column, up and then down, and leaves what it saw in an attribute.
CLICK = """<script>
addEventListener("load", () => {
  const table = document.querySelector("table.sortable"), button = table.querySelectorAll("thead button")[4];
  const column = () => [...table.tBodies[0].rows].map((row) => Number(row.cells[4].dataset.value));
  button.click(); const up = column(); button.click(); const down = column();
  const seen = {problems, up, down, sort: button.parentElement.getAttribute("aria-sort"),
    width: document.documentElement.scrollWidth, window: innerWidth,
    broken: [...document.images].filter((i) => !i.naturalWidth).length,
    told: [...document.querySelectorAll(".scroll")].every(
      (box) => box.previousElementSibling.hidden === (box.scrollWidth - box.clientWidth < 2)),
    overlaps: [...document.querySelectorAll("table.claims tr")].flatMap((row) => {
      const words = [...row.cells].filter((cell) => cell.textContent && cell.offsetWidth);
      const boxes = words.map((cell) => { const r = document.createRange(); r.selectNodeContents(cell);
        return r.getBoundingClientRect(); });
      return boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) =>
        a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3));
    }).length,
    arrow: getComputedStyle(button, "::after").content,
    picture: document.querySelector("figure img").getBoundingClientRect().bottom};
  document.body.setAttribute("data-seen", JSON.stringify(seen));
});
</script>"""


def chromium(*options: str, page: Path) -> str:
    """Open the page; returns what the browser printed. Every host name leads nowhere."""
    nowhere = "--host-resolver-rules=MAP * ~NOTFOUND"
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", nowhere, *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.fixture
def report(make_run: Callable[..., Path]) -> Path:
    claim = {"arm": "cosine", "other": "linear", "at": {"horizon": "long"}}
    factors = {"horizon": {"short": 0.05, "long": -0.05}}
    arms = {"cosine": 0.66, "linear": 0.64, "exponential": 0.6}
    run = make_run("page", arms, factors=factors, hypotheses=[claim], reference="linear", t_dur=True, steps=30)
    return write(run).html


@pytest.mark.parametrize("width", [500, 1200])
def test_no_errors_no_requests_and_tables_that_sort(report: Path, width: int) -> None:
    seen = seen_in(report, f"{width},900")
    assert seen["problems"] == []
    assert seen["broken"] == 0
    assert len(seen["up"]) == 8  # three arms and the teacher at two horizons
    assert seen["up"] == sorted(seen["up"])
    assert seen["down"] == seen["up"][::-1]
    assert seen["sort"] == "descending"
    assert seen["width"] <= seen["window"]  # nothing sticks out to the side: wide tables scroll in their own box
    assert seen["told"]  # and say so
    assert seen["overlaps"] == 0  # nothing of a claim's row lies over anything else
    assert "▼" in seen["arrow"]


def seen_in(page: Path, size: str) -> dict[str, Any]:
    """What the probe saw in a window of this size."""
    probe, html = page.with_name("probe.html"), page.read_text(encoding="utf-8")
    probe.write_text(
        html.replace("<style>", LISTEN + "<style>", 1).replace("</body>", CLICK + "</body>"), encoding="utf-8"
    )
    dom = chromium("--dump-dom", "--virtual-time-budget=5000", f"--window-size={size}", page=probe)
    found = re.search(r'data-seen="([^"]*)"', dom)
    assert found
    seen: dict[str, Any] = json.loads(found[1].replace("&quot;", '"'))
    return seen


@pytest.mark.parametrize("arms", [3, 60])
def test_question_answer_and_picture_are_on_the_first_screen(make_run: Callable[..., Path], arms: int) -> None:
    levels = {f"arm_{i:02d}": 0.5 + i / 300 for i in range(arms)}
    claims = [{"arm": f"arm_{i:02d}", "other": "arm_00"} for i in range(1, arms)]
    run = make_run("page", levels, controls={"opd": 0.4, "rl": 0.2}, hypotheses=claims, seeds=4, steps=10)
    assert 0 < seen_in(write(run).html, "1280,1000")["picture"] <= 1000


def test_an_external_request_would_have_been_noticed(report: Path) -> None:
    page = report.with_name("leaky.html")
    html = report.read_text(encoding="utf-8").replace("<style>", LISTEN + "<style>", 1)
    page.write_text(
        html.replace("</body>", '<img src="https://example.org/x.png">' + CLICK + "</body>"), encoding="utf-8"
    )
    dom = chromium("--dump-dom", "--virtual-time-budget=5000", page=page)
    assert "request: https://example.org/x.png" in dom


def test_screenshot_and_print(report: Path) -> None:
    picture, pdf = report.with_name("page.png"), report.with_name("page.pdf")
    chromium(f"--screenshot={picture}", "--hide-scrollbars", "--window-size=1000,1400", page=report)
    with Image.open(picture) as image:
        assert image.size == (1000, 1400)
        colours = image.convert("RGB").quantize(64).getcolors() or []
    assert len(colours) > 20  # text, badges, the caution's box and the opening picture
    assert max(count for count, _ in colours) < 0.95 * 1000 * 1400
    chromium(f"--print-to-pdf={pdf}", "--no-pdf-header-footer", page=report)
    pages = len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes()))
    assert 4 <= pages <= 20
