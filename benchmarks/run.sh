#!/usr/bin/env bash
# Runs every benchmark small, one after another: a quarter of an hour on two idle cores, and a few minutes more when their
# peers are installed first. Figures as JSON go to artifacts/benchmarks/. The sizes that count are in README.md beside this.
set -euo pipefail
cd "$(dirname "$0")/.."

python=''
for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3 python; do
  [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && python=$candidate && break
done
[ -n "$python" ] || { echo "error: no Python 3.11 or newer found; install it from python.org" >&2; exit 2; }
"$python" setup_venv.py parser training api tests

out=artifacts/benchmarks
mkdir -p "$out"
missed=()
bench() { # bench NAME ARGUMENTS...
  local name=$1 began=$SECONDS
  shift
  echo "== $name $*"
  # A bar that is missed at this size is told at the end and stops nothing.
  .venv/bin/python "benchmarks/$name.py" "$@" || missed+=("$name")
  echo "   $((SECONDS - began)) s"
}

bench crawl --articles 1500 --rounds 3 --json "$out/crawl.json"
bench dataset --rows 3000 --parts publish,peers --rounds 2 --json "$out/dataset.json"
bench evaluate metrics agreement generation --articles 600 --generated 2 --tokens 20 \
  --rounds 2 --json "$out/evaluate.json"
if [ -d ../shared/data ]; then
  bench train --shape tiny --articles 128 --rounds 2 --json "$out/train.json"
  bench topics --parts quality,speed --rounds 1 --json "$out/topics.json"
else
  echo "== train, topics: skipped, they need the real texts of ../shared"
fi
bench serve --parts speed idle overhead memory overload --layers 2 --rounds 2 --seconds 10 --clients 1 4 \
  --requests 500 --json "$out/serve.json"

[ ${#missed[@]} -eq 0 ] || { echo "failed or below a bar: ${missed[*]}" >&2; exit 1; }
