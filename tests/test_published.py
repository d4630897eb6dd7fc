"""What surrounds the pages: front page, gallery, cards for links, lost readers, paper,
the address, publishing.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import nbformat
import pytest
import yaml
from browsing import (
    CHAPTERS,
    DOCUMENTS,
    HTML,
    PAGES,
    ROOT,
    Elements,
    address,
    browser,
    serve,
    site,
    visit,
)
from PIL import Image

sys.path.insert(0, str(ROOT / "book"))
address_setting, front, gallery, screenshots = map(
    importlib.import_module, ("address", "front", "gallery", "screenshots")
)
sys.path.pop(0)

__all__ = ["address", "browser", "site", "visit"]  # fixtures
pages = pytest.mark.parametrize("page", PAGES)
BASE = "https://{}.github.io/{}/".format(*address_setting.slug().split("/"))


def words(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


# --- front page and gallery -----------------------------------------------------------


def test_strip_goes_from_noise_to_the_picture():
    """Its frames are small, of one size, and of one run whose loss falls; the first is
    noise, the last is not.
    """
    about = json.loads(words("book/images/strip/strip.json"))
    files = [front.STRIP / frame["file"] for frame in about["frames"]]
    assert {path.name for path in files} == {
        path.name for path in front.STRIP.glob("*.webp")
    }
    assert sum(path.stat().st_size for path in files) < 150_000
    losses = [frame["loss"] for frame in about["frames"]]
    assert losses == sorted(losses, reverse=True)
    assert {Image.open(path).size for path in files} == {
        tuple(about["frames"][0]["size"])
    }

    def roughness(path) -> float:
        grey = Image.open(path).convert("L")
        return (
            sum(
                abs(a - b)
                for a, b in zip(grey.tobytes(), grey.tobytes()[1:], strict=False)
            )
            / grey.width
        )

    assert roughness(files[0]) > 1.5 * roughness(files[-1])


def test_front_page_moves_once_and_stops_when_taken(visit):
    page = visit("book/index")
    strip = page.locator(".strip")
    button = strip.get_by_role("button", name="pause")
    output = strip.locator("output")
    page.wait_for_function("Number(document.querySelector('.strip input').value) > 1")
    button.click()
    stopped = output.inner_text()
    page.wait_for_timeout(1500)  # two frames, had it gone on
    assert output.inner_text() == stopped
    strip.get_by_role("button", name="play").click()
    page.wait_for_function(
        "was => document.querySelector('.strip output').innerText !== was", arg=stopped
    )
    strip.locator("input").focus()
    page.keyboard.press("End")
    strip.get_by_role("button", name="play").wait_for()
    assert output.inner_text() == str(
        json.loads(words("book/images/strip/strip.json"))["frames"][-1]["step"]
    )


def test_front_page_stands_still_where_less_motion_is_asked_for(visit):
    page = visit("book/index", reduced_motion="reduce")
    last = page.locator(".strip input").get_attribute("max")
    page.wait_for_timeout(1500)
    assert page.locator(".strip input").input_value() == last, (
        "it shows the finished picture"
    )
    assert page.locator(".strip").get_by_role("button", name="play").is_visible()


def test_front_page_offers_three_ways_and_the_commands(site):
    page = (site / "book/index.html").read_text(encoding="utf-8")
    links = {link.get("href") for link in Elements(site / "book/index.html").named("a")}
    assert page.count("entry-card") == 3
    assert {"../live/index.html", "gallery.html", address_setting.repository()} <= links
    text = re.sub(r"<[^>]*>", "", page)
    assert "make book" in text
    assert "make test" in text
    assert "{{" not in re.sub(r"<script.*?</script>", "", page, flags=re.S)


def test_times_of_the_front_page_are_the_records(site):
    text = re.sub(
        r"<[^>]*>|\s+", " ", (site / "book/index.html").read_text(encoding="utf-8")
    )
    rows = json.loads(words("notebooks/records/feed_forward.json"))["rows"]
    (half,) = [row for row in rows if row["size"] == 512]
    assert f"512 px {half['fast']:.2g} s" in re.sub(r" +", " ", text)
    assert front.values()["optimize_512"] == f"{half['seconds_500'] / 60:.0f} minutes"
    used = set(
        re.findall(
            r"\{\{ (\w+) \}\}",
            words("book/index.md")
            + words("book/_config.yml")
            + words("book/judges.md")
            + words("book/tested.md"),
        )
    )
    assert used == set(front.values()), (
        "every value is used, and every name has a value"
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0801, "0.08 s"), (20.7, "21 s"), (119.4, "119 s"), (384, "6 minutes")],
)
def test_times_are_said_in_two_digits(value, said):
    assert front.seconds(value) == said


def test_gallery_holds_every_photograph_in_every_style(site):
    images = Elements(site / "book/gallery.html").named("img")
    found = {
        re.sub(r"^gallery/|_192\.webp$", "", image.get("src") or "") for image in images
    }
    contents, styles = gallery.names("content"), gallery.names("style")
    assert len(contents) == len(styles) == 8
    assert {f"{content}_{style}" for content in contents for style in styles} <= found
    assert set(contents) <= found
    shown = [
        image for image in images if (image.get("src") or "").startswith("gallery/")
    ]
    assert len({image["alt"] for image in shown}) == len(shown)
    for image in shown:
        assert image["loading"] == "lazy"
        small, large = (part.split()[0] for part in image["srcset"].split(","))
        sizes = [max(Image.open(site / "book" / name).size) for name in (small, large)]
        assert sizes == list(gallery.SIZES)
        assert (int(image["width"]), int(image["height"])) == Image.open(
            site / "book" / large
        ).size


def test_gallery_shows_what_the_networks_paint(site):
    """One of the pictures is computed anew; it was stored as WebP, which
    changes values a little.
    """
    import torch

    from pltutorial import bundled, load_style, read_image, stylize

    photo, network = (
        read_image(bundled("content/coffee"), 384),
        load_style("eight_styles"),
    )
    painted = stylize(photo, "poppies", network=network)
    file = site / "book/gallery/coffee_poppies_384.webp"
    stored = torch.frombuffer(
        bytearray(Image.open(file).convert("RGB").tobytes()), dtype=torch.uint8
    )
    stored = stored.view(painted.shape[2], painted.shape[3], 3).permute(2, 0, 1) / 255
    assert (painted[0].float().cpu() - stored).abs().mean() < 0.04
    other = read_image(bundled("content/coffee"), 384)[0]
    assert (painted[0].float().cpu() - other).abs().mean() > 0.08


def test_gallery_names_every_author_and_licence(site):
    text = (site / "book/gallery.html").read_text(encoding="utf-8")
    for content in gallery.names("content"):
        row = gallery.sources()[f"content/{content}"]
        assert f"Photograph: {row['author']}, {row['licence']}." in text


def test_phone_takes_the_small_thumbnails(visit):
    page = visit("book/gallery", 390, 844)
    image = page.locator(".gallery img").first
    image.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('.gallery img').complete")
    assert image.evaluate("image => image.currentSrc").endswith("_192.webp")
    assert page.locator(".gallery figure").nth(1).bounding_box()["x"] > 100, (
        "two in a row"
    )


# --- what others read of the site -----------------------------------------------------


@pages
def test_page_has_language_description_and_card(site, page):
    elements = Elements(site / f"{page}.html")
    assert elements.named("html")[0]["lang"] == "en"
    tags = {
        tag.get("name") or tag.get("property"): tag.get("content")
        for tag in elements.named("meta")
    }
    assert 30 <= len(tags["description"]) <= 160
    assert tags["og:description"] == tags["description"]
    assert tags["twitter:card"] == "summary_large_image"
    assert tags["og:title"]
    assert tags["og:url"] == f"{BASE}{page}.html"
    assert tags["og:image"].startswith(BASE)
    assert Image.open(site / tags["og:image"].removeprefix(BASE)).size == (1200, 630)
    links = {link.get("rel"): link.get("href") for link in elements.named("link")}
    assert links["canonical"] == f"{BASE}{page}.html"
    icon = next(href for rel, href in links.items() if "icon" in rel)
    assert ((site / f"{page}.html").parent / icon).exists()


def test_descriptions_differ(site):
    told = [
        next(
            tag["content"]
            for tag in Elements(site / f"{page}.html").named("meta")
            if tag.get("name") == "description"
        )
        for page in (
            *CHAPTERS,
            "book/index",
            "book/gallery",
            "book/api",
            "book/glossary",
            "book/tested",
        )
    ]
    assert len(set(told)) == len(told)


def test_sitemap_and_robots_name_every_page(site):
    tree = ElementTree.parse(site / "sitemap.xml").getroot()
    listed = [
        element.text
        for element in tree.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")
    ]
    assert {f"{BASE}{name}.html" for name in DOCUMENTS} | {
        f"{BASE}live/index.html"
    } == set(listed)
    assert len(set(listed)) == len(listed)
    assert (
        f"Sitemap: {BASE}sitemap.xml"
        in (site / "robots.txt").read_text(encoding="utf-8").splitlines()
    )


def test_the_sites_own_address_has_a_card_and_leads_on(site):
    head = Elements(site / "index.html").named("meta")
    assert any(tag.get("property") == "og:image" for tag in head)
    assert any(
        (tag.get("content") or "").endswith("url=book/index.html") for tag in head
    )


@pytest.mark.parametrize("folder", ["", "pltutorial/"])
@pytest.mark.parametrize("wrong", ["nothing.html", "notebooks/03_style/deep/er.html"])
def test_lost_readers_find_the_way(site, browser, tmp_path, folder, wrong):
    """The page that answers a wrong address works at any depth, in any
    folder of a server.
    """
    (tmp_path / "root").mkdir()
    if folder:
        (tmp_path / "root" / folder.strip("/")).symlink_to(site)
    else:
        (tmp_path / "root").rmdir()
        (tmp_path / "root").symlink_to(site)

    server = serve(tmp_path / "root")
    page = browser.new_page()
    try:
        root = f"http://127.0.0.1:{server.server_port}/"
        assert page.goto(f"{root}{folder}{wrong}").status == 404
        page.wait_for_function(
            f"document.links[0].href === {root + folder + 'book/index.html'!r}"
        )
        page.get_by_role("searchbox").fill("Gram")
        assert page.locator("form").get_attribute("action") == f"/{folder}search.html"
        page.get_by_role("link", name="gallery").click()
        page.wait_for_url("**/book/gallery.html")
        assert page.locator("article h1").inner_text().startswith("Gallery")
    finally:
        page.close()
        server.shutdown()
        server.server_close()


# --- the way through ------------------------------------------------------------------


@pytest.mark.parametrize("page", CHAPTERS)
def test_chapter_has_neighbours_crumbs_and_the_live_page(site, page):
    elements = Elements(site / f"{page}.html")
    classes = [
        (tag.get("class") or "", tag.get("href") or "") for tag in elements.named("a")
    ]
    number = DOCUMENTS.index(page)
    wanted = {"left-prev": DOCUMENTS[number - 1], "right-next": DOCUMENTS[number + 1]}
    for kind, name in wanted.items():
        (href,) = {href for found, href in classes if found == kind}
        assert ((site / page).parent / href).resolve() == (
            site / f"{name}.html"
        ).resolve()
    assert "../live/index.html" in {href for _, href in classes}
    assert "../book/index.html#chapters" in {href for _, href in classes}
    (crumb,) = re.findall(
        r'<li aria-current="page">([^<]+)</li>',
        (site / f"{page}.html").read_text(encoding="utf-8"),
    )
    assert crumb.startswith(f"{int(page[10:12])}. ")


def test_link_to_the_section_in_view_is_copied(visit):
    page = visit("book/api/losses", permissions=["clipboard-read", "clipboard-write"])
    page.evaluate("document.querySelector('section#style-loss').scrollIntoView()")
    page.wait_for_function(  # the page scrolls smoothly
        "document.querySelector('section#style-loss').getBoundingClientRect()"
        ".top < innerHeight / 4"
    )
    # Dispatched: to click, Playwright would scroll to where the sticky header would
    # stand without sticking.
    page.locator("button[onclick='copyLink()']").dispatch_event("click")
    page.get_by_role("status").filter(has_text="copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()").endswith(
        "book/api/losses.html#style-loss"
    )


def test_drawings_turn_dark_and_paper_stays_white(visit):
    page = visit("notebooks/01_pixel_loss", scheme="dark")
    filters = "all => [...new Set(all.map(image => getComputedStyle(image).filter))]"
    (drawing,) = page.eval_on_selector_all("article img.curves", filters)
    assert "invert" in drawing
    assert page.eval_on_selector_all(
        "article .cell_output img:not(.curves)", filters
    ) == ["none"]
    ground = (
        "getComputedStyle(document.querySelector('article .cell_input "
        "pre')).backgroundColor"
    )
    dark = page.evaluate(ground)
    page.emulate_media(media="print")
    page.wait_for_function("document.documentElement.dataset.theme === 'light'")
    assert page.eval_on_selector_all("article img.curves", filters) == ["none"]
    assert page.evaluate(ground) != dark
    page.emulate_media(media="screen")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")


def test_chapter_prints_whole(visit):
    """Answers and all frames of the sliders are on paper; buttons and menus are not."""
    page = visit("notebooks/01_pixel_loss")
    page.emulate_media(media="print")
    frames = page.locator(".frame-slider figure")
    assert all(frame.is_visible() for frame in frames.all())
    for hidden in (
        ".bd-sidebar-primary",
        ".article-header-buttons",
        ".frame-slider button",
        ".frame-slider input",
    ):
        assert not page.locator(hidden).first.is_visible(), hidden
    shown = page.eval_on_selector(
        "article details:not([class])",
        "answer => answer.lastElementChild.checkVisibility({contentVisibilityAuto: "
        "true, visibilityProperty: true})",
    )
    assert shown
    assert len(page.pdf()) > 100_000


# --- the address, and publishing ------------------------------------------------------


def test_printed_pages_become_one_book(browser, address, tmp_path, monkeypatch):
    pypdf = pytest.importorskip(
        "pypdf", reason="pypdf is not installed: pip install pypdf"
    )
    monkeypatch.setattr(screenshots, "ROOT", tmp_path)
    printed = dict(
        screenshots.print_page(browser, address, name)
        for name in ("book/bibliography", "book/tested")
    )
    assert list(printed.values()) == ["Bibliography", "How this book is tested"]
    book = pypdf.PdfReader(screenshots.bind(printed, tmp_path / "book.pdf"))
    counts = [len(pypdf.PdfReader(path).pages) for path in printed]
    assert len(book.pages) == sum(counts) > 2
    marks = [mark for mark in book.outline if not isinstance(mark, list)]
    assert [mark.title for mark in marks] == list(printed.values())
    assert [book.get_destination_page_number(mark) for mark in marks] == [0, counts[0]]
    assert "perceptual" in " ".join(page.extract_text() for page in book.pages).lower()


def test_every_copy_of_the_address_is_the_setting():
    found = 0
    for path in address_setting.copies():
        for match in address_setting.PLACES.finditer(path.read_text(encoding="utf-8")):
            found += 1
            assert match[2] == address_setting.slug(), (
                f"{path.name}: run `python book/address.py`"
            )
    assert found >= len(CHAPTERS) + 1, "each chapter's first cell and CITATION.cff"
    for path in (ROOT / "book").rglob("*"):
        if path.suffix in (".md", ".yml", ".html", ".js", ".css", ".py"):
            assert address_setting.repository() not in path.read_text(
                encoding="utf-8"
            ), path.name


def test_address_is_carried_to_its_copies(tmp_path, monkeypatch, capsys):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").write_text(
        '[project.urls]\nRepository = "https://github.com/me/my-fork/"\n'
    )
    (tmp_path / "CITATION.cff").write_text(
        "repository-code: https://github.com/a/b\nurl: https://github.com/x/y\n"
    )
    (tmp_path / "README.md").write_text("nothing to change")
    cell = nbformat.v4.new_code_cell("%pip install git+https://github.com/a/b")
    nbformat.write(
        nbformat.v4.new_notebook(cells=[cell]), tmp_path / "notebooks" / "01_a.ipynb"
    )
    monkeypatch.setattr(address_setting, "ROOT", tmp_path)
    address_setting.main()
    assert capsys.readouterr().out.split() == ["CITATION.cff", "notebooks/01_a.ipynb"]
    assert (tmp_path / "CITATION.cff").read_text() == (
        "repository-code: https://github.com/me/my-fork\nurl: https://github.com/x/y\n"
    )
    assert (
        nbformat.read(tmp_path / "notebooks/01_a.ipynb", 4)
        .cells[0]
        .source.endswith("github.com/me/my-fork")
    )


def test_workflow_asks_for_little_and_pins_what_it_uses():
    flow = yaml.safe_load(words(".github/workflows/book.yml"))
    assert flow["permissions"] == {"contents": "read"}
    assert flow["jobs"]["publish"]["permissions"] == {
        "pages": "write",
        "id-token": "write",
    }
    assert flow["jobs"]["publish"]["needs"] == "test"
    steps = [step for job in flow["jobs"].values() for step in job["steps"]]
    assert all(
        re.search(r"@v\d+\.\d+\.\d+$", step["uses"]) for step in steps if "uses" in step
    )
    commands = [step["run"].strip() for step in steps if "run" in step]
    assert ".ci/run" in commands
    assert os.access(ROOT / ".ci/run", os.X_OK)
    (kept,) = [
        step["with"]["path"]
        for step in steps
        if "upload-pages-artifact" in step.get("uses", "")
    ]
    assert ROOT / kept == HTML


def test_binder_installs_what_everybody_installs():
    environment = yaml.safe_load(words(".binder/environment.yml"))
    assert "pip" in environment["dependencies"]
    install = ROOT / ".binder/postBuild"
    assert os.access(install, os.X_OK)
    subprocess.run(["bash", "-n", str(install)], check=True)
    (asked,) = re.findall(r'--editable "\.\[([\w,]+)\]"', words(".binder/postBuild"))
    (conda,) = re.findall(r"--editable \.\[([\w,]+)\]", words("environment.yml"))
    assert asked == conda
    assert "--constraint requirements.lock" in words(".binder/postBuild")


def test_screenshots_of_the_readme_are_small():
    named = re.findall(
        r"book/images/screenshots/[\w-]+\.(?:webp|jpg)", words("README.md")
    )
    assert len(set(named)) == 2
    for name in named:
        data = (ROOT / name).read_bytes()
        assert len(data) < 60_000
        assert Image.open(io.BytesIO(data)).width >= 390
