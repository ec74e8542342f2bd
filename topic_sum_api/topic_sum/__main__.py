"""python -m topic_sum: serve with gunicorn, or with waitress on Windows.

Exit codes: 0 stopped, 2 wrong setting, 5 the port is taken.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

from django.core.exceptions import ImproperlyConfigured

from topic_sum.port import PortTaken, check_port
from topic_sum.processor import prepare


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "topic_sum.settings")
    os.chdir(Path(__file__).resolve().parent.parent)
    try:
        from topic_sum import settings

        settings.check_folder()
    except ImproperlyConfigured as error:
        return fail(2, str(error))
    if settings.SERVER == "gunicorn":
        from gunicorn.app.wsgiapp import run

        sys.argv = ["gunicorn", "-c", "gunicorn.conf.py", "topic_sum.wsgi"]
        run()
        return 0
    return serve_with_waitress(settings)


def serve_with_waitress(settings: ModuleType) -> int:
    """One process with as many threads as under gunicorn."""
    prepare()
    try:
        import waitress
    except ModuleNotFoundError:
        return fail(2, "SERVER=waitress, and waitress is not installed: pip install waitress")
    try:
        check_port(settings.HOST, settings.PORT)
    except PortTaken as error:
        return fail(5, str(error))
    from topic_sum.serving import start
    from topic_sum.wsgi import application

    start()
    waitress.serve(
        application,
        host=settings.HOST,
        port=settings.PORT,
        threads=settings.TRANSLATORS + settings.QUEUE_SIZE + 4,
        # With this, a waiting request can see whether its client is still there.
        channel_request_lookahead=1,
        max_request_body_size=settings.MAX_BODY_BYTES + 1_000_000,
        ident="",
        _quiet=True,
    )
    return 0


def fail(code: int, message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
