#!/usr/bin/env bash
# Collects news, trains on them and serves the model: stages parser, training, api, in that order.
# Twin of run_mlops.bat. The sequence is here; what takes thought is in doctor.py, setup_venv.py and demo/.
set -u

usage() {
  cat <<'TEXT'
Usage: ./run_mlops.sh [options]

Stages, in this order: parser (collect and publish the dataset), training (fine-tune, evaluate and
publish the model), api (serve it). The run stops at the first stage that fails, with its exit code.

  --demo         the whole cycle on this computer alone: stand-in news site and Hub, a small T5
                 trained on the spot; needs no Docker, no token, no network but the package index
  --news FILE    with --demo: the stand-in site serves the articles of FILE (.jsonl or .jsonl.gz)
  --quick        200 articles of the real site, a small T5 trained for minutes, a stand-in Hub on
                 this computer: no account, no Docker
  --only STAGE   run one stage
  --from STAGE   start with this stage
  --no-docker    run parser and api in .venv instead of Docker
  --exit         do not stay: ask the API about one article, then stop it
  --dry-run      print the commands instead of running them
  --no-pause     never wait for a key (run_mlops.bat waits when it was double-clicked)
  --help         this text

Settings are read from .env (see .env.example); the environment wins over it.
Exit codes: 0 done or nothing to do, 1 unexpected, 2 wrong usage or setting, 3 the site changed or
the data failed its tests, 4 the model was not promoted, 5 a service is not there (Hub, site, Docker,
port), 6 another run is active.
TEXT
}

wrong() { echo "error: $1; see ./run_mlops.sh --help" >&2; exit 2; }

cd "$(dirname "$0")" || exit 2
demo='' news='' quick='' only='' from='' docker=1 leave='' dry=''
while [ $# -gt 0 ]; do
  case $1 in
    --demo) demo=1 ;;
    --quick) quick=1 ;;
    --no-docker) docker='' ;;
    --exit) leave=1 ;;
    --dry-run) dry=1 ;;
    --no-pause) ;;
    --help | -h) usage; exit 0 ;;
    --only | --from | --news)
      [ $# -ge 2 ] || wrong "$1 needs a value"
      case $1 in --only) only=$2 ;; --from) from=$2 ;; --news) news=$2 ;; esac
      shift ;;
    *) wrong "unknown option $1" ;;
  esac
  shift
done
for stage in $only $from; do
  case $stage in parser | training | api) ;; *) wrong "no stage $stage; the stages are parser, training, api" ;; esac
done
[ -z "$only" ] || [ -z "$from" ] || wrong "--only and --from exclude each other"
[ -z "$news" ] || [ -n "$demo" ] || wrong "--news goes with --demo"
[ -z "$news" ] || [ -r "$news" ] || wrong "cannot read $news"
[ -z "$demo" ] || [ -z "$quick" ] || wrong "--demo and --quick exclude each other"
[ -z "$demo$quick" ] || docker=''
case $only in
  '') case $from in training) stages='training api' ;; api) stages=api ;; *) stages='parser training api' ;; esac ;;
  *) stages=$only ;;
esac

