"""manage.py api_key: a new key for a client, and its hash for API_KEYS."""

import hashlib
import secrets

from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Make a new API key. The key is shown once; the server needs only its hash."
    requires_system_checks = ()

    def handle(self, *args: object, **options: object) -> None:
        key = secrets.token_urlsafe(32)
        self.stdout.write(f"for the client:  {key}")
        self.stdout.write(f"for API_KEYS:    sha256:{hashlib.sha256(key.encode()).hexdigest()}")
