"""The pages' files as they lie there: complete, and nothing that their policy would refuse."""

from __future__ import annotations

import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from console import static_directory

FOLDER = static_directory()
PAGES = ("index.html", "console.html")
MODULES = sorted(path for path in FOLDER.rglob("*.js") if path.name != "theme.js")

each_page = pytest.mark.parametrize("page", PAGES)


class Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts = ""
        self.feed((FOLDER / page).read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] == "script":
            self.scripts += data.strip()


def addresses(page: str) -> set[str]:
    return {
        address
        for tag, attrs in Elements(page).found
        for name in ("src", "href")
        if tag != "a" and (address := attrs.get(name))
    }


def imports(path: Path) -> set[Path]:
    names = re.findall(r'^(?:import|\} from|import .* from) "(.*)";$', path.read_text(), re.M)
    return {Path(os.path.normpath(path.parent / str(name))) for name in names}


def modules(page: str) -> set[Path]:
    """The page's own module and all that it imports, and they in turn."""
    [entry] = [
        attrs["src"] or ""
        for tag, attrs in Elements(page).found
        if tag == "script" and attrs.get("type") == "module"
    ]
    found: set[Path] = set()
    left = {FOLDER / entry.removeprefix("static/")}
    while left:
        found |= left
        left = {path for module in left for path in imports(module)} - found
    return found


@each_page
def test_a_page_names_files_that_exist_and_nothing_from_elsewhere(page: str) -> None:
    assert addresses(page)
    for address in addresses(page):
        assert address.startswith("static/")
        assert (FOLDER / address.removeprefix("static/")).is_file(), address


@each_page
def test_every_module_is_fetched_with_its_page_and_no_other(page: str) -> None:
    """Without the preload each import would be found only once its importer had arrived."""
    fetched = {FOLDER / name.removeprefix("static/") for name in addresses(page)}
    assert {path for path in fetched if path.suffix == ".js"} - {FOLDER / "theme.js"} == modules(
        page
    )


def test_there_is_no_module_that_no_page_needs() -> None:
    assert sorted(set[Path]().union(*(modules(page) for page in PAGES))) == MODULES


@each_page
def test_nothing_is_inline(page: str) -> None:
    elements = Elements(page)
    assert elements.scripts == ""
    for tag, attrs in elements.found:
        assert tag != "style"
        assert not [name for name in attrs if name == "style" or name.startswith("on")]


@each_page
def test_the_policy_allows_nothing_but_the_page_itself(page: str) -> None:
    [policy] = [
        attrs["content"] or ""
        for tag, attrs in Elements(page).found
        if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    assert "default-src 'none'" in policy
    assert "require-trusted-types-for 'script'; trusted-types 'none'" in policy
    assert not re.search(r"unsafe|https?:|\*|data:|blob:", policy)


def test_no_code_makes_markup_from_text() -> None:
    assert MODULES
    for path in MODULES:
        banned = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
        assert not re.search(banned, path.read_text()), path.name
