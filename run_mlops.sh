#!/usr/bin/env bash
# Collects news, trains on them and serves the model: stages parser, training, api, in that order.
# Twin of run_mlops.bat: change both. This file holds the sequence only; the work is done by doctor.py
# (checks), setup_venv.py (packages), stage.py (settings, logs) and demo/.
set -u

usage() {
  cat <<'TEXT'
Usage: ./run_mlops.sh [options]

Stages, in this order: parser (collect and publish the dataset), training (fine-tune, evaluate and
publish the model), api (serve it). The run stops at the first stage that fails, with its exit code.

  --demo         the whole cycle on this computer alone: stand-in news site and Hub, a small T5
                 trained on the spot; needs no Docker, no token, no network but the package index
  --news FILE    with --demo: your own articles (.jsonl, .csv or .parquet, also .gz) instead of the
                 invented ones
  --quick        200 articles of the real site, a small T5 trained for minutes, a stand-in Hub on
                 this computer: no account, no Docker
  --recipe NAME  what the cycle is about: recipes/NAME.yaml; gazeta if not given
  --only STAGE   run one stage
  --from STAGE   start with this stage
  --no-docker    run parser and api in .venv instead of Docker
  --exit         do not stay: ask the API about one article, then stop it
  --dry-run      print the commands instead of running them
  --no-pause     never wait for a key (run_mlops.bat waits when it was double-clicked)
  --help         this text

Settings are read from .env (see .env.example); the environment wins over it. --demo has its own.
Exit codes: 0 done or nothing to do, 1 unexpected, 2 wrong usage or setting, 3 the site changed or
the data failed its tests, 4 the model was not promoted, 5 a service is unreachable (Hub, site,
Docker) or a port is taken, 6 another run is active.
TEXT
}

wrong() { echo "error: $1; see ./run_mlops.sh --help" >&2; exit 2; }

called_from=$PWD
cd "$(dirname "$0")" || exit 2
demo='' news='' quick='' recipe='' only='' from='' docker=1 leave='' dry=''
while [ $# -gt 0 ]; do
  case $1 in
    --demo) demo=1 ;;
    --quick) quick=1 ;;
    --no-docker) docker='' ;;
    --exit) leave=1 ;;
    --dry-run) dry=1 ;;
    --no-pause) ;;
    --help | -h) usage; exit 0 ;;
    --only | --from | --news | --recipe)
      [ $# -ge 2 ] || wrong "$1 needs a value"
      case $1 in --only) only=$2 ;; --from) from=$2 ;; --news) news=$2 ;; --recipe) recipe=$2 ;; esac
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
case $news in '' | /*) ;; *) news=$called_from/$news ;; esac
[ -z "$news" ] || [ -f "$news" ] || wrong "cannot read $news"
[ -z "$demo" ] || [ -z "$quick" ] || wrong "--demo and --quick exclude each other"
[ -z "$recipe" ] || [ -f "recipes/$recipe.yaml" ] || wrong "no recipe $recipe; the recipes are the .yaml files of the folder recipes"
[ -z "$recipe" ] || export RECIPE=$recipe
[ -z "$demo$quick" ] || docker=''
case $only in
  '') case $from in training) stages='training api' ;; api) stages=api ;; *) stages='parser training api' ;; esac ;;
  *) stages=$only ;;
esac

# ---- settings: stage.py reads them from these files, the same way for both scripts
settings=(--settings .env) artifacts=() stand_ins=() collect=() train=()
if [ -n "$demo" ]; then
  # Real news must not mix with the invented ones: each source has its own Hub and its own crawl.
  source=demo
  if [ -n "$news" ]; then
    source=${news##*/} source=${source%.gz} source=demo-${source%.jsonl}
    stand_ins=(--hub-only)
    export SOURCE_FILE=$news
  fi
  artifacts=(--artifacts "artifacts/$source")
  settings=(--override demo/demo.env "${artifacts[@]}")
  train=(config=../demo/train.yaml)
  [ -z "$news" ] || train+=(config=../demo/train_real_news.yaml)