# ---- settings: NAME=VALUE lines; a value may hold spaces, =, quotes around it, a Windows line end
read_settings() { # FILE, then "override" when the file wins over the environment
  local line name value
  while IFS= read -r line || [ -n "$line" ]; do
    line=${line%$'\r'}
    case $line in '' | '#'*) continue ;; *=*) ;; *) continue ;; esac
    name=${line%%=*} value=${line#*=}
    case $value in \"*\") value=${value#\"} value=${value%\"} ;; \'*\') value=${value#\'} value=${value%\'} ;; esac
    [[ $name =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] || { echo "error: $1: $name is not a variable's name" >&2; exit 2; }
    [ "${2:-}" != override ] && [ -n "${!name+set}" ] || export "$name=$value"
  done <"$1"
}
training=() site='' stand_ins=() limit=()
if [ -n "$demo$quick" ]; then
  mine=${SITE_URL:-}
  read_settings demo/demo.env override
  # Real news must not mix with the invented ones: each source has a Hub and a crawl of its own.
  source=demo
  [ -z "$quick" ] || source=quick
  [ -z "$news" ] || { source=${news##*/} source=demo-${source%%.*}; }
  export ARTIFACTS_DIR=$PWD/artifacts/$source
  export HF_HOME=$ARTIFACTS_DIR/hf
  training=(config=../demo/train.yaml)
  [ -z "$quick$news" ] || training+=(config=../demo/train_real_news.yaml)
  if [ -n "$quick" ]; then
    unset SITE_URL CRAWL_DELAY
    [ -z "$mine" ] || export SITE_URL=$mine
    stand_ins=(--hub-only) limit=(--limit 200)
  else
    site=$SITE_URL
    [ -z "$news" ] || stand_ins=(--news "$news")
  fi
elif [ -f .env ]; then
  read_settings .env
fi
export PYTHONUTF8=1

run() { # in FOLDER, COMMAND...; with --dry-run only says so
  local folder=$1
  shift
  if [ -n "$dry" ]; then
    [ "$folder" = . ] && echo "$*" || echo "(cd $folder && $*)"
  else
    (cd "$folder" && exec "$@")
  fi
}

# ---- one run at a time
if [ -z "$dry" ]; then
  mkdir -p artifacts || { echo "error: cannot write into $PWD" >&2; exit 2; }
  exec 9>artifacts/run.lock
  if command -v flock >/dev/null && ! flock -n 9; then
    echo "error: another run of this folder is active; wait for it or stop it" >&2
    exit 6
  fi
fi

# ---- Python, checks, packages
python=''
for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3 python; do
  [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && python=$candidate && break
done
[ -n "$python" ] || { echo "error: no Python 3.11 or newer found; install it from python.org" >&2; exit 2; }
parts=''
for stage in $stages; do
  case $stage in training) parts="$parts training" ;; *) [ -n "$docker" ] || parts="$parts $stage" ;; esac
done
check=("$python" doctor.py --stages "${stages// /,}")
[ -n "$docker" ] || check+=(--no-docker)
[ -z "$demo$quick" ] || check+=(--small)
venv=$PWD/.venv/bin/python

finish() {
  local code=$?
  trap - EXIT
  [ -z "$demo$quick" ] || [ -n "$dry" ] || "$python" demo/services.py stop --root "$ARTIFACTS_DIR"
  exit $code
}

say() { printf '\n== %s\n' "$1"; }

# shellcheck disable=SC2086  # parts is a list of plain words
prepare() {
  if [ -n "$demo$quick" ]; then
    # Without the lock's descriptor: a stand-in that outlives a killed script must not hold the lock.
    run . "$python" demo/services.py start --root "$ARTIFACTS_DIR" ${stand_ins[@]+"${stand_ins[@]}"} 9>&- || return
  fi
  run . "${check[@]}" || return
  [ -z "$parts" ] || run . "$python" setup_venv.py $parts
}

stage_parser() {
  if [ -n "$docker" ]; then
    run . docker compose -f docker-compose.parser.yml run --rm --build parser
  else
    run dataset_parser "$venv" -m gazeta ${limit[@]+"${limit[@]}"}
  fi
}

stage_training() { run t5_training "$venv" main.py ${training[@]+"${training[@]}"}; }

stage_api() {
  trap : INT # Ctrl+C is how the API is meant to be stopped
  local show=("$venv" demo/show.py)
  [ -z "$site" ] || show+=(--site "$site")
  [ -z "$leave" ] || show+=(--exit)
  if [ -n "$docker" ]; then
    run . docker compose -f docker-compose.api.yml up --build --detach --wait || return
    [ -n "$dry" ] || echo "The API answers at http://127.0.0.1:${PORT:-8000}/ until: docker compose -f docker-compose.api.yml down"
    [ -z "$leave" ] || run . docker compose -f docker-compose.api.yml down
  elif [ -n "$demo$leave" ]; then
    run . "${show[@]}"
  else
    run topic_sum_api "$venv" -m topic_sum
  fi
}

trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
say "checks and packages"
prepare || exit
for stage in $stages; do
  say "stage $stage"
  began=$SECONDS
  "stage_$stage"
  code=$?
  if [ $code -ne 0 ]; then
    echo "error: stage $stage ended with exit code $code after $((SECONDS - began)) s; the stages after it were not started" >&2
    exit $code
  fi
  [ -n "$dry" ] || echo "stage $stage: done in $((SECONDS - began)) s"
done
