@echo off
rem Collects news, trains on them and serves the model: stages parser, training, api, in that order.
rem Twin of run_mlops.sh. The sequence is here; what takes thought is in doctor.py, setup_venv.py and demo\.
setlocal EnableExtensions DisableDelayedExpansion
chcp 65001 >nul 2>&1
cd /d "%~dp0" || exit /b 2

rem ---- the window stays open when the file was double-clicked: Explorer runs cmd /c ""...\run_mlops.bat" "
set "hold="
setlocal EnableDelayedExpansion
if defined CMDCMDLINE (
  set "line=!CMDCMDLINE:"=!"
  if not "!line:run_mlops.bat=!"=="!line!" endlocal& set "hold=1"& setlocal
)
endlocal & set "hold=%hold%"
if defined MLOPS_NO_PAUSE set "hold="

set "demo="
set "news="
set "quick="
set "only="
set "from="
set "docker=1"
set "leave="
set "dry="
set "code=0"

:option
if "%~1"=="" goto :options_read
set "option=%~1"
if "%option%"=="--demo"      (set "demo=1"   & shift & goto :option)
if "%option%"=="--quick"     (set "quick=1"  & shift & goto :option)
if "%option%"=="--no-docker" (set "docker="  & shift & goto :option)
if "%option%"=="--exit"      (set "leave=1"  & shift & goto :option)
if "%option%"=="--dry-run"   (set "dry=1"    & shift & goto :option)
if "%option%"=="--no-pause"  (set "hold="    & shift & goto :option)
if "%option%"=="--help"      goto :usage
if "%option%"=="-h"          goto :usage
if "%option%"=="--only"      goto :valued
if "%option%"=="--from"      goto :valued
if "%option%"=="--news"      goto :valued
call :wrong "unknown option %option%"
goto :finish

:valued
if "%~2"=="" call :wrong "%option% needs a value" & goto :finish
set "%option:~2%=%~2"
shift
shift
goto :option

:options_read
for %%S in ("%only%" "%from%") do (
  if not "%%~S"=="" if not "%%~S"=="parser" if not "%%~S"=="training" if not "%%~S"=="api" (
    call :wrong "no stage %%~S; the stages are parser, training, api"
    goto :finish
  )
)
if defined only if defined from call :wrong "--only and --from exclude each other" & goto :finish
if defined news if not defined demo call :wrong "--news goes with --demo" & goto :finish
if defined news if not exist "%news%" call :wrong "cannot read %news%" & goto :finish
if defined demo if defined quick call :wrong "--demo and --quick exclude each other" & goto :finish
set "local=%demo%%quick%"
if defined local set "docker="
set "stages=parser training api"
if "%from%"=="training" set "stages=training api"
if "%from%"=="api" set "stages=api"
if defined only set "stages=%only%"

rem ---- settings
set "training="
set "site="
set "stand_ins="
set "limit="
if not defined local (
  if exist ".env" call :read_settings ".env"
  goto :settings_read
)
set "mine=%SITE_URL%"
call :read_settings "demo\demo.env" override
rem Real news must not mix with the invented ones: each source has a Hub and a crawl of its own.
set "source=demo"
if defined quick set "source=quick"
if defined news for %%F in ("%news%") do for %%G in ("%%~nF") do set "source=demo-%%~nG"
set "ARTIFACTS_DIR=%CD%\artifacts\%source%"
set "HF_HOME=%CD%\artifacts\%source%\hf"
set "training=config=../demo/train.yaml"
if defined quick set "training=%training% config=../demo/train_real_news.yaml"
if defined news set "training=%training% config=../demo/train_real_news.yaml"
if defined quick (
  set "SITE_URL=%mine%"
  set "CRAWL_DELAY="
  set "stand_ins=--hub-only"
  set "limit=--limit 200"
) else (
  call set "site=%%SITE_URL%%"
)
:settings_read
set "PYTHONUTF8=1"

rem From here values are read as !name!, so that & and parentheses in a path stay what they are.
setlocal EnableDelayedExpansion

rem ---- one run at a time: Windows opens a file for writing only once
if defined dry goto :unlocked
if not exist "artifacts\" mkdir artifacts || (>&2 echo error: cannot write into this folder& set "code=2"& goto :finish)
2>nul (9>artifacts\run.lock (call )) || (
  >&2 echo error: another run of this folder is active; wait for it or stop it
  set "code=6"
  goto :finish
)
call :main 9>artifacts\run.lock
goto :finish
:unlocked
call :main
goto :finish

