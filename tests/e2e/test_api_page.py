"""The page of the native door's API in a real browser: find a call, sign in, try it, see the answer."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from support.browser import Browser, running
from support.server import PREFIX, Api, Server, serving

READY = "document.body.dataset.ready === 'yes'"


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as running_server:
        yield running_server


@pytest.fixture(scope="module")
def api(server: Server) -> Api:
    return server.application()


@pytest.fixture
def page(server: Server) -> Iterator[Browser]:
    with running() as browser:
        browser.look()
        browser.open(server.url + PREFIX + "/docs")
        browser.until(READY)
        yield browser
        assert not browser.complaints()
        outside = [url for url in browser.requests() if not url.startswith((server.url, "data:", "blob:", "about:"))]
        assert not outside


def sign_in(page: Browser, token: str) -> None:
    page.click("#who")
    page.until("document.activeElement.id === 'token'")
    page.type(token)
    page.press("Enter")


def answer(page: Browser, operation: str) -> str:
    page.until(f"document.querySelector('#{operation} .answer .status')")
    page.until(f"document.querySelector('#{operation} form').querySelector('button[hidden]')")
    return str(page.ask(f"document.querySelector('#{operation} .answer').innerText"))


def test_every_operation_is_shown_and_found(page: Browser, server: Server):
    shown = set(page.ask("[...document.querySelectorAll('details.op')].map((each) => each.id)"))
    assert shown == set(server.contract.operations)
    page.press("/")
    page.until("document.activeElement.id === 'search'")
    page.type("claim")
    page.until("document.getElementById('found').textContent")
    visible = page.ask(
        "[...document.querySelectorAll('details.op')].filter((each) => each.offsetParent).map((each) => each.id)"
    )
    assert "claimItem" in visible
    assert len(visible) < len(shown) / 4
    page.press("Enter")
    page.until("document.querySelectorAll('details.op[open] form').length === 1")
    page.press("ArrowDown")
    page.press("Escape")
    assert page.ask("location.hash") == "#" + visible[0]


def test_all_operations_open_without_an_error(page: Browser, server: Server):
    page.ask("document.querySelectorAll('details.op').forEach((each) => { each.open = true })")
    count = len(server.contract.operations)
    page.until(f"document.querySelectorAll('details.op form').length === {count}")
    page.ask("document.querySelectorAll('details.op details').forEach((each) => { each.open = true })")
    page.until("document.querySelectorAll('.tree').length > 50")
    assert page.ask("document.documentElement.scrollWidth <= innerWidth")
    bodies = page.ask("[...document.querySelectorAll('textarea')].map((each) => each.value).filter(Boolean)")
    for body in bodies:
        json.loads(body)


def test_a_call_is_tried_with_a_token(page: Browser, api: Api):
    page.click("#getMe > summary")
    page.until("document.querySelector('#getMe form')")
    page.click("#getMe button.do")
    assert "401" in answer(page, "getMe")
    sign_in(page, str(api.token))
    page.until(f"document.getElementById('who').textContent === {json.dumps(api.name)}")
    page.click("#getMe button.do")
    page.until("document.querySelector('#getMe .answer .status').textContent.startsWith('200')")
    assert api.name in answer(page, "getMe")
    curl = page.ask("document.querySelector('#getMe .curl').textContent")
    assert f"{PREFIX}/me'" in curl
    assert "$TOKEN" in curl
    kept = page.ask("JSON.stringify([Object.keys(localStorage), Object.keys(sessionStorage), document.cookie])")
    assert kept == '[[],[],""]'
    assert str(api.token) not in page.ask("document.documentElement.outerHTML")


def test_a_person_signs_in_and_starts_a_process(page: Browser, server: Server, api: Api):
    code = api.deploy(
        {"check": {"kind": "item", "task": "T"}}, tasks={"T": {}}, permissions={"initiator": ["role:everyone"]}
    )
    (user,) = [each for each in server.credentials["users"] if each["email"].startswith("ana")]
    page.click("#who")
    page.click("#name")
    page.type(user["email"])
    page.click("#secret")
    page.type("wrong")
    page.press("Enter")
    page.until("document.getElementById('sign-trouble').textContent")
    page.ask("document.getElementById('secret').select()")
    page.type(user["password"])
    page.press("Enter")
    page.until(f"document.getElementById('who').textContent === {json.dumps('user:' + user['email'])}")
    page.ask("location.hash = '#startProcess'")
    page.until("document.querySelector('#startProcess textarea').value.includes('definition')")
    page.click("#startProcess textarea")
    page.ask("document.querySelector('#startProcess textarea').select()")
    page.type(json.dumps({"definition": code}))
    page.press("Enter", control=True)
    text = answer(page, "startProcess")
    assert "201" in text
    assert '"status": "RUNNING"' in text
    assert api.get("/processes", definition=code)["items"][0]["created_by"] == f"user:{user['email']}"


def test_what_is_missing_is_pointed_at(page: Browser):
    page.ask("location.hash = '#getProcess'")
    page.until("document.querySelector('#getProcess form')")
    page.click("#getProcess button.do")
    page.until("document.activeElement.getAttribute('aria-invalid') === 'true'")
    assert not any(url.endswith("%7Bid%7D") for url in page.requests())


def test_a_file_is_stored_and_saved_again(page: Browser, api: Api, tmp_path):
    sign_in(page, str(api.token))
    page.until("!document.getElementById('sign').open")
    page.ask("location.hash = '#uploadDocument'")
    page.until("document.querySelector('#uploadDocument input[type=file]')")
    (tmp_path / "note.txt").write_text("from the page")
    found = page.send("Runtime.evaluate", expression="document.querySelector('#uploadDocument input[type=file]')")
    page.send("DOM.setFileInputFiles", files=[str(tmp_path / "note.txt")], objectId=found["result"]["objectId"])
    page.click("#uploadDocument button.do")
    text = answer(page, "uploadDocument")
    assert "201" in text
    id = json.loads(text[text.index("{") : text.rindex("}") + 1])["id"]
    assert api.request("GET", f"/documents/{id}/content").text == "from the page"
    page.ask("location.hash = '#downloadDocument'")
    page.until("document.querySelector('#downloadDocument form')")
    page.click("#downloadDocument td input")
    page.type(id)
    page.press("Enter")
    page.until("document.querySelector('#downloadDocument .answer a[download=\"note.txt\"]')")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_it_fits_and_can_be_read(page: Browser, dark: bool, width: int, tmp_path):
    page.look(dark=dark, width=width, height=900, phone=width < 500)
    here = page.ask("location.href")
    page.open("about:blank")
    page.until("location.href === 'about:blank'")
    page.open(f"{here}#startProcess")
    page.until(READY)
    page.until("document.querySelector('#startProcess form')")
    assert page.ask("document.documentElement.scrollWidth") <= width
    ground, text = page.ask("['backgroundColor', 'color'].map((name) => getComputedStyle(document.body)[name])")
    assert (ground < text) is dark or contrast(ground, text) > 7
    assert contrast(ground, text) > 7
    page.picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000


def contrast(one: str, other: str) -> float:
    """As WCAG reckons it."""

    def light(colour: str) -> float:
        parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)
