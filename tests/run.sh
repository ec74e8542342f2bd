#!/usr/bin/env bash
# Installs what the tests need into .venv and runs them all, two files at a time. Arguments go to pytest:
# ./tests/run.sh -k gate. With --coverage the lines and branches of the three siblings that ran are counted,
# at least 90% of each.
set -euo pipefail
cd "$(dirname "$0")/.."

python=''
for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3 python; do
  [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && python=$candidate && break
done
[ -n "$python" ] || { echo "error: no Python 3.11 or newer found; install it from python.org" >&2; exit 2; }

"$python" setup_venv.py parser training api tests
python=.venv/bin/python
together=(--numprocesses 2 --dist loadgroup)
case ${1:-} in
  --coverage) shift ;;
  '') exec "$python" -m pytest "${together[@]}" ;;
  *) exec "$python" -m pytest "$@" ;;
esac

export COVERAGE_FILE=$PWD/artifacts/coverage/data
rm -rf artifacts/coverage
mkdir -p artifacts/coverage
ended=0
"$python" -m coverage run -m pytest "${together[@]}" "$@" || ended=$?
"$python" -m coverage combine --quiet
# Each of the three by itself: a well tested one must not make up for another.
for package in dataset_parser/gazeta t5_training/t5sum topic_sum_api/topic_sum; do
  echo "== ${package%/*}"
  "$python" -m coverage report --include="$package/*" --fail-under=90 || [ "$ended" -ne 0 ] || ended=$?
done
exit "$ended"
