"""What the service counts, for Prometheus."""

from __future__ import annotations

import time

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES = (1, 2, 4, 8, 16, 32)


class Metrics:
    """The counts of one service."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        own = self._registry
        self.requests = Counter(
            "virtue_requests", "Requests that were answered.", ["method", "route", "status"], registry=own
        )
        self.seconds = Histogram(
            "virtue_request_seconds",
            "How long they took.",
            ["method", "route"],
            buckets=SECONDS,
            registry=own,
        )
        self.batch_size = Histogram(
            "virtue_batch_size", "Items that went through the model together.", buckets=SIZES, registry=own
        )
        self.model_seconds = Counter(
            "virtue_model_seconds", "How long the model worked on them.", registry=own
        )
        self.admitted = Gauge("virtue_requests_admitted", "Requests that wait for an answer.", registry=own)
        self.dropped = Counter(
            "virtue_requests_dropped", "Requests whose client went before the answer.", registry=own
        )
        self.decoders_lost = Counter("virtue_decoders_lost", "Decoder processes that died.", registry=own)
        self.kept_pictures = Gauge("virtue_kept_pictures", "Pictures kept for further boxes.", registry=own)

    def ran_batch(self, size: int, seconds: float) -> None:
        self.batch_size.observe(size)
        self.model_seconds.inc(seconds)

    def text(self) -> bytes:
        """Returns all of it as Prometheus reads it."""
        return generate_latest(self._registry)


class CountRequests:
    """ASGI middleware: counts answers by their route, never by their address, which clients choose."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 0

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if route != "other" else "other"
            if status:
                self._metrics.requests.labels(method, route, status).inc()
                self._metrics.seconds.labels(method, route).observe(time.perf_counter() - began)
            else:
                self._metrics.dropped.inc()
