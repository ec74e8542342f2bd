"""From nothing to ready: settings, ports, the Hub there and not there, models that must not be served."""

import json
import os
import pickle
import platform
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest


@pytest.fixture
def changed(model_folder, tmp_path):
    """A copy of the tiny model with something else in tasks.json: changed(name, **sections to update)."""

    def make(name="changed", **sections):
        folder = tmp_path / name
        shutil.copytree(model_folder, folder)
        tasks = json.loads((folder / "tasks.json").read_text())
        for section, update in sections.items():
            of = tasks["tasks"] if section in tasks["tasks"] else tasks
            of[section] = of[section] | update if isinstance(update, dict) else update
        (folder / "tasks.json").write_text(json.dumps(tasks))
        return folder

    return make


def run_api(repo_root, **settings):
    environment = {"PATH": os.environ["PATH"]} | settings
    return subprocess.run(
        [sys.executable, "-m", "topic_sum"], cwd=repo_root / "topic_sum_api", env=environment,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_avx512_is_used_where_it_costs_nothing():
    from topic_sum.processor import wide

    flags = "avx2 avx512f avx512cd avx512bw avx512dq avx512vl"
    assert wide(f"vendor_id\t: GenuineIntel\nflags\t\t: fpu {flags} avx512_vbmi2\n")
    assert not wide(f"vendor_id\t: GenuineIntel\nflags\t\t: fpu {flags}\n")  # an early one: it slows down
    assert not wide(f"vendor_id\t: AuthenticAMD\nflags\t\t: fpu {flags} avx512_vbmi2\n")  # gains nothing
    assert not wide("vendor_id\t: GenuineIntel\nflags\t\t: fpu avx2\n")
    assert not wide("")


# Megabytes held after 80 in small blocks were freed, below one that was not.
HELD = """
import ctypes
from topic_sum.processor import give_memory_back
library = ctypes.CDLL(None)
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

def take(size):
    block = library.malloc(size)
    ctypes.memset(block, 1, size)
    return block

def held():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) / 1024

before = held()
blocks = [take(50_000) for _ in range(1600)]
take(50_000)
for block in blocks:
    library.free(block)
kept = held() - before
give_memory_back()
print(kept, held() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_memory_that_loading_took_goes_back_to_the_system(repo_root):
    done = subprocess.run(
        [sys.executable, "-c", HELD], cwd=repo_root / "topic_sum_api", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    kept, after = map(float, done.stdout.split())
    assert kept > 50, "glibc gives it back by itself now: give_memory_back may go"
    assert after < 15


# How many heaps threads that allocate at the same time have, after and without `prepare`.
HEAPS = """
import ctypes, re, sys, threading
if sys.argv[1:] == ["prepared"]:
    from topic_sum.processor import prepare
    prepare()
library = ctypes.CDLL(None)
library.malloc.restype = library.fopen.restype = ctypes.c_void_p
library.malloc_info.argtypes, library.fclose.argtypes = [ctypes.c_int, ctypes.c_void_p], [ctypes.c_void_p]
everybody = threading.Barrier(4)

def take():
    everybody.wait()
    for _ in range(100):
        library.malloc(1000)
    everybody.wait()

threads = [threading.Thread(target=take) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
told = library.fopen(b"heaps.xml", b"w")
library.malloc_info(0, told)
library.fclose(told)
print(len(re.findall("<heap nr", open("heaps.xml").read())))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_translators_share_one_heap(repo_root, tmp_path):
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(repo_root / "topic_sum_api")}
    heaps = [
        int(
            subprocess.run(
                [sys.executable, "-c", HEAPS, *words], cwd=tmp_path, env=environment, check=True,
                stdout=subprocess.PIPE,
            ).stdout
        )
        for words in ([], ["prepared"])
    ]  # fmt: skip
    assert heaps[0] > 1
    assert heaps[1] == 1


class Machine:
    """A clock and a memory that are told what to be."""

    def __init__(self):
        self.now, self.held, self.needed, self.given = 100.0, 300, 300, 0

    def give_back(self):
        self.given += 1
        self.held = self.needed

    def look(self, memory, batches, seconds=0.0):
        self.now += seconds
        before = self.given
        memory.look(batches)
        return self.given > before


def test_memory_goes_back_when_more_is_held_than_is_needed_and_after_work():
    from topic_sum.inference.memory import Memory

    machine = Machine()
    memory = Memory(lambda: machine.held, machine.give_back, lambda: machine.now)
    assert machine.look(memory, 0), "the first look learns what is needed"
    assert not machine.look(memory, 0, 60), "nothing was done"
    machine.held = 315
    assert not machine.look(memory, 0, 1), "a little more is no reason"
    machine.held = 330
    assert machine.look(memory, 0, 1), "a tenth more is"
    machine.held, machine.needed = 400, 380
    assert not machine.look(memory, 0, 0.1), "not all the time"
    assert machine.look(memory, 0, 1)
    machine.held = 400
    assert not machine.look(memory, 1, 3), "so much was needed a moment ago"
    assert machine.look(memory, 1, 3), "after work it goes back all the same"
    assert not machine.look(memory, 1, 60), "nothing was done since"


def test_what_is_needed_no_longer_is_forgotten():
    from topic_sum.inference.memory import Memory

    machine = Machine()
    memory = Memory(lambda: machine.held, machine.give_back, lambda: machine.now)
    machine.held = machine.needed = 1000
    machine.look(memory, 0)
    machine.needed = 300
    for batch in range(1, 60):
        machine.held = 400
        machine.look(memory, batch, 5)
    machine.held = 340
    assert machine.look(memory, 59, 1)


def test_what_a_process_holds_is_told():
    from topic_sum.processor import resident

    before = resident()
    if sys.platform != "linux":
        assert before == 0
        return
    more = bytearray(50_000_000)
    assert 30e6 < resident() - before < 80e6
    assert len(more) == 50_000_000


def test_a_service_looks_after_its_memory_until_it_is_stopped(monkeypatch, tmp_path):
    from topic_sum.inference import watch
    from topic_sum.inference.revision import Source
    from topic_sum.inference.service import Limits, Service

    looked = threading.Semaphore(0)
    monkeypatch.setattr(watch.Memory, "look", lambda self, batches: looked.release())
    monkeypatch.setattr(watch, "IDLE_SECONDS", 0.01)
    monkeypatch.setattr(watch.CurrentModel, "refresh", lambda self: None)
    service = Service(Source("demo/tiny", "production", tmp_path), Limits(1, 4, 1, 60, 16, 10, 300))
    service.start()
    assert looked.acquire(timeout=10)
    service.stop()
    for thread in service.watch.threads:
        thread.join(timeout=10)
        assert not thread.is_alive()
    time.sleep(0.2)
    while looked.acquire(blocking=False):
        pass
    assert not looked.acquire(timeout=0.2)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "MODEL_REPO is not set"),
        ({"MODEL_REPO": "nothing"}, "MODEL_REPO='nothing' is not of the form user/name"),
        ({"MODEL_REPO": "a/b", "PORT": "http"}, "PORT='http' is not a whole number"),
        ({"MODEL_REPO": "a/b", "PORT": "70000"}, "PORT=70000 must be between 1 and 65535"),
        ({"MODEL_REPO": "a/b", "HF_ENDPOINT": "localhost:1"}, "HF_ENDPOINT='localhost:1' is not an address"),
        ({"MODEL_REPO": "a/b", "RATE_LIMIT": "many"}, "RATE_LIMIT='many' is not like 60/minute"),
        (
            {"MODEL_REPO": "a/b", "HF_TOKEN_PATH": "/no/such"},
            "HF_TOKEN_PATH='/no/such' is not a file that can be read",
        ),
        ({"MODEL_REPO": "a/b", "LOG_FORMAT": "xml"}, "LOG_FORMAT='xml' is none of text, json"),
    ],
)
def test_a_wrong_setting_ends_with_exit_2_and_one_line(repo_root, settings, words):
    ended = run_api(repo_root, **settings)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert words in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_taken_port_ends_with_exit_5_and_one_line(repo_root):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = run_api(repo_root, MODEL_REPO="a/b", PORT=str(taken.getsockname()[1]))
    assert ended.returncode == 5
    assert ended.stderr.startswith("error: cannot listen on 127.0.0.1:")
    assert "set PORT" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_ready_is_said_once_with_address_and_model(api, published):
    assert api.log.count("API ready at") == 1
    assert f"API ready at {api.url}/ (model demo/tiny@{published[:8]})" in api.log


