"""The main job, from nothing to its end: `make demo`.

Starts a server, a worker and an endpoint of its own; deploys the licence audit, runs it over the Python packages of this
machine, answers its form as a person would, and checks that every number adds up. Exit code 0 only if it does.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import random
import shutil
import statistics
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples.licence_audit import licences, packages
from examples.licence_audit.running import ROOT, DemoFailed, Endpoint, Program, free_port, limited
from examples.licence_audit.showing import Screen

from penstock.client import Client, ClientError, Retry, models

PERSON = "ana@example.com"
COOL_OFF = 2.0
PATIENCE = Retry(attempts=60, delay=0.1, cap=1.0)
"""A server that is being started again is waited for."""

Checks = list[tuple[bool, str]]


def main() -> int:
    options = _options()
    screen = Screen()
    data = options.data.absolute()
    server = Program("server", [], data / "server.log", "ready http://")
    worker = Program("worker", [], data / "worker.log", " at http://")
    try:
        with limited(options.timeout), ExitStack() as stack:
            stack.enter_context(_folder(data, keep=options.keep))
            endpoint = Endpoint()
            stack.enter_context(endpoint.serving())
            stack.callback(server.stop)
            stack.callback(worker.stop)
            stack.callback(screen.close)
            return _run(options, screen, server, worker, endpoint)
    except (DemoFailed, ClientError) as error:
        screen.failed(str(error), [(str(each.log), each.tail()) for each in (server, worker)])
        return 1
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace, screen: Screen, server: Program, worker: Program, endpoint: Endpoint) -> int:
    data = options.data.absolute()
    screen.title("Penstock: the licences of the Python packages on this machine")
    port = free_port()
    server.arguments = ["dev", "--data", str(data / "server"), "--port", str(port)]
    server.start()
    screen.stage("server", f"http://127.0.0.1:{port} (pid {server.pid})")
    credentials = data / "server" / "credentials.json"
    target = "examples.licence_audit.worker:worker"
    worker.arguments = ["worker", target, "--credentials", str(credentials)]
    worker.start()
    screen.stage("worker", f"{target} (pid {worker.pid})")
    with Client.from_credentials(credentials, retry=PATIENCE) as client:
        audit = Audit(client, screen, endpoint)
        audit.start(options)
        with _killing(server, audit, options.kill) as killed:
            audit.follow([server, worker] if not options.kill else [worker])
        audit.finish()
        checks = audit.checks(options.limit)
        if options.kill:
            checks.append(
                (len(killed) == options.kill, f"the server was killed (kill -9) {len(killed)} times on the way")
            )
        return _conclude(audit, checks, data, killed)


class Audit:
    """One process of the audit, seen from outside over the API."""

    def __init__(self, client: Client, screen: Screen, endpoint: Endpoint) -> None:
        self.client = client
        self.screen = screen
        self.endpoint = endpoint
        self.id = str(uuid.uuid4())
        self.done = self.total = 0
        self.item: models.Item | None = None
        self.visits: list[models.Visit] = []
        self.counters: dict[str, int] = {}
        self.process: models.Process
        self._told: set[str] = set()

    def start(self, options: argparse.Namespace) -> None:
        deployed = self.client.definitions.deploy((Path(__file__).parent / "definition.yaml").read_bytes())
        self.screen.stage("deploy", f"{deployed.code}, version {deployed.version}")
        given: dict[str, Any] = {
            "cool_off": f"PT{COOL_OFF:g}S", "publish_to": self.endpoint.url, "pace": options.pace, "limit": options.limit,
        }  # fmt: skip
        given = {name: value for name, value in given.items() if value is not None}
        self.client.processes.start("licence-audit", given, id=self.id)
        self.screen.stage("start", f"process {self.id}")

    def follow(self, programs: list[Program]) -> None:
        """To the end of the process. Raises: DemoFailed on an incident, or when it ends otherwise."""
        while True:
            self.process = self.client.processes.get(self.id)
            self.visits = [*self.client.processes.visits.all(self.id, limit=200)]
            if self.process.status == "FAILED":
                raise DemoFailed(f"process {self.id} has an incident: {self._failures()}")
            self._tell()
            if self.process.status == "COMPLETED":
                return
            if self.process.status not in ("RUNNING", "RETRYING"):
                raise DemoFailed(f"process {self.id} is {self.process.status}")
            if self._open("decide"):
                self._answer()
            for program in programs:
                program.check()
            time.sleep(0.15)

    def finish(self) -> None:
        found = self.client.processes.values(self.id).list.all(limit=200)
        self.counters = {each.key: each.value for each in found}
        if self.item is not None:
            self.item = self.client.items.get(self.item.id)

    def judged(self) -> list[models.Visit]:
        return [visit for visit in self.visits if visit.node == "judge"]

    def node(self, code: str) -> models.Visit | None:
        return next((visit for visit in self.visits if visit.node == code), None)

    def _open(self, code: str) -> bool:
        visit = self.node(code)
        return visit is not None and visit.ended_at is None

    def _failures(self) -> str:
        return "; ".join(f"{each.node}: {each.failure.message}" for each in self.visits if each.failure) or "unknown"

    def _tell(self) -> None:
        """A line for each stage that has come to its end since the last look."""
        if collect := self._ended("collect"):
            where = len(collect.output["folders"])
            self.total = len(collect.output["packages"])
            self.screen.stage("collect", f"{self.total} packages installed in {where} folders")
        self.done = sum(visit.state == "COMPLETED" for visit in self.judged())
        if self.total and "classify" not in self._told:
            self.screen.progress(self.done, self.total)
        if self._ended("classify"):
            unknown = sum((visit.output or {}).get("family") == licences.UNKNOWN for visit in self.judged())
            self.screen.stage("classify", f"{self.done} judged, {unknown} of them unknown")
        if self._ended("cool_off"):
            self.screen.stage("cool off", f"a timer of {COOL_OFF:g} s before anything leaves the house")
        if publish := self._ended("publish"):
            self.screen.stage("publish", f"POST {self.endpoint.url}: {publish.output['receipt']}")
        if self._ended("report"):
            self.screen.stage("report", "written; the process is over")

    def _ended(self, code: str) -> models.Visit | None:
        """The node's visit, the first time it is seen to have ended."""
        visit = self.node(code)
        if visit is None or visit.ended_at is None or code in self._told:
            return None
        self._told.add(code)
        return visit

    def _answer(self) -> None:
        """What a person does: log in, look into the inbox, read the form, look it up, answer."""
        with self.client.as_user(PERSON) as person:
            found = person.items.list(process=self.id, mine=True, state=["READY", "CLAIMED"]).items
            if not found:
                return  # answered in the meantime
            item = person.items.claim(found[0].id)
            decisions = [
                _decide(packages.Package(each["name"], each["version"], each["path"])) for each in item.data["packages"]
            ]
            self.item = person.items.complete(item.id, {"decisions": decisions})
        names = ", ".join(
            f"{each['name']}: {answer['licence']}"
            for each, answer in zip(item.data["packages"], decisions, strict=True)
        )
        self.screen.stage("decide", f"{PERSON} filled in the form ({names})", "yellow")

    def checks(self, limit: int | None) -> Checks:
        """What must be true of a run, whatever happened on the way."""
        outputs = [visit.output for visit in self.judged()]
        by_licence = {f"licence:{key}": count for key, count in Counter(each["licence"] for each in outputs).items()}
        by_family = {f"family:{key}": count for key, count in Counter(each["family"] for each in outputs).items()}
        counted = sum(count for key, count in self.counters.items() if key.startswith("licence:"))
        here, numbers = len(packages.installed()[:limit]), self.process.output["numbers"]
        paths = {each["path"] for each in outputs}
        received = list(self.endpoint.received.values())
        cool_off = self.node("cool_off")
        assert cool_off is not None
        assert cool_off.started_at is not None
        assert cool_off.ended_at is not None
        waited = (cool_off.ended_at - cool_off.started_at).total_seconds()
        unknown = sum(each["family"] == licences.UNKNOWN for each in outputs)
        checks = [
            (self.total == here, f"{self.total} packages collected, {here} are installed"),
            (len(outputs) == len(paths) == self.total, f"{len(outputs)} judged, each of them once"),
            (counted == self.total, f"the counters add up to {counted}"),
            (by_licence | by_family == self.counters, "every single counter is what the results say"),
            (sum(numbers["licences"].values()) == self.total, "the report's licences add up"),
            (sum(numbers["families"].values()) == self.total, "the report's families add up"),
            (numbers["decided"] == unknown, f"{unknown} unknown, {numbers['decided']} decided by a person"),
            (waited >= COOL_OFF, f"the cool-off took {waited:.2f} s"),
            ([each["numbers"] for each in received] == [numbers], "the endpoint got the same numbers, once"),
        ]
        if self.item is not None:
            by = self.item.ended_by
            checks.append((by == f"user:{PERSON}", f"the form was answered by {by}"))
        return checks


