"""HTTP as the service speaks it: what is none is a problem as everything else is."""

from __future__ import annotations

import json
import logging
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from virtue.service.problems import MEDIA_TYPE, Problem


class ProblemProtocol(H11Protocol):
    """Answers bytes that are no request with a problem."""

    def __init__(self, *values: Any, **options: Any) -> None:
        super().__init__(*values, **options)
        self.logger = logging.getLogger("virtue.service.protocol")  # strangers decide how much of it there is

    def send_400_response(self, msg: str) -> None:
        problem = Problem(400, "this is no request of HTTP, or its head is longer than 64 KB")
        headers = [
            ("content-type", MEDIA_TYPE),
            ("connection", "close"),
            ("x-content-type-options", "nosniff"),
        ]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=json.dumps(problem.as_json()).encode()),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
