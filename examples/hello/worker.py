"""The smallest worker: `penstock worker examples.hello.worker`, from the repository's root."""

from penstock.worker import AsyncJob, Worker

worker = Worker()


@worker.job("hello.greet")
async def greet(job: AsyncJob) -> dict[str, str]:
    return {"greeting": f"Hello, {job.input['name']}!"}
