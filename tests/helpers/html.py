"""Read a published HTML page: its structure, and the cells of its tables."""

import re
from html import unescape
from html.parser import HTMLParser

VOID_TAGS = {"input", "meta", "link", "rect", "br"}


class PageOutline(HTMLParser):
    """The tags, links and anchors of a page, and every tag that is not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.mistakes: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.tags: set[str] = set()

    @classmethod
    def of_page(cls, page: str) -> "PageOutline":
        outline = cls()
        outline.feed(page)
        outline.close()
        assert {"html", "table"} <= outline.tags
        return outline

    @property
    def targets(self) -> set[str]:
        return {link.removeprefix("#") for link in self.links if link.startswith("#")}

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attributes:
            if name in {"href", "src"}:
                self.links.append(value or "")
            if name == "id":
                self.anchors.add(value or "")
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.mistakes.append(f"</{tag}> at {self.getpos()}")


def assert_well_formed(page: str) -> None:
    outline = PageOutline.of_page(page)
    assert outline.mistakes == []
    assert outline.open == []


NAME = r"[\w-]+(?:\.zh)?\.html"
REPORT_LINK = re.compile(rf"(?:\.\./)?(?:(?:date=[\d-]+|weeks|months)/)?{NAME}(?:#[\w-]+)?")


def assert_self_contained(page: str, *, may_have_script: bool = False) -> None:
    """Check that the page requests nothing; its links lead to anchors and reports of the home."""
    outline = PageOutline.of_page(page)
    assert "//" not in page
    assert "@import" not in page
    assert "url(" not in page
    forbidden = {"img", "iframe", "object", "embed", "form"}
    assert not outline.tags & (forbidden if may_have_script else forbidden | {"script"})
    others = [link for link in outline.links if not REPORT_LINK.fullmatch(link)]
    assert all(link.startswith("#") or link == "data:," for link in others)
    assert "default-src 'none'" in page
    assert outline.targets or may_have_script
    assert outline.targets <= outline.anchors


def table_rows(page: str) -> list[str]:
    """Return the rows of all tables as text, cells separated by ` | `."""
    rows = re.findall(r"<tr(?: [^>]*)?>(.*?)</tr>", page, flags=re.DOTALL)
    texts = [
        [unescape(re.sub(r"<[^>]*>", "", cell)) for cell in re.split(r"</t[dh]>", row)[:-1]]
        for row in rows
    ]
    return [" | ".join(" ".join(cell.split()) for cell in row) for row in texts]


def page_text(html: str) -> str:
    """Return the text of a page or of a part of it, with single spaces."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def section_text(page: str, anchor: str) -> str:
    """Return the text of one section of a page."""
    found = re.search(rf'<section id="{anchor}">.*?</section>', page, re.DOTALL)
    assert found
    return page_text(found[0])
