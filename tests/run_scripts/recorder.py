"""Stands in for doctor.py, setup_venv.py, docker and every other program that run_mlops.sh starts.

Notes how it was called in $SHIM_LOG, one JSON object a line, and ends as $SHIM_RULES asks: rules are
separated by ";", and "doctor.py=5;-m gazeta=wait" ends with 5 where the command line holds doctor.py.
"wait" waits for a signal. The same rules as shim.c has for Windows.
"""

import json
import os
import sys
import time

NAMES = ("ARTIFACTS_DIR", "HF_HOME", "HF_ENDPOINT", "HF_TOKEN", "SITE_URL", "CRAWL_CONTACT", "CRAWL_DELAY",
         "DATASET_REPO", "MODEL_REPO", "RECIPE", "SOURCE_FILE", "NOTE", "NO_PROXY", "PYTHONUTF8")  # fmt: skip

call = {
    "program": os.path.abspath(__file__),  # noqa: PTH100
    "cwd": os.getcwd(),  # noqa: PTH109
    "argv": sys.argv[1:],
    "env": {name: os.environ[name] for name in NAMES if name in os.environ},
}
with open(os.environ["SHIM_LOG"], "a", encoding="utf-8") as log:  # noqa: PTH123
    log.write(json.dumps(call, ensure_ascii=False) + "\n")

command_line = " ".join([sys.argv[0], *sys.argv[1:]])
for rule in filter(None, os.environ.get("SHIM_RULES", "").split(";")):
    words, _, end = rule.rpartition("=")
    if words in command_line:
        if end == "wait":
            time.sleep(60)
        sys.exit(int(end))
