"""The form of the pages: what may be a block, where links lead, and that what is shown of a file is what stands in it."""

from __future__ import annotations

import re

import pytest

from docs import pages
from docs.pages import ROOT

KINDS = {"sh", "sh stays", "sh fails", "console", "text", "yaml", "json", "python", "toml", "ini", "nginx", "sql"}

NOT_RUN = {
    ("CONTRIBUTING.md", "make setup    # .venv with pinned versions; Python 3.11 or newer is all it needs"): (
        "installs everything anew and runs all tests, this one among them"
    ),
    ("docs/how-to/operating.md", "sudo useradd --system --create-home --home-dir /var/lib/penstock penstock"): (
        "needs root, and installs packages from elsewhere"
    ),
    ("docs/how-to/operating.md", "sudo systemctl daemon-reload"): "needs root and systemd",
}
"""Every `console` block, by page and first line, and why no test can run it."""

COMMAND = re.compile(
    r"\s*[$#] |\s*(?:sudo|apt|apt-get|make|curl|export|penstock|python3?|pip|git|systemctl|docker|\.venv/bin/\S+)\s"
)
ADDRESS = re.compile(r"https?://([^/\s:\"'$]+)")
NEAR = {
    "127.0.0.1",
    "169.254.169.254",  # named to show that the server does not call it
    "login.example.com",  # told to a server that does not ask there
}
PAGES = {name: pages.read(name) for name in pages.names()}
BLOCKS = [block for page in PAGES.values() for block in page.blocks if not block.interrupts]


def test_there_are_pages_and_blocks():
    assert {"README.md", "CONTRIBUTING.md", "docs/api.md", "examples/licence_audit/README.md"} <= PAGES.keys()
    assert sum(block.kind == "sh" for block in BLOCKS) > 40


def test_every_block_says_what_it_is():
    assert [f"{block} {block.info!r}" for block in BLOCKS if block.info not in KINDS] == []


def test_what_is_a_command_is_fenced_as_one():
    others = [block for block in BLOCKS if block.kind not in {"sh", "console"} and not block.printed]
    assert [str(block) for block in others if COMMAND.match(block.text)] == []


def test_what_is_not_run_has_a_reason():
    found = {(block.page, block.text.split("\n")[0]) for block in BLOCKS if block.kind == "console"}
    assert found == NOT_RUN.keys()


def test_no_block_asks_another_machine():
    found = {(str(block), host) for block in BLOCKS if block.kind == "sh" for host in ADDRESS.findall(block.text)}
    assert {(block, host) for block, host in found if host not in NEAR} == set()


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    text = re.sub(r"^```.*?^```", "", (ROOT / name).read_text(), flags=re.MULTILINE | re.DOTALL)
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", text):
        if target.startswith(("http://", "https://")):
            continue
        place = (ROOT / name).parent / target if target else ROOT / name
        assert place.exists(), f"{name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", place.read_text(), re.MULTILINE)
            assert anchor in {slug(each) for each in headings}, f"{name}: {target}#{anchor}"


def slug(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize(
    ("page", "kind", "file"),
    [
        ("docs/how-to/first-workflow.md", "yaml", "examples/hello/definition.yaml"),
        ("docs/how-to/first-workflow.md", "python", "examples/hello/worker.py"),
    ],
)
def test_what_is_shown_of_a_file_stands_in_it(page, kind, file):
    shown = [block.text for block in PAGES[page].blocks if block.kind == kind]
    assert any((ROOT / file).read_text().endswith(text) for text in shown)


def test_worker_page_shows_a_module_that_imports():
    shown = next(block.text for block in PAGES["docs/how-to/worker.md"].blocks if block.kind == "python")
    space: dict[str, object] = {}
    exec(compile(shown, "worker.md", "exec"), space)  # noqa: S102
    assert space["worker"].topics == ("loan.check", "loan.score")
