"""The WSGI application. The model is loaded by whoever starts the server (gunicorn.conf.py, __main__.py)."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "topic_sum.settings")
application = get_wsgi_application()
