"""A page in a real browser without a window: what axe finds wrong, and what the browser refuses.

Chromium is found on the path or by `TEST_CHROMIUM`; axe-core is the file `axe.min.js` of
its package, named by `TEST_AXE`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_RUN = """
document.querySelectorAll("details").forEach(one => { one.open = true; });
axe.run(document, {resultTypes: ["violations", "incomplete"]}).then(found => {
  const told = some => some.map(one => ({id: one.id, help: one.help,
    nodes: one.nodes.slice(0, 5).map(node => node.html + " " + node.failureSummary)}));
  const pre = document.createElement("pre");
  pre.id = "axe-found";
  pre.textContent = JSON.stringify({violations: told(found.violations),
    incomplete: told(found.incomplete), passes: found.passes.length});
  document.body.append(pre);
});
"""


def chromium() -> str | None:
    """The browser, or None."""
    named = os.environ.get("TEST_CHROMIUM")
    return named or next((found for name in _NAMES if (found := shutil.which(name))), None)


def axe() -> Path | None:
    """The script that checks a page, or None."""
    named = os.environ.get("TEST_AXE")
    return Path(named) if named else None


def look(page: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page from its file; stdout is its DOM, stderr what the browser's console tells."""
    return _browse(page, folder, "--virtual-time-budget=10000", "--dump-dom", *options)


def take_picture(page: Path, folder: Path, file: Path, size: str) -> None:
    """The top of a page as PNG; `size` is `width,height` in pixels."""
    whole = "--run-all-compositor-stages-before-draw"
    _browse(page, folder, whole, f"--screenshot={file}", f"--window-size={size}")


def _browse(page: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    program = chromium()
    assert program is not None
    command = [
        *(program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
        *(f"--user-data-dir={folder / 'browser'}", "--enable-logging=stderr"),
        *(*options, page.as_uri()),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def check(page: Path, folder: Path, *options: str) -> dict[str, Any]:
    """What axe finds on a page, with all that can be opened opened.

    A copy of the page without its policy is looked at: the policy allows no script.
    """
    script = axe()
    assert script is not None
    text = re.sub(r"<meta http-equiv=.*\n", "", page.read_text(encoding="utf-8"))
    code = f"{script.read_text(encoding='utf-8')}\n{_RUN}"
    code = code.replace("</script", "<\\/script")
    copy = folder / "checked.html"
    copy.write_text(text.replace("</body>", f"<script>{code}</script></body>"), encoding="utf-8")
    done = look(copy, folder, *options)
    found = re.search(r'<pre id="axe-found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr
    result: dict[str, Any] = json.loads(unescape(found[1]))
    return result
