#!/usr/bin/env python
"""Django's own commands: check --deploy, collectstatic, api_key. The server: python -m topic_sum."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "topic_sum.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
