"""The reference as one page a module, cut from book/api.md while the site is built.

The source is one file, so that a name has one entry and JupyterLab shows them all; the
site gets its table "I want to ...", an index of all names, and a page a module.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "book" / "api.md"
_LINK = re.compile(r"\b(?:book/)?api\.md#(\w+)")


def parts() -> tuple[str, dict[str, str]]:
    """What stands before the first module, and the text of each module."""
    text = SOURCE.read_text(encoding="utf-8")
    before, *found = re.split(r"^## (\w+)$", text, flags=re.MULTILINE)
    return before, dict(zip(found[::2], found[1::2], strict=True))


def stage(tree: Path) -> None:
    """Write the pages and the index, and lead the links of all pages to them."""
    before, modules = parts()
    homes, index = {}, [before.rstrip(), "", "## All names", ""]
    (tree / "book/api").mkdir()
    for module, text in modules.items():
        names = re.findall(r"^### (\w+)$", text, re.MULTILINE)
        homes |= dict.fromkeys(names, module)
        promoted = re.sub(r"^### ", "## ", text, flags=re.MULTILINE)
        (tree / f"book/api/{module}.md").write_text(
            f"# {module}\n{promoted}", encoding="utf-8"
        )
        entries = ", ".join(
            f'<span id="{name.lower().replace("_", "-")}"></span>'
            f"[{name}](api/{module}.md#{name})"
            for name in names
        )
        index.append(f"[**{module}**](api/{module}.md): {entries}\n")
    (tree / "book/api.md").write_text("\n".join(index), encoding="utf-8")

    def moved(text: str, folder: str) -> str:
        return _LINK.sub(
            lambda found: f"{folder}api/{homes[found[1]]}.md#{found[1]}", text
        )

    for page in (tree / "book").rglob("*.md"):
        if page.parent.name != "api":
            folder = "../" * (len(page.relative_to(tree / "book").parts) - 1)
            text = page.read_text(encoding="utf-8")
            page.write_text(moved(text, folder), encoding="utf-8")
    for path in (tree / "notebooks").glob("*.ipynb"):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = moved("".join(cell["source"]), "book/")
        path.write_text(json.dumps(notebook), encoding="utf-8")
