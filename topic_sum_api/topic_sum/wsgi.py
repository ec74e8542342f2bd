"""The WSGI application. gunicorn.conf.py and __main__.py load the model."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "topic_sum.settings")
application = get_wsgi_application()
