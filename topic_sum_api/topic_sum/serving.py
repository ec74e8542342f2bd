"""The one Service of this process, built from the settings."""

from __future__ import annotations

import functools
import logging
import sys
from pathlib import Path

from django.conf import settings
from huggingface_hub.utils import disable_progress_bars

from topic_sum import metrics
from topic_sum.inference.model import Model
from topic_sum.inference.revision import Source
from topic_sum.inference.service import Limits, Service
from topic_sum.recipe import Recipe, read_recipe
from topic_sum.result import write_result

log = logging.getLogger("topic_sum")


@functools.cache
def recipe() -> Recipe:
    return read_recipe(settings.RECIPE, settings.RECIPES_DIR)


@functools.cache
def service() -> Service:
    """Built on first use, without touching network or disk; `start` loads the model."""
    return Service(
        Source(
            repo=settings.MODEL_REPO,
            revision=settings.MODEL_REVISION,
            folder=Path(settings.MODELS_DIR),
            endpoint=settings.HF_ENDPOINT,
            token=settings.HF_TOKEN,
        ),
        Limits(
            translators=settings.TRANSLATORS,
            queue_size=settings.QUEUE_SIZE,
            max_batch_size=settings.MAX_BATCH_SIZE,
            request_seconds=settings.REQUEST_SECONDS,
            max_windows=settings.MAX_WINDOWS,
            cache_size=settings.CACHE_SIZE,
            check_seconds=settings.MODEL_CHECK_SECONDS,
        ),
        on_event=metrics.count_model_event,
        on_batch=metrics.BATCHES.observe,
        on_active=metrics.ACTIVE.set,  # as it changes: of several processes any may be asked
        on_change=_serving,
    )


def start() -> None:
    """Begin loading the model. Call it in the process that answers, after any fork: a CTranslate2 model that
    was made before a fork hangs the child."""
    if not sys.stderr.isatty():
        disable_progress_bars()
    if settings.RATE_LIMIT and not settings.REDIS_URL:
        log.info("rate limits are counted per process; REDIS_URL makes them shared")
    metrics.watch(service())
    service().start()


@functools.cache
def _announce() -> None:
    """Once: after the first model."""
    model = service().current.model
    host = "127.0.0.1" if settings.HOST in ("0.0.0.0", "::") else settings.HOST  # noqa: S104
    if ":" in host:
        host = f"[{host}]"
    log.info("API ready at http://%s:%d/ (model %s@%s)", host, settings.PORT, model.repo, model.revision[:8])


def _serving(model: Model) -> None:
    _announce()
    if note := recipe().difference(model):
        log.warning("%s", note)
    write_result(settings.RESULTS_DIR, recipe().name or model.recipe or "gazeta", model)
