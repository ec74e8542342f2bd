@echo off
rem Collects news, trains on them and serves the model: stages parser, training, api, in that order.
rem Twin of run_mlops.sh: change both. This file holds the sequence only; the work is done by doctor.py
rem (checks), setup_venv.py (packages), stage.py (settings, logs) and demo\.
rem No delayed expansion and no blocks around paths, so that any character may stand in a folder's name.
setlocal EnableExtensions DisableDelayedExpansion
set "called_from=%CD%"
cd /d "%~dp0" || exit /b 2

rem ---- a double-clicked window stays open: only Explorer ends the command line of its cmd in quote, blank, quote
set "hold="
if not defined CMDCMDLINE goto :console
setlocal EnableDelayedExpansion
set "line=!CMDCMDLINE:"='!"
set "clicked="
if "!line:~-3!"=="' '" set "clicked=1"
endlocal & set "hold=%clicked%"
:console
if defined MLOPS_NO_PAUSE set "hold="

set "demo="
set "news="
set "quick="
rem Not recipe: names of variables have no case here, and RECIPE may be set by the user
set "named="
set "only="
set "from="
set "docker=1"
set "leave="
set "dry="
set "code=0"

:option
if "%~1"=="" goto :options_read
if "%~1"=="--demo" set "demo=1" & goto :next
if "%~1"=="--quick" set "quick=1" & goto :next
if "%~1"=="--no-docker" set "docker=" & goto :next
if "%~1"=="--exit" set "leave=1" & goto :next
if "%~1"=="--dry-run" set "dry=1" & goto :next
if "%~1"=="--no-pause" set "hold=" & goto :next
if "%~1"=="--help" goto :usage
if "%~1"=="-h" goto :usage
set "option=%~1"
if "%~1"=="--only" goto :value
if "%~1"=="--from" goto :value
if "%~1"=="--news" goto :value
if "%~1"=="--recipe" goto :value
set "wrong=unknown option %~1"
goto :wrong
:value
set "wrong=%~1 needs a value"
if "%~2"=="" goto :wrong
set "%option:~2%=%~2"
if "%option%"=="--recipe" set "named=%~2"
shift /1
:next
shift /1
goto :option

:options_read
set "stage=%only%%from%"
set "wrong=--only and --from exclude each other"
if defined only if defined from goto :wrong
set "wrong=no stage %stage%; the stages are parser, training, api"
if defined stage if not "%stage%"=="parser" if not "%stage%"=="training" if not "%stage%"=="api" goto :wrong
set "wrong=--news goes with --demo"
if defined news if not defined demo goto :wrong
if not defined news goto :news_found
pushd "%called_from%"
for %%F in ("%news%") do set "news=%%~fF"
popd
set "wrong=cannot read %news%"
if not exist "%news%" goto :wrong
:news_found
set "wrong=--demo and --quick exclude each other"
if defined demo if defined quick goto :wrong
set "wrong=no recipe %named%; the recipes are the .yaml files of the folder recipes"
if defined named if not exist "recipes\%named%.yaml" goto :wrong
if defined demo set "docker="
if defined quick set "docker="
set "stages=parser training api"
if "%from%"=="training" set "stages=training api"
if "%from%"=="api" set "stages=api"
if defined only set "stages=%only%"

rem ---- settings: stage.py reads them from these files, the same way for both scripts
set "settings=--settings .env"
set "artifacts="
set "stand_ins="
set "collect="
set "train="
set "source="
if defined demo goto :demo_settings
if defined quick goto :quick_settings
goto :settings_known
:demo_settings
rem Real news must not mix with the invented ones: each source has its own Hub and its own crawl.
set "source=demo"
set "train= config=../demo/train.yaml"
if not defined news goto :demo_source
for %%F in ("%news%") do set "source=%%~nxF"
if "%source:~-3%"==".gz" set "source=%source:~0,-3%"
if "%source:~-6%"==".jsonl" set "source=%source:~0,-6%"
set "source=demo-%source%"
set "stand_ins= --hub-only"
set "SOURCE_FILE=%news%"
set "train=%train% config=../demo/train_real_news.yaml"
:demo_source
rem No quotes around these settings and commands: they hold quoted paths, and quotes do not nest
set artifacts= --artifacts "artifacts/%source%"
set settings=--override demo/demo.env%artifacts%
goto :settings_known
:quick_settings
set "source=quick"
set "artifacts= --artifacts artifacts/quick"
set settings=--settings .env --override demo/demo.env --except "SITE_URL,CRAWL_DELAY,CRAWL_CONTACT"%artifacts%
set "stand_ins= --hub-only"
set "collect= limit=200"
set "train= config=../demo/train.yaml config=../demo/train_real_news.yaml tasks.topic.min_rows=5"
:settings_known
set "PYTHONUTF8=1"

rem ---- Python, by what it answers: the Store's python.exe exists and does nothing. "call", as it may be a .bat
set "py="
set "PYTHON=%PYTHON%"
set "test=import sys; sys.exit(sys.version_info < (3, 11))"
if defined PYTHON call "%PYTHON%" -c "%test%" >nul 2>&1 && set py="%PYTHON%"
for %%P in ("py -3.11" "py -3.12" "py -3.13" "py -3" python3 python) do if not defined py call :try_python %%P
set "wrong=no Python 3.11 or newer found; install it from python.org"
if not defined py goto :stop_2
set "venv=.venv\Scripts\python.exe"

set "parts="
for %%S in (%stages%) do call :add_part %%S
set "plan=checks %stages%"
if defined parts set "plan=checks packages %stages%"

