"""`penstock test`: runs the cases beside definitions, on a virtual clock, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.output import Output, console, plain

if TYPE_CHECKING:
    from rich.console import Console

    from penstock.simulation import FileReport
    from penstock.simulation.coverage import Coverage
    from penstock.simulation.telling import Line

_STYLES = {"good": "green", "bad": "bold red", "dim": "dim", "strong": "bold", "yaml": "cyan"}


def register(app: typer.Typer) -> None:
    app.command("test", rich_help_panel="Definitions")(run)


def run(
    flows: Annotated[
        list[Path], typer.Argument(metavar="FLOW…", help="Definitions, NAME.tests.yaml files, or folders of them.")
    ],
    *,
    pattern: Annotated[
        str | None, typer.Option("-k", metavar="PATTERN", help="Part of a name, or one with * and ? for the whole.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Timelines of cases that pass, too.")] = False,
    coverage: Annotated[bool, typer.Option("--coverage", help="Say which nodes and flows no case took.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Run the cases of definitions in memory, on a virtual clock: no server, no database, no network.

    Exit code 1: a case failed, or a file has problems; 2: there is nothing to test.
    """
    from penstock import simulation  # noqa: PLC0415 - only when it is used

    try:
        files = simulation.find(flows)
    except simulation.NothingToTest as error:
        raise typer.BadParameter(str(error), param_hint="FLOW") from error
    out = Output(as_json=as_json)
    shown = console()
    reports: list[FileReport] = []
    for path in files:
        report = simulation.run_tests(path, pattern)
        reports.append(report)
        if not as_json and (report.problems or report.cases):
            _print_file(shown, report, verbose=verbose)
    if pattern is not None and not any(report.problems or report.cases for report in reports):
        raise typer.BadParameter(f"no case is called {pattern!r}", param_hint="-k")
    bare = simulation.untested(flows) if coverage else []
    out.show(_plain(reports, bare, coverage=coverage), lambda to: _print_end(to, reports, bare, coverage=coverage))
    if not all(report.ok for report in reports):
        raise typer.Exit(1)


def _plain(reports: list[FileReport], bare: list[Coverage], *, coverage: bool) -> dict[str, Any]:
    import msgspec  # noqa: PLC0415

    cases = [case for report in reports for case in report.cases]
    files = [msgspec.to_builtins(report) for report in reports]
    for each in files:
        del each["coverage"]
    found = {
        "ok": all(report.ok for report in reports),
        "cases": len(cases),
        "failed": sum(not case.ok for case in cases),
        "problems": sum(len(report.problems) for report in reports),
        "files": files,
    }
    covered = [msgspec.to_builtins(each) for each in _coverage(reports)]
    return {**found, "coverage": covered, "untested": [each.definition for each in bare]} if coverage else found


def _coverage(reports: list[FileReport]) -> list[Coverage]:
    from penstock.simulation.coverage import merged  # noqa: PLC0415

    return merged(each for report in reports for each in report.coverage)


def _print_file(to: Console, report: FileReport, *, verbose: bool) -> None:
    from penstock.simulation.telling import lines_of  # noqa: PLC0415

    to.print(plain(report.file, "bold"), plain(report.definition, "dim"))
    for problem in report.problems:
        to.print(plain("  ✗ ", "bold red"), plain(problem), sep="", soft_wrap=True)
    for case in report.cases:
        for line in lines_of(case, timeline=verbose):
            _print_line(to, [("  ", ""), *line])


def _print_line(to: Console, line: Line) -> None:
    from rich.text import Text  # noqa: PLC0415

    to.print(Text.assemble(*((text, _STYLES.get(style, "")) for text, style in line)), soft_wrap=True)


def _print_end(to: Console, reports: list[FileReport], bare: list[Coverage], *, coverage: bool) -> None:
    if coverage:
        _print_coverage(to, _coverage(reports) + bare)
    cases = [case for report in reports for case in report.cases]
    failed = sum(not case.ok for case in cases)
    problems = sum(len(report.problems) for report in reports)
    took = sum(case.took for case in cases) * 1000
    parts = [f"{len(cases) - failed} passed"]
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{problems} problem{'s' * (problems != 1)} in files"] if problems else []
    style = "bold red" if failed or problems else "bold green"
    to.print(plain(", ".join(parts), style), plain(f"in {took:.0f} ms", "dim"))


def _print_coverage(to: Console, found: list[Coverage]) -> None:
    for each in found:
        if not each.tested:
            to.print(plain(each.definition, "bold"), plain("has no tests", "bold red"))
            continue
        nodes, flows = each.nodes - len(each.nodes_missed), each.flows - len(each.flows_missed)
        whole = not each.nodes_missed and not each.flows_missed
        text = f"{nodes} of {each.nodes} nodes, {flows} of {each.flows} flows"
        to.print(plain(each.definition, "bold"), plain(text, "green" if whole else "yellow"))
        for kind, missed in (("node", each.nodes_missed), ("flow", each.flows_missed)):
            for name in missed:
                to.print(plain(f"  no case took the {kind} {name}"), soft_wrap=True)
