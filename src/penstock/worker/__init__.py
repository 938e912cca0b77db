"""The worker runtime: handlers for topics, run as jobs come.

    worker = Worker(concurrency=20)

    @worker.job("loan.score")
    async def score(job: AsyncJob) -> dict[str, float]:
        return {"risk": await risk_of(job.input["amount"])}

Runs anywhere: imports nothing of the server.
"""

from penstock.worker.job import AsyncJob, Job
from penstock.worker.outcomes import PermanentFailure, RetryLater, Throw
from penstock.worker.worker import Worker

__all__ = ["AsyncJob", "Job", "PermanentFailure", "RetryLater", "Throw", "Worker"]
