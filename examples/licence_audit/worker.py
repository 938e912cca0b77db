"""The worker of the licence audit: `penstock worker examples.licence_audit.worker:worker`, from the repository's root."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from typing import Any

from examples.licence_audit import licences, packages

from penstock.client import Retry
from penstock.worker import AsyncJob, Job, PermanentFailure, Worker

LARGEST = 250_000
"""Bytes of one output; the server takes 256 KiB."""

# Short, so that an outage costs little: a job that was on its way to us when the server died is offered again after
# the lease, and a server that is back is noticed within a second.
worker = Worker(concurrency=20, lease=5.0, backoff=Retry(delay=0.1, cap=1.0))


@worker.job("licence_audit.collect")
def collect(job: Job) -> dict[str, Any]:
    """Lists what is installed. A plain function: it reads files and runs interpreters, in a thread."""
    found = packages.installed()
    if limit := job.input.get("limit"):
        found = found[:limit]
    if (size := sum(len("".join(each)) + 40 for each in found)) > LARGEST:
        raise PermanentFailure(f"{len(found)} packages take {size} bytes, too many for one output: give a limit")
    return {
        "packages": [each._asdict() for each in found],
        "folders": sorted({each.path.rpartition("/")[0] for each in found}),
    }


@worker.job("licence_audit.classify")
async def classify(job: AsyncJob) -> dict[str, str]:
    """One package. Its counters go up in the commit that completes the job: together or not at all."""
    package = job.input["package"]
    stated = await asyncio.to_thread(packages.metadata, package["path"])
    verdict = licences.judge(
        stated.get("License-Expression", ""), stated.get_all("Classifier", []), stated.get("License", "")
    )
    await asyncio.sleep(job.input["pace"] * random.uniform(0.5, 1.5))  # noqa: S311 - not a secret
    job.increment(f"licence:{verdict.licence}")
    job.increment(f"family:{verdict.family}")
    return {"name": package["name"], "version": package["version"], "path": package["path"], **verdict._asdict()}


@worker.job("licence_audit.tally")
def tally(job: Job) -> dict[str, Any]:
    """The numbers, with what a person has decided in place of what was unknown."""
    decided = {each["path"]: each for each in job.input["decisions"]}
    judged = [{**each, **decided.get(each["path"], {})} for each in job.input["judged"]]
    by_family = Counter(each["family"] for each in judged)
    by_licence = Counter(each["licence"] for each in judged)
    return {
        "packages": len(judged),
        "decided": len(decided),
        "families": {family: by_family[family] for family in licences.FAMILIES},
        "licences": dict(sorted(by_licence.items(), key=lambda each: (-each[1], each[0]))),
        "copyleft": sorted({f"{each['name']} ({each['licence']})" for each in judged if "copyleft" in each["family"]}),
    }


@worker.job("licence_audit.report")
def report(job: Job) -> dict[str, str]:
    numbers, receipt = job.input["numbers"], job.input["receipt"]
    lines = [
        "# Licences of the Python packages on this machine",
        "",
        f"{numbers['packages']} packages, {numbers['decided']} of them decided by a person.",
        f"Written {time.strftime('%Y-%m-%d %H:%M:%S %Z')} by process {job.process}.",
        "",
        *_table("family", numbers["families"]),
        *_table("licence", numbers["licences"]),
        "Copyleft: " + (", ".join(numbers["copyleft"]) or "none") + ".",
        "",
        f"Published: {receipt['receipt']}." if receipt else "Not published.",
        "",
        "Folders: " + ", ".join(f"`{each}`" for each in job.input["folders"]) + ".",
    ]
    return {"text": "\n".join(lines) + "\n"}


def _table(title: str, counts: dict[str, int]) -> list[str]:
    return [f"| {title} | packages |", "|---|---:|", *(f"| {key} | {count} |" for key, count in counts.items()), ""]
