"""How gunicorn runs the API. The numbers come from topic_sum/settings.py; the reasons are here."""

import os
import resource
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from django.core.exceptions import ImproperlyConfigured
from gunicorn.glogging import Logger

try:
    from topic_sum import settings

    settings.check_folder()
except ImproperlyConfigured as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
from topic_sum.api.logs import JsonFormatter, TextFormatter
from topic_sum.port import PortTaken, check_port
from topic_sum.processor import prepare
from topic_sum.worker import Worker

prepare()

wsgi_app = "topic_sum.wsgi"
bind = f"[{settings.HOST}]:{settings.PORT}" if ":" in settings.HOST else f"{settings.HOST}:{settings.PORT}"

# One process by default: CTranslate2 feeds all cores from it, and a second one would hold the model again.
workers = settings.WEB_CONCURRENCY
# A model that was loaded before the fork hangs the child, so nothing is loaded here.
preload_app = False

# sync workers kill a request that takes longer than `timeout`; gthread does not, so REQUEST_SECONDS rules.
# With our worker a client that sends slowly, or nothing, holds no thread.
worker_class = Worker
# One per slot and four more: a probe must not wait behind the work (3.7 s was measured).
threads = settings.TRANSLATORS + settings.QUEUE_SIZE + 4
# sendfile would wait in a thread for a client that does not read.
sendfile = False
# Open connections cost a descriptor each and no thread.
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
descriptors = min(hard, 16384) if hard != resource.RLIM_INFINITY else 16384
resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))
worker_connections = max(threads + 1, min(4096, descriptors - 256))
Worker.most_body = settings.MAX_BODY_BYTES
Worker.most_unread = settings.MAX_UNREAD_BYTES
Worker.receive_seconds = settings.RECEIVE_SECONDS
keepalive = settings.KEEPALIVE_SECONDS
# Longer than the longest request, so that a stop finishes the requests that were accepted.
graceful_timeout = settings.REQUEST_SECONDS + 5
timeout = 60

# Small heads only: the API reads no long header.
limit_request_line = 4094
limit_request_fields = 50
limit_request_field_size = 8190
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  a heartbeat on disk can stall
proc_name = "topic_sum"
accesslog = None  # RequestLog writes one line per request, with its id
errorlog = "-"
loglevel = "warning"


class Lines(Logger):
    """gunicorn's own messages (a worker was killed) have the format of all other lines."""

    def setup(self, cfg):
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(JsonFormatter() if settings.LOG_FORMAT == "json" else TextFormatter())


logger_class = Lines

# The proxy's headers are read by Django under NUM_PROXIES and HTTPS only.
forwarded_allow_ips = ""
# No control through a socket in the home folder.
control_socket_disable = True

made_folder = None
if workers > 1 and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    # Prometheus' client adds up the processes' numbers through files in this folder. It reads the variable
    # when it is imported.
    made_folder = os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="topic_sum-metrics-")


def on_starting(server):
    """Once, before the sockets are made; not on a reload, when this server has them already."""
    if "GUNICORN_FD" in os.environ or "LISTEN_FDS" in os.environ:
        return
    try:
        check_port(settings.HOST, settings.PORT)
    except PortTaken as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(5)


def post_worker_init(worker):
    """In the worker, after the fork, with Django set up."""
    from topic_sum.serving import start

    start()


def worker_exit(server, worker):
    from topic_sum.serving import service

    service().stop()


def on_exit(server):
    if made_folder:
        shutil.rmtree(made_folder, ignore_errors=True)


def child_exit(server, worker):
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(worker.pid)