elif [ -n "$quick" ]; then
  source=quick
  artifacts=(--artifacts artifacts/quick)
  settings=(--settings .env --override demo/demo.env --except "SITE_URL,CRAWL_DELAY,CRAWL_CONTACT" "${artifacts[@]}")
  stand_ins=(--hub-only)
  collect=(limit=200)
  train=(config=../demo/train.yaml config=../demo/train_real_news.yaml tasks.topic.min_rows=5)
fi
export PYTHONUTF8=1

# ---- Python
python=''
for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3 python; do
  [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && python=$candidate && break
done
[ -n "$python" ] || { echo "error: no Python 3.11 or newer found; install it from python.org" >&2; exit 2; }
venv=.venv/bin/python

# ---- the stages
run() { # run STAGE FOLDER COMMAND...; with --dry-run only says so
  local stage=$1 folder=$2
  shift 2
  if [ -z "$dry" ]; then
    "$python" stage.py run "$stage" "${settings[@]}" --in "$folder" -- "$@"
  elif [ "$folder" = . ]; then
    echo "$*"
  else
    echo "(cd $folder && $*)"
  fi
}

stage_checks() {
  local where=()
  [ -n "$docker" ] || where+=(--no-docker)
  if [ -n "$demo$quick" ]; then
    where+=(--small)
    run checks . python demo/services.py start --root "artifacts/$source" ${stand_ins[@]+"${stand_ins[@]}"} || return
  fi
  run checks . python doctor.py --stages "${stages// /,}" ${where[@]+"${where[@]}"}
}

# shellcheck disable=SC2086  # parts is a list of plain words
stage_packages() { run packages . python setup_venv.py $parts; }

stage_parser() {
  if [ -n "$docker" ]; then
    run parser . docker compose -f docker-compose.parser.yml run --rm --build parser
  else
    run parser dataset_parser ../$venv -m gazeta ${collect[@]+"${collect[@]}"}
  fi
}

stage_training() { run training t5_training ../$venv main.py ${train[@]+"${train[@]}"}; }

stage_api() {
  trap : INT # Ctrl+C is how the API is meant to be stopped
  if [ -n "$docker" ]; then
    run api . docker compose -f docker-compose.api.yml up --build --detach --wait || {
      local code=$?
      run api . docker compose -f docker-compose.api.yml logs --no-log-prefix --tail 5 api # the API's own words
      return $code
    }
    run api . python demo/show.py --running || return
    [ -z "$leave" ] || run api . docker compose -f docker-compose.api.yml down
  elif [ -n "$demo" ]; then
    run api . $venv demo/show.py --newest ${leave:+--exit}
  elif [ -n "$leave" ]; then
    run api . $venv demo/show.py --exit
  else
    run api topic_sum_api ../$venv -m topic_sum
  fi
}

parts=''
for stage in $stages; do
  [ "$stage" != training ] && [ -n "$docker" ] || parts="$parts $stage"
done
plan="checks ${parts:+packages }$stages"

if [ -z "$dry" ]; then
  # ---- one run at a time: the lock is held until this shell and the stage that it started have ended
  if ! mkdir -p artifacts || ! : >>artifacts/run.lock; then
    echo "error: cannot write into the folder artifacts" >&2
    exit 2
  fi
  exec 9>artifacts/run.lock
  if ! "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null; then
    echo "error: another run of this folder is active; wait for it or stop it" >&2
    exit 6
  fi
  # shellcheck disable=SC2086  # plan is a list of plain words
  "$python" stage.py begin $plan || exit
fi

finish() {
  local code=$?
  trap - EXIT
  trap : INT
  if [ -z "$dry" ]; then
    [ -z "$demo$quick" ] || "$python" demo/services.py stop --root "artifacts/$source"
    "$python" stage.py end ${artifacts[@]+"${artifacts[@]}"}
  fi
  exit $code
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

for stage in $plan; do
  printf '\n== %s\n' "$stage"
  "stage_$stage"
  code=$?
  if [ $code -ne 0 ]; then
    echo "error: $stage ended with exit code $code; nothing was started after it" >&2
    exit $code
  fi
done
