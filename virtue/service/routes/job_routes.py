"""Indexing and adding, as jobs: started, listened to, cancelled."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from starlette.responses import StreamingResponse

from virtue.service.bodies import AddBody, IndexBody, JobAnswer, JobsAnswer
from virtue.service.jobs import Job
from virtue.service.request_bodies import described, read_body
from virtue.service.routes.common import PROBLEMS, TheService, as_json

router = APIRouter(tags=["jobs"], responses=PROBLEMS)

JobId = Annotated[str, Path(max_length=64)]


@router.post("/v1/index", status_code=202, response_model=JobAnswer, openapi_extra=described(IndexBody))
async def index(request: Request, service: TheService) -> Response:
    """Starts to index folders below the roots; the arguments are those of `Library.index`."""
    return _started(await service.start_index(await read_body(request, IndexBody)))


@router.post("/v1/add", status_code=202, response_model=JobAnswer, openapi_extra=described(AddBody))
async def add(request: Request, service: TheService) -> Response:
    """Starts to add pictures, which the library keeps; the arguments are those of `Library.add`."""
    return _started(await service.start_add(await read_body(request, AddBody)))


def _started(job: Job) -> Response:
    return as_json(job.as_json(), 202, {"location": f"/v1/jobs/{job.job_id}"})


@router.get("/v1/jobs", response_model=JobsAnswer)
async def jobs(service: TheService) -> Response:
    """The jobs, the newest first."""
    return as_json({"jobs": [job.as_json() for job in service.jobs.all()]})


@router.get("/v1/jobs/{job_id}", response_model=JobAnswer)
async def job(service: TheService, job_id: JobId) -> Response:
    """What became of a job so far."""
    return as_json(service.jobs.get(job_id).as_json())


@router.get(
    "/v1/jobs/{job_id}/events",
    response_class=Response,
    responses={200: {"description": "Server-sent events.", "content": {"text/event-stream": {}}}},
)
async def events(service: TheService, job_id: JobId) -> Response:
    """Tells of a job until it ends, as server-sent events: `progress`, then `done`, `failed` or `cancelled`,
    each with the job as JSON."""
    found = service.jobs.get(job_id)
    service.jobs.check_listeners()
    headers = {"x-accel-buffering": "no"}
    return StreamingResponse(service.jobs.events(found), media_type="text/event-stream", headers=headers)


@router.delete("/v1/jobs/{job_id}", status_code=202, response_model=JobAnswer)
async def cancel(service: TheService, job_id: JobId) -> Response:
    """Has a job end soon; what was committed stays."""
    found = service.jobs.get(job_id)
    found.stop.set()
    return as_json(found.as_json(), 202)
