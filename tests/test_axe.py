"""axe-core finds no serious or critical fault on any page: neither on a screen in the
light nor on a phone in the dark.
"""

from __future__ import annotations

import importlib
import sys

import pytest
from browsing import PAGES, ROOT, address, browser, site

__all__ = ["address", "browser", "site"]  # fixtures

sys.path.insert(0, str(ROOT / "book"))
web = importlib.import_module("web")
sys.path.pop(0)
# Both widths and both colours; the two other pairs hold nothing that these do not.
SCREENS = {"screen": (1280, 900, "light"), "phone": (390, 844, "dark")}
LIVE = (
    *("index", "thesis", "gram", "gatys", "repair", "eye", "knows", "restyle"),
    *("faces", "diffusion", "flip"),
)
# On the phone only what colours and sizes can change is looked at again: all
# else is the same page.
SEEN = [
    "aria-hidden-focus",
    "color-contrast",
    "link-in-text-block",
    "scrollable-region-focusable",
    "target-size",
]
RULES = """async (only) => {
  const wanted = {resultTypes: ["violations"], ...only && {runOnly: only}};
  const found = await axe.run(document, wanted);
  const grave = found.violations
    .filter(({impact}) => impact === "serious" || impact === "critical");
  return [found.passes.length, grave.map(({id, help, nodes}) => {
    const {target, html, any, all} = nodes[0];
    const why = [...any, ...all].map(({message}) => message).join("; ");
    const first = `${target.join(" ")}, ${html.slice(0, 150)}: ${why}`;
    return `${id} (${help}), ${nodes.length} times, first ${first}`;
  })];
}"""


def faults(page, rules: list[str] | None = None) -> list[str]:
    """The serious and critical faults of an opened page, by all rules or some."""
    page.evaluate(
        (web.install_packages() / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
        + "; 0"
    )
    checked, grave = page.evaluate(RULES, rules)
    assert checked > 0, "axe-core looked at the page"
    return grave


@pytest.fixture
def opened(browser):
    """Open an address in a browser window of its own, without motion: a colour half way
    through is no fault.
    """
    contexts = []

    def opened(url: str, width: int, height: int, scheme: str):
        size = {"width": width, "height": height}
        contexts.append(
            browser.new_context(
                viewport=size, color_scheme=scheme, reduced_motion="reduce"
            )
        )
        page = contexts[-1].new_page()
        page.goto(url)
        page.evaluate("window.MathJax && MathJax.startup && MathJax.startup.promise")
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize(
    "page",
    [*PAGES, *(f"live/{name}" for name in LIVE), "404"],
)
def test_page_has_no_serious_fault(opened, address, page, screen):
    found = opened(f"{address}{page}.html", *SCREENS[screen])
    if page == "live/index":
        found.locator("#styles img").nth(7).wait_for()
    assert faults(found, SEEN if screen == "phone" else None) == []


def test_faults_are_found(opened):
    """The same look at a page with three known faults: it does not pass because
    it looks at nothing.
    """
    page = opened("about:blank", 1280, 900, "light")
    page.set_content(
        '<html lang="en"><title>x</title><main><h1>x</h1><img '
        'src="data:,"><button></button><p style="color: #999; background: '
        '#fff">pale</p></main>'
    )
    assert {fault.split(" ")[0] for fault in faults(page)} == {
        "image-alt",
        "button-name",
        "color-contrast",
    }
