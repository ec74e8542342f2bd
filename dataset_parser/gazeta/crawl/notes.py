"""Small facts that outlive a crawl, by a key."""

from __future__ import annotations

import sqlite3


class Notes:
    def __init__(self, db: sqlite3.Connection):
        self.db = db

    def get(self, key: str, default: str = "") -> str:
        row = self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else default

    def set(self, key: str, value: str) -> None:
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
