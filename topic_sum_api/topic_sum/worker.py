"""gunicorn's threaded worker, in which slow and silent clients hold no thread."""

from __future__ import annotations

from gunicorn.workers.gthread import ThreadWorker


class Worker(ThreadWorker):
    pass