:main
rem ---- Python, checks, packages
set "found="
set "test=import sys; sys.exit(sys.version_info < (3, 11))"
if defined PYTHON "!PYTHON!" -c "!test!" >nul 2>&1 && set "found="!PYTHON!""
if not defined found py -3 -c "!test!" >nul 2>&1 && set "found=py -3"
if not defined found python -c "!test!" >nul 2>&1 && set "found=python"
if not defined found python3 -c "!test!" >nul 2>&1 && set "found=python3"
if not defined found (
  >&2 echo error: no Python 3.11 or newer found; install it from python.org
  set "code=2"
  exit /b
)
set "parts="
for %%S in (!stages!) do (
  if "%%S"=="training" (set "parts=!parts! training") else if not defined docker set "parts=!parts! %%S"
)
set "check=!found! doctor.py --stages !stages: =,!"
if not defined docker set "check=!check! --no-docker"
if defined local set "check=!check! --small"

call :say "checks and packages"
call :prepare
if not "!code!"=="0" goto :stop
for %%S in (!stages!) do (
  if "!code!"=="0" (
    call :say "stage %%S"
    call :stage_%%S
    if not "!code!"=="0" (
      >&2 echo error: stage %%S ended with exit code !code!; the stages after it were not started
    ) else if not defined dry echo stage %%S: done
  )
)
:stop
if defined local if not defined dry !found! demo\services.py stop --root artifacts\!source!
exit /b

:prepare
if defined local (
  set "command=!found! demo\services.py start --root artifacts\!source! !stand_ins!"
  if defined news set "command=!command! --news "!news!""
  call :run .
  if not "!code!"=="0" exit /b
)
set "command=!check!"
call :run .
if not "!code!"=="0" exit /b
if not defined parts exit /b
set "command=!found! setup_venv.py!parts!"
call :run .
exit /b

:stage_parser
if defined docker (
  set "command=docker compose -f docker-compose.parser.yml run --rm --build parser"
  call :run .
) else (
  set "command=..\.venv\Scripts\python.exe -m gazeta !limit!"
  call :run dataset_parser
)
exit /b

:stage_training
set "command=..\.venv\Scripts\python.exe main.py !training!"
call :run t5_training
exit /b

:stage_api
if defined docker (
  set "command=docker compose -f docker-compose.api.yml up --build --detach --wait"
  call :run .
  if not "!code!"=="0" exit /b
  if not defined PORT set "PORT=8000"
  if not defined dry echo The API answers at http://127.0.0.1:!PORT!/ until: docker compose -f docker-compose.api.yml down
  if not defined leave exit /b
  set "command=docker compose -f docker-compose.api.yml down"
  call :run .
  exit /b
)
if not defined demo if not defined leave (
  set "command=..\.venv\Scripts\python.exe -m topic_sum"
  call :run topic_sum_api
  exit /b
)
set "command=.venv\Scripts\python.exe demo\show.py"
if defined site set "command=!command! --site !site!"
if defined leave set "command=!command! --exit"
call :run .
exit /b

:run
rem Runs !command! in the folder %1 and leaves its exit code in code; with --dry-run only says so.
if defined dry (
  if "%~1"=="." (echo !command!) else echo (cd %~1 ^&^& !command!^)
  exit /b
)
pushd "%~1" || (set "code=2"& exit /b)
!command!
set "code=!errorlevel!"
popd
exit /b

:say
echo(
echo == %~1
exit /b

:read_settings
rem NAME=VALUE lines of the file %1; with "override" they win over the environment.
for /f "usebackq eol=# tokens=1,* delims==" %%A in ("%~1") do (
  if "%~2"=="override" (set "%%A=%%~B") else if not defined %%A set "%%A=%%~B"
)
exit /b

:wrong
>&2 echo error: %~1; see run_mlops.bat --help
set "code=2"
exit /b

:usage
echo Usage: run_mlops.bat [options]
echo(
echo Stages, in this order: parser (collect and publish the dataset), training (fine-tune, evaluate and
echo publish the model), api (serve it). The run stops at the first stage that fails, with its exit code.
echo(
echo   --demo         the whole cycle on this computer alone: stand-in news site and Hub, a small T5
echo                  trained on the spot; needs no Docker, no token, no network but the package index
echo   --news FILE    with --demo: the stand-in site serves the articles of FILE (.jsonl or .jsonl.gz)
echo   --quick        200 articles of the real site, a small T5 trained for minutes, a stand-in Hub on
echo                  this computer: no account, no Docker
echo   --only STAGE   run one stage
echo   --from STAGE   start with this stage
echo   --no-docker    run parser and api in .venv instead of Docker
echo   --exit         do not stay: ask the API about one article, then stop it
echo   --dry-run      print the commands instead of running them
echo   --no-pause     never wait for a key (this file waits when it was double-clicked)
echo   --help         this text
echo(
echo Settings are read from .env (see .env.example); the environment wins over it.
echo Exit codes: 0 done or nothing to do, 1 unexpected, 2 wrong usage or setting, 3 the site changed or
echo the data failed its tests, 4 the model was not promoted, 5 a service is not there (Hub, site, Docker,
echo port), 6 another run is active.

:finish
if defined hold (
  echo(
  pause
)
exit /b %code%
