"""What a developer has exported must not decide whether a test passes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SETTINGS = {
    "HF_TOKEN", "HF_TOKEN_FILE", "HF_TOKEN_PATH", "HF_ENDPOINT", "DATASET_REPO", "MODEL_REPO",
    "ARTIFACTS_DIR",
    "CRAWL_CONTACT", "CRAWL_LIMIT", "CRAWL_DELAY", "CRAWL_ALARM", "ACCEPT_AI_OPT_OUT", "SITE_URL", "PORT",
    "HOST", "MODEL_REVISION", "API_KEYS", "RATE_LIMIT", "REDIS_URL", "ALLOWED_HOSTS", "WEB_CONCURRENCY",
    "LOG_FORMAT",
}  # fmt: skip
# With these a developer does ask something of the tests.
OF_THE_TESTS = {
    "WINE_DIR", "MODEL_DIR", "CYCLE_KILLS", "CRAWL_KILLS", "CRAWL_OUTAGE", "TOPIC_SUM_GENERATED"
}  # fmt: skip


def test_settings_of_the_developer_reach_no_test(repo_root: Path) -> None:
    program = "import conftest, json, os; print(json.dumps(sorted(os.environ)))"
    exported = dict.fromkeys(SETTINGS | OF_THE_TESTS, "exported")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=repo_root / "tests", env={**os.environ, **exported},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    left = set(json.loads(done.stdout))
    assert left & SETTINGS == set()
    assert left >= OF_THE_TESTS