def _decide(package: packages.Package) -> dict[str, Any]:
    """As a person would: open the licence file that came with the package."""
    for name, text in packages.licence_texts(package):
        if licence := licences.recognise(text):
            family = licences.family_of(licence)
            return {"path": package.path, "licence": licence, "family": family, "note": f"the text in {name}"}
    note = "no licence text is installed with it: to be asked for"
    return {"path": package.path, "licence": licences.UNKNOWN, "family": licences.UNKNOWN, "note": note}


def _conclude(audit: Audit, checks: Checks, data: Path, killed: list[int]) -> int:
    screen, numbers = audit.screen, audit.process.output["numbers"]
    report = data / "report.md"
    report.write_text(audit.process.output["report"])
    judged = audit.judged()
    took = [
        (visit.ended_at - visit.started_at).total_seconds() for visit in judged if visit.ended_at and visit.started_at
    ]
    notes = {
        "classify": f"{len(judged)} jobs, median {statistics.median(took) * 1000:.0f} ms" if took else "",
        "decide": PERSON,
    }
    screen.console.print()
    screen.timeline(audit.visits, notes)
    screen.licences(
        ((key, licences.family_of(key), count) for key, count in numbers["licences"].items()), numbers["packages"]
    )
    screen.checks(checks)
    good = all(each for each, _ in checks)
    summary = {"process": audit.id, "numbers": numbers, "counters": audit.counters, "killed": killed, "ok": good}
    (data / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    folder = _shown(data / "server")
    screen.pairs(
        "Where to look",
        [
            ("the report", _shown(report)),
            ("logs", f"{_shown(data / 'server.log')}, {_shown(data / 'worker.log')}"),
            ("serve it again", f".venv/bin/penstock dev --data {folder} --port 8080"),
            ("and there", f"export PENSTOCK_CREDENTIALS={folder}/credentials.json"),
            ("the process", f".venv/bin/penstock show {audit.id}"),
            ("the API", "http://127.0.0.1:8080/api/v1/docs"),
        ],
    )
    if not good:
        screen.failed("something does not add up", [])
    return 0 if good else 1


@contextmanager
def _killing(server: Program, audit: Audit, times: int) -> Iterator[list[int]]:
    """Kills the server at random moments of the classification, and starts it again. Gives the pids that died."""
    killed: list[int] = []
    trouble: list[Exception] = []
    over = threading.Event()
    dice = random.Random()  # noqa: S311 - not a secret

    def kill() -> None:
        for number in range(times):
            part = (number + dice.random()) / times
            while audit.total == 0 or audit.done < 0.8 * part * audit.total:
                if over.wait(0.02):
                    return
            over.wait(dice.uniform(0, 0.3))
            pid = server.pid
            server.kill()
            killed.append(pid)
            audit.screen.stage("kill -9", f"server {pid} at {audit.done} of {audit.total}", "red")
            over.wait(dice.uniform(0, 1))
            server.start()
            audit.screen.stage("server", f"back as pid {server.pid}")

    def guarded() -> None:
        try:
            kill()
        except Exception as error:  # noqa: BLE001 - told where somebody can hear it
            trouble.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join(90)
    if trouble:
        raise DemoFailed(f"the server did not come back: {trouble[0]}")


@contextmanager
def _folder(data: Path, *, keep: bool) -> Iterator[None]:
    """The demo's own, emptied unless it is to be kept. One demo at a time; a folder that is not ours is left alone."""
    mark = data / ".licence-audit-demo"
    if data.exists() and any(data.iterdir()) and not mark.exists():
        raise DemoFailed(f"{data} was not made by this demo; name another with --data")
    data.mkdir(parents=True, exist_ok=True)
    with mark.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DemoFailed(f"another demo runs in {data}; name another folder with --data") from None
        for each in data.iterdir():
            if not keep and each != mark:
                shutil.rmtree(each) if each.is_dir() else each.unlink()
        yield


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo.py", description="Audit the licences of this machine's Python packages."
    )
    parser.add_argument("--data", type=Path, default=ROOT / "var" / "demo", help="folder of the demo (var/demo)")
    parser.add_argument("--keep", action="store_true", help="go on with the data of the last run")
    parser.add_argument("--limit", type=int, metavar="N", help="look at N packages only")
    parser.add_argument("--pace", type=float, default=0.0, metavar="S", help="seconds each package takes, about (0)")
    parser.add_argument("--kill", type=int, default=0, metavar="N", help="kill -9 the server N times on the way")
    parser.add_argument("--timeout", type=float, default=180.0, metavar="S", help="give up after S seconds (180)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