def test_without_a_model_the_api_lives_waits_and_is_ready_when_one_comes(
    serve, model_hub, model_folder, until
):
    server = serve(wait=False, MODEL_REPO="demo/later", MODEL_CHECK_SECONDS="1")
    until(lambda: server.get("/health/live").status == 200, "alive")
    until(lambda: "error:" in server.log, "the log says why")
    assert "error: model demo/later is not on" in server.log
    ready = server.get("/health/ready")
    assert ready.status == 503
    assert "demo/later" in ready.json["detail"]
    asked = server.post("/api/v1/analyze", {"text": "Слово"})
    assert (asked.status, asked.json["error"]["code"]) == (503, "not_ready")
    assert asked.headers["Retry-After"]
    model_hub.publish(model_folder, "demo/later")
    server.wait_ready()
    assert server.log.count("error:") == 1, server.log


def test_a_wrong_token_is_named_and_tried_again(serve, published, until):
    server = serve(wait=False, HF_TOKEN="wrong")
    until(lambda: "error:" in server.log, "the log says why")
    assert "HF_TOKEN" in server.log
    assert "Traceback" not in server.log
    assert server.get("/health/ready").status == 503


def test_a_token_in_a_mounted_file_is_used(serve, model_hub, published, until, tmp_path):
    secret = tmp_path / "token"
    secret.write_text("wrong\n")
    server = serve(wait=False, HF_TOKEN="", HF_TOKEN_PATH=str(secret))
    until(lambda: "error:" in server.log, "the log says that the Hub takes no such token")
    assert "HF_TOKEN" in server.log and server.get("/health/ready").status == 503
    secret.write_text(f"{model_hub.token}\n")
    assert serve(HF_TOKEN="", HF_TOKEN_PATH=str(secret)).get("/health/ready").status == 200


