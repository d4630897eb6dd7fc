"""The pages for who works on this: their links resolve, and the
drawn tree is the tree.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
]


def words(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """Of headings, as GitHub makes them."""
    titles = re.findall(r"^#+ +(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.strip().replace(" ", "-") for title in plain}


def drawn() -> dict[str, str]:
    """Every path in ARCHITECTURE's tree, and what is said of it."""
    (tree,) = re.findall(
        r"^```\n(pltutorial/\n.*?)^```", words("ARCHITECTURE.md"), re.M | re.S
    )
    found, folders = {}, []
    for line in tree.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        names, _, said = line.strip().partition("  ")
        if depth > len(folders):  # the words of the line before
            continue
        for name in names.split():
            found["/".join([*folders[:depth], name.rstrip("/")])] = said.strip()
        if names.endswith("/"):
            folders = [*folders[:depth], names.rstrip("/")]
    return found


@pytest.mark.parametrize("page", PAGES)
def test_links_resolve(page):
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", words(page)):
        name, _, anchor = target.partition("#")
        path = (ROOT / name) if name else ROOT / page
        assert path.exists(), f"{page} links {target}"
        assert not anchor or anchor in anchors(path), f"{page} links {target}"


@pytest.mark.parametrize("page", PAGES[1:])
def test_named_files_are_there(page):
    """Paths in backticks that say in which folder they lie."""
    for name in re.findall(r"`([\w./-]+/[\w./-]+)`", words(page)):
        placeholder = re.search(r"NAME|FOLDER|NN|chapterN|_chN|^runs/", name)
        places = [
            ROOT / name,
            ROOT / "pltutorial" / name,
            ROOT / "pltutorial/assets" / name,
        ]
        assert placeholder or any(place.exists() for place in places), (
            f"{page} names {name}"
        )


def test_the_drawn_tree_is_the_tree():
    """Each name is there, and each module is named; a task is one file and no more."""
    there = drawn()
    assert [name for name in there if not (ROOT / name).exists()] == []
    files = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "pltutorial").rglob("*.py")
    }
    untold = {
        name
        for name in files - set(there)
        if not re.search(r"__init__\.py$|/exercises/|/tasks/", name)
    }
    assert untold == set(), "ARCHITECTURE.md, 'Where things are', does not name them"


def test_older_import_paths_are_a_few_lines_each():
    """What ARCHITECTURE calls so holds no code."""
    older = [name for name in drawn() if re.fullmatch(r"pltutorial/\w+\.py", name)]
    older = older[older.index("pltutorial/cards.py") :]
    for name in older:
        assert not re.search(r"^(def|class) ", words(name), re.MULTILINE), name


def test_releases_agree():
    """The newest release of the changelog is what CITATION.cff names, and what a copy
    without git, so without tags, is.
    """
    unreleased, newest = re.findall(
        r"^## \[(Unreleased|[\d.]+)\](?: - \d{4}-\d\d-\d\d)?$",
        words("CHANGELOG.md"),
        re.MULTILINE,
    )[:2]
    assert unreleased == "Unreleased"
    assert yaml.safe_load(words("CITATION.cff"))["version"] == newest
    project = tomllib.loads(words("pyproject.toml"))
    options = project["tool"]["hatch"]["version"]["raw-options"]
    assert options["fallback_version"] == newest


def test_the_paper_cites_what_the_book_cites():
    paper = ROOT / "paper/paper.md"
    head, text = paper.read_text(encoding="utf-8").split("---\n", 2)[1:]
    bibliography = (paper.parent / yaml.safe_load(head)["bibliography"]).read_text(
        encoding="utf-8"
    )
    cited = set(re.findall(r"@([a-z]+\d{4}\w*)", text))
    assert cited, "the paper cites nothing"
    assert cited <= set(re.findall(r"^@\w+\{(\w+),", bibliography, re.MULTILINE))
    for heading in ("Summary", "Statement of need", "Learning objectives"):
        assert f"\n# {heading}\n" in text


def test_targets_of_make_are_there():
    """Every `make x` that a page names."""
    targets = set(re.findall(r"^([a-z-]+):", words("Makefile"), re.MULTILINE))
    for page in PAGES:
        for name in re.findall(r"`make ([a-z-]+)", words(page)):
            assert name in targets, f"{page} names make {name}"
