#!/usr/bin/env bash
# Installs what the tests need into .venv and runs them. Arguments go to pytest: ./tests/run.sh -k gate
set -euo pipefail
cd "$(dirname "$0")/.."

python=''
for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3 python; do
  [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && python=$candidate && break
done
[ -n "$python" ] || { echo "error: no Python 3.11 or newer found; install it from python.org" >&2; exit 2; }

"$python" setup_venv.py parser training api tests
exec .venv/bin/python -m pytest "$@"