def test_a_hub_that_is_down_without_a_local_copy_is_said_in_one_line(serve, free_port, until):
    server = serve(wait=False, hub_url=f"http://127.0.0.1:{free_port()}")
    until(lambda: "error:" in server.log, "the log says why")
    assert "does not answer" in server.log
    assert "HF_ENDPOINT" in server.log
    assert "Traceback" not in server.log
    assert server.get("/health/live").status == 200


def test_with_the_hub_down_the_local_copy_serves_and_says_so(serve, model_hub, published, text, tmp_path):
    first = serve()
    expected = first.post("/api/v1/summarize", {"text": text("sport")}).json["summary"]
    assert first.stop() == 0
    model_hub.stop()
    try:
        server = serve()
        body = server.get("/api/v1/model").json
        assert body["from_local_copy"] is True
        assert body["revision"] == published
        assert "does not answer" in body["trouble"]
        assert "serving the local copy" in server.log
        assert server.post("/api/v1/summarize", {"text": text("sport")}).json["summary"] == expected
    finally:
        model_hub.start()


def test_a_local_copy_damaged_on_disk_is_fetched_again(serve, published, tmp_path):
    assert serve().stop() == 0
    [blob] = {path.resolve() for path in tmp_path.rglob("ct2/model.bin")}
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 255
    blob.write_bytes(data)
    server = serve()
    assert "was damaged and is fetched again" in server.log
    assert server.get("/api/v1/model").json["revision"] == published


@pytest.fixture
def refusal(model_hub, tmp_path, caplog):
    """What the log says about a published model that must not serve."""

    def refused(folder, repo):
        from topic_sum.inference.current import CurrentModel
        from topic_sum.inference.revision import Source

        commit = model_hub.publish(folder, repo)
        source = Source(repo, "production", tmp_path / "copies", model_hub.url, model_hub.token)
        current = CurrentModel(source, translators=1)
        current.refresh()
        current.refresh()
        assert not current.ready
        [line] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        assert line.startswith(f"error: model {repo}@{commit[:8]} is refused: ")
        assert current.trouble in line.replace(str(tmp_path), "")
        assert str(tmp_path) not in current.trouble
        return line

    return refused


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (MemoryError(), "there is too little memory to load it"),
        (RuntimeError("mkl_malloc: failed to allocate memory"), "ct2/ cannot be loaded: mkl_malloc"),
        (Exception("Too many open files (os error 24)"), "tokenizer.json cannot be read"),
    ],
)
def test_a_model_that_could_not_be_loaded_for_a_moment_is_tried_again(
    model_hub, model_folder, tmp_path, caplog, monkeypatch, fault, words
):
    from topic_sum.inference import engine
    from topic_sum.inference.current import CurrentModel
    from topic_sum.inference.revision import Source

    commit = model_hub.publish(model_folder, "demo/moment")
    source = Source("demo/moment", "production", tmp_path / "copies", model_hub.url, model_hub.token)
    events: list[str] = []
    current = CurrentModel(source, 1, events.append)

    def fail(*_, **__):
        raise fault

    with monkeypatch.context() as patched:
        if isinstance(fault, MemoryError | RuntimeError):
            patched.setattr(engine.ctranslate2, "Translator", fail)
        else:
            patched.setattr(engine.Tokenizer, "from_file", fail)
        current.refresh()
        current.refresh()
    assert not current.ready
    assert words in current.trouble
    [line] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "could not be loaded now" in line
    current.refresh()
    assert current.model.revision == commit
    assert current.trouble == ""
    assert events == ["model_not_loaded", "model_not_loaded", "model_loaded"]