if defined dry call :main & goto :finish

rem ---- one run at a time: Windows lets a file be written through one redirection only, until this cmd has ended
set "wrong=cannot write into the folder artifacts"
if not exist "artifacts\" mkdir artifacts 2>nul
2>nul (type nul >artifacts\probe && del artifacts\probe) || goto :stop_2
set "locked=1"
2>nul (9>artifacts\run.lock (call )) && call :main 9>artifacts\run.lock
if not defined locked goto :finish
>&2 echo error: another run of this folder is active; wait for it or stop it
set "code=6"
goto :finish

:main
set "locked="
if defined dry goto :stages
call %py% stage.py begin %plan%
set "code=%errorlevel%"
if not "%code%"=="0" exit /b %code%
:stages
for %%S in (%plan%) do call :stage %%S
if defined dry exit /b 0
if defined source call %py% demo/services.py stop --root "artifacts/%source%"
set "open="
if defined hold set "open= --open"
call %py% stage.py end%artifacts%%open%
exit /b 0

:stage
if not "%code%"=="0" exit /b %code%
echo.
echo == %1
call :stage_%1
if not "%code%"=="0" >&2 echo error: %1 ended with exit code %code%; nothing was started after it
exit /b %code%

:stage_checks
set "where="
if not defined docker set "where= --no-docker"
if not defined source goto :doctor
set "where=%where% --small"
set command=python demo/services.py start --root "artifacts/%source%"%stand_ins%
call :run checks .
if not "%code%"=="0" exit /b %code%
:doctor
set "command=python doctor.py --stages %stages: =,%%where%"
call :run checks .
exit /b %code%

:stage_packages
set "command=python setup_venv.py%parts%"
call :run packages .
exit /b %code%

:stage_parser
set "command=docker compose -f docker-compose.parser.yml run --rm --build parser"
if defined docker call :run parser . & goto :end_stage
set "command=..\%venv% -m gazeta%collect%"
call :run parser dataset_parser
:end_stage
exit /b %code%

:stage_training
set "command=..\%venv% main.py%train%"
call :run training t5_training
exit /b %code%

:stage_api
if defined docker goto :api_in_docker
set "where="
if defined leave set "where= --exit"
set "command=%venv% demo/show.py --newest%where%"
if defined demo call :run api . & goto :end_stage
set "command=%venv% demo/show.py%where%"
if defined leave call :run api . & goto :end_stage
set "command=..\%venv% -m topic_sum"
call :run api topic_sum_api
exit /b %code%
:api_in_docker
set "command=docker compose -f docker-compose.api.yml up --build --detach --wait"
call :run api .
if not "%code%"=="0" goto :api_words
set "command=python demo/show.py --running"
call :run api .
if not "%code%"=="0" exit /b %code%
set "command=docker compose -f docker-compose.api.yml down"
if defined leave call :run api .
exit /b %code%
:api_words
rem The API's own words say why it did not start
set "failed=%code%"
set "command=docker compose -f docker-compose.api.yml logs --no-log-prefix --tail 5 api"
call :run api .
set "code=%failed%"
exit /b %code%

:run
rem run STAGE FOLDER: runs %command% there and leaves its exit code in code; with --dry-run only says so
if defined dry goto :say_command
call %py% stage.py run %1 %settings% --in %2 -- %command%
set "code=%errorlevel%"
exit /b %code%
:say_command
if "%~2"=="." goto :say_here
echo (cd %2 ^&^& %command%)
exit /b 0
:say_here
echo %command%
exit /b 0

:add_part
if defined docker if not "%1"=="training" exit /b 0
set "parts=%parts% %1"
exit /b 0

:try_python
call %~1 -c "%test%" >nul 2>&1 && set "py=%~1"
exit /b 0

:wrong
set "wrong=%wrong%; see run_mlops.bat --help"
:stop_2
setlocal EnableDelayedExpansion
>&2 echo error: !wrong!
endlocal
set "code=2"
goto :finish

:usage
echo Usage: run_mlops.bat [options]
echo.
echo Stages, in this order: parser (collect and publish the dataset), training (fine-tune, evaluate and
echo publish the model), api (serve it). The run stops at the first stage that fails, with its exit code.
echo.
echo   --demo         the whole cycle on this computer alone: stand-in news site and Hub, a small T5
echo                  trained on the spot; needs no Docker, no token, no network but the package index
echo   --news FILE    with --demo: your own articles (.jsonl, .csv or .parquet, also .gz) instead of the
echo                  invented ones
echo   --quick        200 articles of the real site, a small T5 trained for minutes, a stand-in Hub on
echo                  this computer: no account, no Docker
echo   --recipe NAME  what the cycle is about: recipes/NAME.yaml; gazeta if not given
echo   --only STAGE   run one stage
echo   --from STAGE   start with this stage
echo   --no-docker    run parser and api in .venv instead of Docker
echo   --exit         do not stay: ask the API about one article, then stop it
echo   --dry-run      print the commands instead of running them
echo   --no-pause     never wait for a key (this file waits when it was double-clicked)
echo   --help         this text
echo.
echo Settings are read from .env (see .env.example); the environment wins over it. --demo has its own.
echo Exit codes: 0 done or nothing to do, 1 unexpected, 2 wrong usage or setting, 3 the site changed or
echo the data failed its tests, 4 the model was not promoted, 5 a service is unreachable (Hub, site,
echo Docker) or a port is taken, 6 another run is active.

:finish
if not defined hold exit /b %code%
echo.
pause
exit /b %code%
