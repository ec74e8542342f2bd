#!/usr/bin/env bash
# Installs what the tests need into .venv and runs them. Arguments go to pytest: ./tests/run.sh -k gate
# Without arguments everything is run, two files at a time, and what it runs of the three siblings is counted.
set -euo pipefail
cd "$(dirname "$0")/.."

python=''
for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3 python; do
  [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && python=$candidate && break
done
[ -n "$python" ] || { echo "error: no Python 3.11 or newer found; install it from python.org" >&2; exit 2; }

"$python" setup_venv.py parser training api tests
[ $# -eq 0 ] || exec .venv/bin/python -m pytest "$@"

export COVERAGE_FILE=$PWD/artifacts/coverage/data
rm -rf artifacts/coverage
mkdir -p artifacts/coverage
ended=0
.venv/bin/python -m coverage run -m pytest --numprocesses 2 --dist loadgroup || ended=$?
.venv/bin/python -m coverage combine --quiet
.venv/bin/python -m coverage report --fail-under 90 || [ "$ended" -ne 0 ] || ended=$?
exit "$ended"