def test_while_a_new_model_cannot_be_loaded_the_one_before_it_serves(
    model_hub, model_folder, changed, tmp_path, monkeypatch
):
    from topic_sum.inference import current as module
    from topic_sum.inference.errors import NotNow
    from topic_sum.inference.revision import Source

    source = Source("demo/next", "production", tmp_path / "copies", model_hub.url, model_hub.token)
    old = model_hub.publish(model_folder, "demo/next")
    module.CurrentModel(source, 1).refresh()
    new = model_hub.publish(changed(dataset={"repo": "demo/news", "revision": "f" * 40}), "demo/next")
    load = module.load_model

    def load_old(folder, repo, commit, translators):
        if commit == new:
            raise NotNow("there is too little memory")
        return load(folder, repo, commit, translators)

    second = module.CurrentModel(source, 1)
    with monkeypatch.context() as patched:
        patched.setattr(module, "load_model", load_old)
        second.refresh()
        assert second.model.revision == old != new
        assert "too little memory" in second.trouble
    second.refresh()
    assert (second.model.revision, second.trouble) == (new, "")


def test_an_unknown_format_is_refused(refusal, changed):
    assert "format 3, this API reads formats 1 and 2" in refusal(changed(format=3), "demo/format")


def test_a_missing_file_is_named(refusal, changed):
    folder = changed()
    (folder / "ct2" / "model.bin").unlink()
    assert "ct2/model.bin is missing" in refusal(folder, "demo/missing")


def test_a_damaged_ct2_model_is_refused(refusal, changed):
    folder = changed()
    model = folder / "ct2" / "model.bin"
    model.write_bytes(model.read_bytes()[:20_000])
    assert "ct2/ cannot be loaded" in refusal(folder, "demo/damaged")


def test_a_pickle_is_never_loaded_by_its_name(refusal, changed):
    folder = changed(topic={"path": "topic/model.pkl"})
    (folder / "topic" / "model.pkl").write_bytes(pickle.dumps([1]))
    assert "topic/model.pkl" in refusal(folder, "demo/pickle")


