"""Links between Markdown files, as GitHub follows them; the site turns them into its own."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "*/weights/*.md", "evaluation/datasets/*/weights/*.md")
    for path in ROOT.glob(pattern)
)
CODE = re.compile(r"^```.*?^```$", re.M | re.S)
LINK = re.compile(r"\]\(([^)\s]*)\)")


def slugs(page):
    """Anchors of the headings of a page, by GitHub's rule."""
    found = []
    for heading in re.findall(r"^#+ (.*)$", CODE.sub("", page.read_text("utf-8")), re.M):
        text = re.sub(r"[^\w\- ]", "", re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).lower())
        slug = text.strip().replace(" ", "-")
        count = sum(
            re.fullmatch(re.escape(slug) + r"(-\d+)?", other) is not None for other in found
        )
        found.append(f"{slug}-{count}" if count else slug)
    return found


def test_slugs_are_github_s(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# The `jorder` command\n## Table 1\n```\n# no heading\n```\n## Table 1\n")
    assert slugs(page) == ["the-jorder-command", "table-1", "table-1-1"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    text = re.sub(r"`[^`\n]+`", "", CODE.sub("", page.read_text("utf-8")))
    for link in LINK.findall(text):
        if re.match(r"\w+:", link):
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.is_relative_to(ROOT) and file.exists(), f"{link}: no such file"
        if anchor:
            assert anchor in slugs(file), f"{link}: {file.name} has only {slugs(file)}"


def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = re.findall(r"^ +- .*?: (\S+\.md)$", text, re.M)
    assert len(named) == len(set(named))
    docs = {page.relative_to(ROOT / "docs").as_posix() for page in ROOT.glob("docs/**/*.md")}
    assert docs <= set(named)
