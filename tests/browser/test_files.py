"""The page's files as they lie there: complete, and nothing that its policy would refuse."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from console import static_directory

FOLDER = static_directory()
PAGE = (FOLDER / "index.html").read_text()


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts = ""
        self.feed(PAGE)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] == "script":
            self.scripts += data.strip()


def addresses() -> set[str]:
    found = Elements().found
    return {
        address
        for tag, attrs in found
        for name in ("src", "href")
        if tag != "a" and (address := attrs.get(name))
    }


def modules() -> list[Path]:
    return [path for path in sorted(FOLDER.glob("*.js")) if path.name != "theme.js"]


def test_the_page_names_files_that_exist_and_nothing_from_elsewhere() -> None:
    assert addresses()
    for address in addresses():
        assert address.startswith("static/")
        assert (FOLDER / address.removeprefix("static/")).is_file(), address


def test_every_module_is_fetched_with_the_page() -> None:
    """Without the preload each import would be found only once its importer had arrived."""
    assert {f"static/{path.name}" for path in modules()} <= addresses()


def test_every_import_is_of_a_file_that_exists() -> None:
    imported: set[str] = set()
    for path in modules():
        names = re.findall(r'^(?:import|\} from|import .* from) "(.*)";$', path.read_text(), re.M)
        imported |= {str(name).removeprefix("./") for name in names}
    assert imported == {path.name for path in modules()} - {"main.js"}


def test_nothing_is_inline() -> None:
    elements = Elements()
    assert elements.scripts == ""
    for tag, attrs in elements.found:
        assert tag != "style"
        assert not [name for name in attrs if name == "style" or name.startswith("on")]


def test_the_policy_allows_nothing_but_the_page_itself() -> None:
    [policy] = [
        attrs["content"] or ""
        for tag, attrs in Elements().found
        if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    assert "default-src 'none'" in policy
    assert "require-trusted-types-for 'script'; trusted-types 'none'" in policy
    assert not re.search(r"unsafe|https?:|\*|data:|blob:", policy)


def test_no_code_makes_markup_from_text() -> None:
    for path in FOLDER.glob("*.js"):
        banned = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
        assert not re.search(banned, path.read_text()), path.name