def test_load_model_refuses_a_pickle_named_safetensors(changed, tmp_path):
    from topic_sum.inference.errors import ModelRefused
    from topic_sum.inference.model import load_model

    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    folder = changed()
    (folder / "topic" / "model.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ModelRefused, match=r"model\.safetensors is refused: no safetensors file"):
        load_model(folder, "a/b", "c", 1)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        (
            {"topic": {"path": "topic/model.skops"}},
            "topic/model.skops is never opened: this API reads topic from a .safetensors file; train again",
        ),
        ({"topic": {"path": "topic/none.safetensors"}}, "topic/none.safetensors is missing"),
        ({"topic": {"labels": [{"label": "a", "name": "А"}]}}, "3 topics, tasks.json names 1"),
        ({"topic": {"mask": ["("]}}, "bad regular expression"),
        ({"topic": {"path": "../../etc/passwd"}}, "outside the model"),
        ({"topic": 5}, "no section 'topic'"),
        ({"summarize": {"source_max_tokens": "600"}}, "summarize.source_max_tokens is '600'"),
        ({"summarize": {"engine": "onnx"}}, "engine 'onnx'"),
        ({"summarize": {"generation": {"temperature": 2}}}, "unknown generation settings: temperature"),
        ({"summarize": {"eos": "<end>"}}, "no piece '<end>'"),
        ({"summarize": {"source_max_tokens": 10**9}}, "source_max_tokens is 1000000000"),
        ({"summarize": {"generation": {"beam_size": "4"}}}, "generation.beam_size is '4'"),
        ({"summarize": {"generation": {"beam_size": 40_000}}}, "generation.beam_size is 40000"),
        ({"summarize": {"generation": {"max_decoding_length": 10**12}}}, "max_decoding_length is 10000"),
        ({"summarize": {"generation": {"length_penalty": float("nan")}}}, "length_penalty is nan"),
        (
            {"summarize": {"generation": {"min_decoding_length": 300}}},
            "min_decoding_length is 300, more than",
        ),
        ({"topic": {"labels": [{"label": 1, "name": "А"}]}}, "topic.labels holds {'label': 1"),
        ({"topic": {"path": "topic/*.safetensors"}}, "outside the model"),
        ({"topic": {"kind": "sort"}}, "topic.kind is 'sort', this API knows generate, classify, regress"),
        ({"topic": {"kind": "regress", "minimum": 1, "maximum": 9}}, "holds a classifier"),
        ({"topic": {"kind": "regress", "minimum": 9, "maximum": 1}}, "topic.maximum is 1, not between 9"),
        ({"topic": {"source": "[{text}"}}, "topic.source: the template '[{text}' has a [ without its ]"),
        ({"topic": {"source": "{text}{items}"}}, "has the column 'items', an option of this API"),
        ({"topic": {"min_chars": 10**400}}, "topic.min_chars is 1000"),
        ({"summarize": {"source": "слово " * 300 + "{text}"}}, "leaves no tokens for a text"),
        ({"summarize": {"model": "/ct2"}}, "outside the model"),
        ({"dataset": {"repo": 5}}, "dataset.repo is 5"),
        ({"tasks": 5}, "no section 'tasks'"),
        ({"tasks": None}, "no section 'tasks'"),
        ({"topic": {"threshold": 40}}, "topic.threshold is 40"),
    ],
)
def test_load_model_refuses_tasks_it_cannot_keep(changed, sections, words):
    from topic_sum.inference.errors import ModelRefused
    from topic_sum.inference.model import load_model

    with pytest.raises(ModelRefused) as refused:
        load_model(changed(**sections), "a/b", "c", 1)
    assert words in str(refused.value)


def test_a_new_revision_replaces_the_old_one_while_requests_go_on(
    serve, model_hub, model_folder, changed, text, until
):
    first = model_hub.publish(model_folder, "demo/moving")
    server = serve(MODEL_REPO="demo/moving", MODEL_CHECK_SECONDS="1")
    assert server.get("/api/v1/model").json["revision"] == first
    second = model_hub.publish(changed(summarize={"metrics": {"rougeL": 99.0}}), "demo/moving")
    seen = []

    def swapped():
        answer = server.post("/api/v1/analyze", {"text": text("sport", seed=len(seen))})
        assert answer.status == 200, answer.raw
        seen.append(answer.json["model"]["revision"])
        return seen[-1] == second

    until(swapped, "the new revision serves")
    assert seen[0] == first
    assert server.get("/api/v1/model").json["metrics"]["rougeL"] == 99.0


def test_a_broken_new_revision_is_refused_counted_and_left_alone(
    serve, model_hub, model_folder, changed, until
):
    first = model_hub.publish(model_folder, "demo/breaking")
    server = serve(MODEL_REPO="demo/breaking", MODEL_CHECK_SECONDS="1")
    broken = model_hub.publish(changed(format=3), "demo/breaking")
    until(lambda: "is refused" in server.log, "the refusal is logged")
    assert f"demo/breaking@{broken[:8]} is refused" in server.log
    assert f"still serving {first[:8]}" in server.log
    body = server.get("/api/v1/model").json
    assert body["revision"] == first
    assert "format 3" in body["trouble"]
    assert (
        'topic_sum_model_events_total{event="model_refused"} 1.0'
        in server.get("/api/v1/metrics").raw.decode()
    )
    # The tag moves back: all is well again, and nothing was reloaded.
    fixed = model_hub.publish(model_folder, "demo/breaking")
    until(lambda: server.get("/api/v1/model").json["revision"] == fixed, "the repaired revision serves")
    assert server.get("/api/v1/model").json["trouble"] is None
