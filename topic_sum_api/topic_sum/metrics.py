"""What Prometheus reads: requests, latency, the queue, tokens, refusals, the model's revision."""

from __future__ import annotations

import os

from prometheus_client import REGISTRY as PROCESS_REGISTRY
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120)

REQUESTS = Counter("topic_sum_requests", "Requests answered", ["endpoint", "status"])
LATENCY = Histogram("topic_sum_request_seconds", "Time to answer", ["endpoint"], buckets=_SECONDS)
ERRORS = Counter("topic_sum_errors", "Errors answered, by their code", ["code"])
TEXTS = Counter("topic_sum_texts", "Texts answered", ["task"])
TOKENS = Counter("topic_sum_source_tokens", "Source tokens that generate tasks read")
WINDOWED = Counter("topic_sum_windowed_texts", "Texts longer than the model reads at once")
CUT = Counter("topic_sum_cut_texts", "Texts whose end was not read")
BATCHES = Histogram("topic_sum_batch_texts", "Texts per batch", buckets=(1, 2, 3, 4, 8, 16, 32, 64))
CACHE_HITS = Counter("topic_sum_cache_hits", "Generated texts answered from the cache")
UNSUPPORTED = Counter(
    "topic_sum_unsupported", "Names and numbers in generated texts that the request does not contain"
)
UNSURE = Counter("topic_sum_topics_withheld", "Texts whose label was withheld", ["reason"])
MODEL_EVENTS = Counter("topic_sum_model_events", "Models loaded and refused, Hub failures", ["event"])
REDIS_FAILURES = Counter("topic_sum_redis_failures", "Times Redis failed and limits were counted locally")
ACTIVE = Gauge(
    "topic_sum_active_requests", "Requests that hold a slot: they run or wait", multiprocess_mode="livesum"
)
SLOTS = Gauge("topic_sum_slots", "Requests that may run or wait", multiprocess_mode="livesum")
READY = Gauge("topic_sum_ready", "1 if a model serves", multiprocess_mode="livemin")
MODEL = Gauge(
    "topic_sum_model_loaded_timestamp_seconds",
    "When the served revision was loaded; with several processes 0 for one that no longer serves",
    ["repo", "revision", "dataset_revision"],
    multiprocess_mode="livemostrecent",
)

# For Prometheus a count that begins at 1 has not risen, so these begin at 0.
for _event in ("model_loaded", "model_refused", "model_not_loaded", "hub_unavailable"):
    MODEL_EVENTS.labels(_event)

_state: dict = {"service": None, "labels": None}


def watch(service: object) -> None:
    """Read the gauges from `service` whenever they are asked for."""
    _state["service"] = service


def count_model_event(event: str) -> None:
    MODEL_EVENTS.labels(event).inc()
    refresh_gauges()


def refresh_gauges() -> None:
    """Set the gauges to what is true now."""
    service = _state["service"]
    if service is None:
        return
    SLOTS.set(service.scheduler.admission.slots)
    READY.set(1 if service.current.ready else 0)
    if not service.current.ready:
        return
    model = service.current.model
    labels = (model.repo, model.revision, model.dataset_revision)
    if _state["labels"] not in (None, labels):
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            MODEL.labels(*_state["labels"]).set(0)  # what is in the processes' files cannot be removed
        else:
            MODEL.remove(*_state["labels"])
    _state["labels"] = labels
    MODEL.labels(*labels).set(model.loaded_at.timestamp())


def exposition() -> bytes:
    """All numbers of all processes in Prometheus' text format."""
    refresh_gauges()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
        return generate_latest(registry)
    return generate_latest(PROCESS_REGISTRY)
