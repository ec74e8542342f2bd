"""How many summaries a second the API gives, next to a server as a careful user would write it.

    python3.11 benchmarks/serve.py [--rounds 3] [--seconds 30] [--clients 1 4 16] [--layers 12]
                                   [--output-tokens 80] [--json FILE]
    python3.11 benchmarks/serve.py --folder DIR --parts speed    # a part now, the others later

Both servers stand here and are asked in turns: the same texts, random weights in ruT5-base's shape (--layers
2 for a quick look), beams 4 and a fixed number of output tokens. The peer is Django REST framework around
transformers under gunicorn's two sync workers, once with a thread in each and, for one client, once with all
cores in each: the better counts. Each server has its own environment below artifacts/peers/, made when it is
not there: ours what its image has, the peer what it needs. This script itself needs the training environment.
Texts are the news of ../shared where it is there, else invented ones of the same lengths: 300 to 2,000
characters, which is one window. Read the ratios, not the seconds: they hold for one machine and one moment.
Ends with 1 where a figure is below its bar.

    speed        summaries a second, p50 and p99 at each number of clients, memory, of both; and CTranslate2
                 alone on the same texts, in one call, sorted by length, so many texts at once in a translator
    lengths      four clients with short texts, with those of one window, and with texts of any length, cut as
                 the peer cuts them, and read whole, in windows
    idle         what the second core can do for a lone client
    overhead     HTTP, validation, tokens and topic around a model that answers at once
    memory       25,000 mixed requests to that model: does the memory stay what it was after 5,000?
    overload     ten times as many requests as can be answered, for a minute
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import itertools
import json
import math
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from peers import Spread, at_home, in_turns, load, python_of, save, table

os.environ["HF_HUB_DISABLE_XET"] = "1"  # read when the Hub's client is imported
ROOT = Path(__file__).resolve().parent.parent
REPO = "bench/rut5-shaped"
TOKEN = "bench-token"  # noqa: S105  the stand-in Hub's own
PARTS = ("speed", "lengths", "idle", "overhead", "memory", "overload")
PEERS = ["torch", "transformers", "sentencepiece", "protobuf", "django", "djangorestframework", "gunicorn"]
TIMES = {1: 2.5, 4: 5.0, 16: 5.0}  # clients → at least so many times the peer's summaries a second
TAIL = 2.0  # p99 over p50, at the most clients, at most
LENGTHS = {  # of characters, and whether ours reads a long text in windows or only its first
    "300 to 800 characters": (300, 800, True),
    "300 to 2,000": (300, 2000, True),
    "any, the first window": (1, 10**9, False),
    "any, all windows": (1, 10**9, True),
}
# Texts at once in a translator of CTranslate2 alone. On a Xeon 3 was the best of 1 to 12; on an EPYC more is
# faster still, for more than twice the memory.
TOGETHER = (2, 3)
ALONE_SHARE = 0.9  # of what CTranslate2 alone gives in the memory that is allowed here, at least
MEMORY = 1 / 3  # of the peer's, at most; at full size
READY, AROUND, LEAK = 5.0, 8.0, 0.02  # seconds; milliseconds; growth
JSON = {"Content-Type": "application/json"}

PEER = """
import os
import django, torch
from django.conf import settings
settings.configure(
    SECRET_KEY="x", ROOT_URLCONF="peer", ALLOWED_HOSTS=["*"], INSTALLED_APPS=["rest_framework"],
    REST_FRAMEWORK={"DEFAULT_AUTHENTICATION_CLASSES": [], "UNAUTHENTICATED_USER": None})
django.setup()
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
from django.core.wsgi import get_wsgi_application
from django.urls import path
from rest_framework.decorators import api_view
from rest_framework.response import Response
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(os.environ["PEER_MODEL"])
model = AutoModelForSeq2SeqLM.from_pretrained(os.environ["PEER_MODEL"], dtype=torch.float32).eval()
length = int(os.environ["PEER_OUTPUT"])

@api_view(["POST"])
def summarize(request):
    text = "summarize: " + request.data["text"]
    inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=int(os.environ["PEER_INPUT"]))
    with torch.inference_mode():
        output = model.generate(**inputs, num_beams=4, max_new_tokens=length, min_new_tokens=length)
    return Response({"summary": tokenizer.decode(output[0], skip_special_tokens=True)})

@api_view(["GET"])
def ready(request):
    return Response({})

urlpatterns = [path("summarize", summarize), path("ready", ready)]
application = get_wsgi_application()
"""

ALONE = """
import json, sys, time
root, folder, translators, together = sys.argv[1:]
sys.path.insert(0, root)
from topic_sum.processor import prepare
prepare()
from pathlib import Path
from topic_sum.inference.engine import Engine
from topic_sum.inference.tasks import read_tasks
folder = Path(folder)
engine = Engine(folder, read_tasks(folder).tasks["summarize"], int(translators))
texts = json.load(sys.stdin)
sources = sorted((engine.source_tokens({"text": text}) for text in texts), key=len, reverse=True)
run = lambda some: engine._translator.translate_batch(
    some, max_input_length=0, max_batch_size=int(together), **engine._generation)
run(sources[-2:])
begun, worked = time.monotonic(), time.process_time()
run(sources)
print(json.dumps({
    "per_second": len(texts) / (time.monotonic() - begun),
    "processor": (time.process_time() - worked) / len(texts),
    "peak_mb": int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024,
}))
"""

IDLE = """
import json, statistics, sys, time
from concurrent.futures import ThreadPoolExecutor
root, folder = sys.argv[1:]
sys.path.insert(0, root)
from topic_sum.processor import prepare
prepare()
from pathlib import Path
import ctranslate2
from topic_sum.inference.engine import Engine
from topic_sum.inference.kinds.classify import Classify
from topic_sum.inference.served.text import normalise
from topic_sum.inference.tasks import read_tasks
folder = Path(folder)
tasks = read_tasks(folder).tasks
texts = json.load(sys.stdin)
engine = Engine(folder, tasks["summarize"], 2)
topics = Classify.load("topic", tasks["topic"], folder)
detect = lambda text: topics.classify({"text": normalise(text)})
pool = ThreadPoolExecutor(2)
one = lambda calls: [call() for call in calls]
two = lambda calls: [future.result() for future in [pool.submit(call) for call in calls]]

def seconds(call, times=3):
    call(texts[0])
    taken = []
    for text in texts[1:times + 1]:
        begun = time.monotonic()
        call(text)
        taken.append(time.monotonic() - begun)
    return statistics.median(taken)

found = {"one core": seconds(lambda text: engine.generate({"text": text}, 1, one, 16))}
found["topic"] = seconds(detect, len(texts) - 1)
long = lambda text: " ".join(texts)[:7000] + text[:9]
found["long text, one core"] = seconds(lambda text: engine.generate({"text": long(text)}, 1, one, 16), 1)
found["long text, two cores"] = seconds(lambda text: engine.generate({"text": long(text)}, 1, two, 16), 1)
found["3 variants, one core"] = seconds(lambda text: engine.generate({"text": text}, 3, one, 16))
found["3 variants, two cores"] = seconds(lambda text: engine.generate({"text": text}, 3, two, 16))
sources = {text: engine.source_tokens({"text": text}) for text in texts}
both = ctranslate2.Translator(str(folder / "ct2"), compute_type="int8", inter_threads=1, intra_threads=2)
found["one translation by two threads"] = seconds(
    lambda text: both.translate_batch([sources[text]], max_input_length=0, **engine._generation))
print(json.dumps(found))
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--folder", type=Path, help="keeps the models and the figures from part to part")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3, help="of the part speed")
    parser.add_argument("--seconds", type=float, default=30, help="each server is asked at a time")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--output-tokens", type=int, default=80)
    parser.add_argument("--input-tokens", type=int, default=600)
    parser.add_argument("--requests", type=int, default=20_000, help="of the part memory, after warming up")
    parser.add_argument("--json", type=Path, help="write every figure there")
    arguments = parser.parse_args()
    if arguments.folder:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        return measure_parts(arguments.folder.absolute(), arguments)
    with tempfile.TemporaryDirectory() as scratch:
        return measure_parts(Path(scratch), arguments)


def measure_parts(folder: Path, arguments: argparse.Namespace) -> int:
    cores = len(os.sched_getaffinity(0))
    texts = news()
    print(f"{cores} cores, {arguments.layers} + {arguments.layers} layers, {len(texts)} texts", flush=True)
    base, small = folder / "base", folder / "small"
    # ruT5-base: 768 wide, 3072 inside, 12 heads, 32,128 pieces.
    build(base, texts, arguments, layers=arguments.layers, width=768, beams=4, length=arguments.output_tokens)
    build(small, texts, arguments, layers=1, width=16, beams=1, length=1)
    path = folder / "figures.json"
    figures = json.loads(path.read_text()) if path.exists() else {}
    for part in arguments.parts:
        before = load()
        match part:
            case "speed":
                figures[part] = speed(base, texts, arguments, cores)
            case "lengths":
                figures[part] = lengths(base, arguments, cores)
            case "idle":
                figures[part] = idle(base, texts)
            case "overhead":
                figures[part] = overhead(small, texts)
            case "memory":
                figures[part] = memory(small, texts, arguments.requests)
            case "overload":
                capacity = capacity_of(figures.get("speed"))
                figures[part] = overload(
                    base, texts, capacity, 60 if arguments.seconds >= 20 else arguments.seconds
                )
        figures[part]["load_before"] = before
        save(path, figures)
    save(arguments.json, figures)
    return report(figures, arguments)


def capacity_of(speed: dict | None) -> float:
    """Summaries a second with the most clients; a guess where it was not measured."""
    return max((median for median, *_ in speed["ours"]["per_second"].values()), default=1.0) if speed else 1.0


def news(least: int = 300, most: int = 2000, count: int = 200) -> list[str]:
    path = ROOT.parent / "shared" / "data" / "tg2019_ru_fulltext.jsonl.gz"
    if path.exists():
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            texts = [json.loads(line)["text"] for line in lines]
    else:
        sys.path.insert(0, str(ROOT / "demo"))
        from news import generate

        texts = [" ".join([row["summary"], *row["paragraphs"]]) for row in generate(1000)]
    chance = random.Random(1)
    texts = [text for text in texts if least < len(text) < most]
    return chance.sample(texts, min(count, len(texts)))


def build(
    folder: Path,
    texts: list[str],
    arguments: argparse.Namespace,
    layers: int,
    width: int,
    beams: int,
    length: int,
) -> None:
    """The checkpoint for the peer and the model revision for us, with random weights."""
    checkpoint, revision = folder / "checkpoint", folder / "revision"
    if (revision / "tasks.json").exists():
        return
    import ctranslate2
    import sentencepiece
    import torch
    from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer

    shutil.rmtree(folder, ignore_errors=True)
    checkpoint.mkdir(parents=True)
    (folder / "texts.txt").write_text("\n".join(" ".join(text.split()) for text in texts), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "texts.txt"), model_prefix=str(checkpoint / "spiece"), vocab_size=8000,
        hard_vocab_limit=False, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
    tokenizer = T5Tokenizer.from_pretrained(checkpoint)
    torch.manual_seed(1)
    config = T5Config(
        vocab_size=32_128, d_model=width, d_kv=max(4, width // 12), d_ff=4 * width, num_layers=layers,
        num_heads=min(12, width // 4), decoder_start_token_id=0,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config)
    with torch.no_grad():  # only pieces that can be read win, as in a trained model
        model.shared.weight[8000:] = 0
        model.shared.weight[:3] = 0
    model.save_pretrained(checkpoint)
    tokenizer.save_pretrained(checkpoint)
    converter = ctranslate2.converters.TransformersConverter(str(checkpoint))
    converter.convert(str(revision / "ct2"), quantization="int8")
    shutil.copy(checkpoint / "tokenizer.json", revision)
    topics = topic_model(revision / "topics" / "topics.safetensors")
    tasks = {
        "format": 1,
        "dataset": {"repo": "bench/none", "revision": "0" * 40},
        "summarize": {
            "prefix": "summarize: ", "eos": "</s>", "engine": "ct2", "compute_type": "int8",
            "tokenizer": "tokenizer.json", "source_max_tokens": arguments.input_tokens,
            "generation": {"beam_size": beams, "max_decoding_length": length, "min_decoding_length": length},
        },
        "topic": {
            "path": "topics/topics.safetensors",
            "labels": [{"topic": str(number), "name": str(number)} for number in range(topics)],
            "threshold": 0.0,
            "max_chars": 1500, "min_chars": 1, "mask": [], "title_repeat": 2,
        },
    }  # fmt: skip
    (revision / "tasks.json").write_text(json.dumps(tasks))


def topic_model(path: Path, topics: int = 12) -> int:
    """A topic classifier as large as training's, with random weights; returns its number of topics."""
    import numpy as np

    sys.path.insert(0, str(ROOT / "t5_training"))
    from t5sum.served.classifier import Features, Linear, TextModel

    blocks = (Features("words", 1, 2, 17), Features("letters", 4, 5, 17))
    columns, chance = sum(block.columns for block in blocks), np.random.default_rng(1)
    weights = chance.normal(size=(columns, topics)).astype(np.float16)
    head = Linear(weights, np.zeros(topics, np.float32))
    TextModel(blocks, np.ones(columns, np.float32), head).save(path)
    return topics


# Servers


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(command: list[str], environment: dict[str, str], cwd: Path, ready: str) -> Iterator:
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd)} | environment
    process = subprocess.Popen(command, env=environment, cwd=cwd, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 300
        while True:
            try:
                urllib.request.urlopen(ready, timeout=5).close()  # noqa: S310
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"error: {command} did not get ready") from None
                time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=120)


def own_python() -> Path:
    """Python with the API's own lock and nothing else, as its image has it."""
    return python_of("api", lock=ROOT / "topic_sum_api" / "requirements.lock")


@contextmanager
def our_server(folder: Path, **settings: str) -> Iterator[tuple[str, subprocess.Popen, float]]:
    """The API as users run it, its model from the local copy; also the seconds from its start to ready."""
    hub_port, port = free_port(), free_port()
    hub = f"http://127.0.0.1:{hub_port}"
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        command = [sys.executable, "demo/hub.py", "--root", f"{scratch}/hub", "--port", str(hub_port),
                   "--token", f"{TOKEN}=bench"]  # fmt: skip
        environment = {
            "MODEL_REPO": REPO, "HF_ENDPOINT": hub, "HF_TOKEN": TOKEN, "PORT": str(port),
            "LOG_LEVEL": "WARNING", "ARTIFACTS_DIR": f"{scratch}/api",
        } | settings  # fmt: skip
        serve = [str(own_python()), "-m", "topic_sum"]
        api = ROOT / "topic_sum_api"
        with running(command, {}, ROOT, f"{hub}/"):
            from huggingface_hub import HfApi
            from huggingface_hub.utils import disable_progress_bars

            disable_progress_bars()
            client = HfApi(endpoint=hub, token=TOKEN)
            client.create_repo(REPO)
            commit = client.upload_folder(folder_path=folder / "revision", repo_id=REPO).oid
            client.create_tag(REPO, tag="production", revision=commit)
            url = f"http://127.0.0.1:{port}"
            with running(serve, environment, api, f"{url}/health/ready"):
                pass  # fetched once: the second start is the one from the local copy
            begun = time.monotonic()
            with running(serve, environment, api, f"{url}/health/ready") as process:
                yield url, process, time.monotonic() - begun


@contextmanager
def peer_server(folder: Path, arguments: argparse.Namespace, threads: int) -> Iterator:
    (folder / "peer.py").write_text(PEER)
    port = free_port()
    environment = {
        "PEER_MODEL": str(folder / "checkpoint"), "PEER_OUTPUT": str(arguments.output_tokens),
        "PEER_INPUT": str(arguments.input_tokens), "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1",
    }  # fmt: skip
    python = python_of("server", PEERS)
    command = [str(python), "-m", "gunicorn", "-w", "2", "-t", "3600", "-b", f"127.0.0.1:{port}",
               "--no-control-socket", "--log-level", "warning", "peer:application"]  # fmt: skip
    with running(command, environment, folder, f"http://127.0.0.1:{port}/ready") as process:
        yield f"http://127.0.0.1:{port}/summarize", process


def post(url: str, body: dict) -> dict:
    request = urllib.request.Request(url, json.dumps(body).encode(), JSON)  # noqa: S310
    with urllib.request.urlopen(request, timeout=3600) as answer:  # noqa: S310
        return json.load(answer)


def memory_mb(pid: int) -> float:
    """Of a process and its children; pages they share are counted once."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    total = sum(memory_mb(int(child)) for child in children)
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            total += int(line.split()[1]) / 1024
    return total


def processor_seconds(pid: int) -> float:
    """Of a process and its children: what other work on the machine hardly changes."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    mine = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return mine + sum(processor_seconds(int(child)) for child in children)


# Parts


def speed(folder: Path, texts: list[str], arguments: argparse.Namespace, cores: int) -> dict:
    """All servers stand; each is asked for a while, in turns. Who is not asked takes memory, no processor."""
    settings = {"CACHE_SIZE": "0", "QUEUE_SIZE": str(max(arguments.clients)), "REQUEST_SECONDS": "600"}
    found: dict = {"rounds": arguments.rounds, "seconds": arguments.seconds}
    with (
        our_server(folder, **settings) as (url, mine, found["ready_seconds"]),
        peer_server(folder, arguments, max(1, cores // 2)) as (peer_url, theirs),
    ):
        mine_url = f"{url}/api/v1/summarize"
        warm(mine_url, texts)
        warm(peer_url, texts)
        rounds: dict[str, dict[int, list[Asked]]] = {"ours": {}, "peer": {}, "all cores": {}}
        for clients in arguments.clients:
            with ExitStack() as stack:

                def asking(
                    name: str, url: str, process: subprocess.Popen, clients: int = clients
                ) -> Callable:
                    return lambda: ask(name, url, process, texts, clients, arguments.seconds)

                ways = {"ours": asking("ours", mine_url, mine), "peer": asking("peer", peer_url, theirs)}
                if (
                    clients == 1
                ):  # and only then: what servers share would count as a part of each one's memory
                    lone = stack.enter_context(peer_server(folder, arguments, cores))
                    warm(lone[0], texts)
                    ways["all cores"] = asking("peer, all cores a worker", *lone)
                for name, asked in in_turns(arguments.rounds, ways).items():
                    rounds[name][clients] = asked
        time.sleep(10)  # what is to be given back is
        memory = {"ours": memory_mb(mine.pid), "peer": memory_mb(theirs.pid)}
        most = max(arguments.clients)
        # The same texts, each once. More than in a turn: the last of them find no others to go with.
        turn = statistics.mean(len(asked.times) for asked in rounds["ours"][most])
        count = max(8, round((6 if arguments.seconds >= 20 else 2) * turn))
        same = random.Random(most).sample(texts, len(texts))[:count]
        # Ours is seen with all of them. The peer takes too long for that: with the longest, which cost most.
        longest = sorted(same, key=len)[-8:]
        heaviest = {"ours": [], "peer": [ask("peer, longest texts", peer_url, theirs, longest, most)]}
        both = in_turns(
            arguments.rounds,
            {
                "ours": lambda: ask("ours", mine_url, mine, same, most),
                **{str(size): partial(engine_alone, folder, same, cores, size) for size in TOGETHER},
            },
        )
    if 1 in rounds["all cores"] and rate(rounds["all cores"][1]).median > rate(rounds["peer"][1]).median:
        rounds["peer"][1] = rounds["all cores"][1]
    served = heaviest["ours"] = both.pop("ours")
    for name in ("ours", "peer"):
        told = found[name] = {
            "memory_mb": memory[name],
            "memory_in_turns_mb": max(each.memory_mb for each in rounds[name][most]),
            "memory_under_load_mb": max(each.memory_mb for each in rounds[name][most] + heaviest[name]),
        }
        for clients, asked in rounds[name].items():
            times = sorted(time for each in asked for time in each.times)
            for figure, value in (
                ("per_second", rate(asked)), ("processor", Spread.of(each.processor for each in asked)),
                ("p50", statistics.median(times)), ("p99", times[int(0.99 * (len(times) - 1))]),
                ("answers", len(times)),
            ):  # fmt: skip
                told.setdefault(figure, {})[str(clients)] = value
    found["ratio"] = {
        str(clients): Spread.of_ratios(
            (each.per_second for each in rounds["ours"][clients]),
            (each.per_second for each in rounds["peer"][clients]),
        )
        for clients in arguments.clients
    }
    found["processor ratio"] = {
        str(clients): Spread.of_ratios(
            (each.processor for each in rounds["peer"][clients]),
            (each.processor for each in rounds["ours"][clients]),
        )
        for clients in arguments.clients
    }
    found["engine"] = {
        size: {
            "per_second": Spread.of(each["per_second"] for each in alone),
            "peak_mb": Spread.of(each["peak_mb"] for each in alone),
            "ours_of_it": Spread.of_ratios(
                (asked.per_second for asked in served), (each["per_second"] for each in alone)
            ),
        }
        for size, alone in both.items()
    }
    return found


def lengths(folder: Path, arguments: argparse.Namespace, cores: int) -> dict:
    settings = {"CACHE_SIZE": "0", "QUEUE_SIZE": "16", "REQUEST_SECONDS": "600"}
    found: dict = {}
    with (
        our_server(folder, **settings) as (whole_url, whole, _),
        our_server(folder, MAX_WINDOWS="1", **settings) as (cut_url, cut, _),
        peer_server(folder, arguments, max(1, cores // 2)) as (peer_url, theirs),
    ):
        for what, (least, most, windows) in LENGTHS.items():
            texts = news(least, most)
            print(f"texts of {what}: {statistics.median(map(len, texts)):.0f} at the median", flush=True)
            url, mine = (whole_url, whole) if windows else (cut_url, cut)
            ways = {}
            for name, address, process in (
                ("ours", f"{url}/api/v1/summarize", mine), ("peer", peer_url, theirs)
            ):  # fmt: skip
                warm(address, texts)
                ways[name] = partial(ask, name, address, process, texts, 4, arguments.seconds)
            asked = in_turns(arguments.rounds, ways)
            found[what] = {name: rate(asked[name]) for name in ways} | {
                "ratio": Spread.of_ratios(*([each.per_second for each in asked[name]] for name in ways)),
                "characters": statistics.median(map(len, texts)),
            }
    return found


class Asked(NamedTuple):
    per_second: float
    processor: float  # seconds of it for an answer
    times: list[float]
    memory_mb: float  # the most seen while it was asked


def rate(asked: list[Asked]) -> Spread:
    return Spread.of(each.per_second for each in asked)


def warm(url: str, texts: list[str]) -> None:
    threads = [threading.Thread(target=post, args=(url, {"text": texts[0]})) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def ask(
    name: str,
    url: str,
    process: subprocess.Popen,
    texts: list[str],
    clients: int,
    seconds: float | None = None,
) -> Asked:
    """So many clients for so long, each with its next request when the last is answered.

    Without `seconds` until each of the texts was asked for once.
    """
    times: list[float] = []
    memory = [memory_mb(process.pid)]
    asking = threading.Event()
    shuffled = random.Random(clients).sample(texts, len(texts))
    order = iter(shuffled) if seconds is None else itertools.cycle(shuffled)
    end = time.monotonic() + (math.inf if seconds is None else seconds)

    def client() -> None:
        while time.monotonic() < end and (text := next(order, None)) is not None:
            begun = time.monotonic()
            post(url, {"text": text})
            times.append(time.monotonic() - begun)

    def look() -> None:
        while not asking.wait(0.5):
            memory.append(memory_mb(process.pid))

    watcher = threading.Thread(target=look)
    begun, worked = time.monotonic(), processor_seconds(process.pid)
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in [watcher, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - begun
    asking.set()
    watcher.join()
    worked = processor_seconds(process.pid) - worked
    asked = Asked(len(times) / took, worked / len(times), times, max(memory))
    print(
        f"{name}: {clients} clients, {asked.per_second:.2f}/s, p50 {statistics.median(times):.2f} s, "
        f"{len(times)} answers, {asked.processor:.2f} s of processor time each, {asked.memory_mb:.0f} MB",
        flush=True,
    )
    return asked


def engine_alone(folder: Path, texts: list[str], cores: int, together: int) -> dict:
    """CTranslate2 without a server: the texts in one call, sorted by length, a translator a core.

    So many texts go through a translator together.
    """
    found = json.loads(child(ALONE, folder, texts, str(cores), str(together)))
    print(
        f"CTranslate2 alone: {found['per_second']:.2f}/s over {len(texts)} texts in one call, "
        f"{together} together, {found['processor']:.2f} s of processor time each, "
        f"peak {found['peak_mb']:.0f} MB",
        flush=True,
    )
    return found


def idle(folder: Path, texts: list[str]) -> dict:
    found = json.loads(child(IDLE, folder, sorted(texts, key=len)[95:105]))
    for name, seconds in found.items():
        print(f"idle: {name}: {seconds:.3f} s", flush=True)
    return found


def child(script: str, folder: Path, texts: list[str], *more: str) -> str:
    command = [sys.executable, "-c", script, str(ROOT / "topic_sum_api"), str(folder / "revision"), *more]
    environment = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "DJANGO_SETTINGS_MODULE": ""}
    return subprocess.run(
        command, input=json.dumps(texts), stdout=subprocess.PIPE, text=True, env=environment, check=True
    ).stdout


def overhead(folder: Path, texts: list[str], count: int = 1000) -> dict:
    """Milliseconds of whole requests, one after the other, around a model that answers in one."""
    found = {}
    with our_server(folder, CACHE_SIZE="0") as (url, _, _):
        for path in ("summarize", "topic", "analyze"):
            with keep_alive(url) as ask:
                times = []
                for text in itertools.islice(itertools.cycle(texts), count):
                    begun = time.monotonic()
                    assert ask(f"/api/v1/{path}", {"text": text}) == 200
                    times.append(1000 * (time.monotonic() - begun))
            found[path] = statistics.median(times)
            print(f"overhead: {path} {found[path]:.1f} ms at the median of {count}", flush=True)
    return found


@contextmanager
def keep_alive(url: str) -> Iterator:
    """A client that keeps its connection, as most do: ask(path, body) -> status."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)

    def ask(path: str, body: dict) -> int:
        connection.request("POST", path, json.dumps(body).encode(), JSON)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    yield ask
    connection.close()


def memory(folder: Path, texts: list[str], count: int) -> dict:
    """Megabytes at rest over `count` requests of every kind, after a quarter as many to warm up.

    While it warms up the caches fill and the allocator finds its size. A reading differs from the next by 2%,
    so it is the median of the last quarter's readings against that of the first quarter's.
    """
    numbers = itertools.count()
    seen: Counter[int] = Counter()

    def body(number: int) -> tuple[str, dict]:
        text = f"{texts[number % len(texts)]} {number}"  # never the same twice
        match number % 20:
            case 0 | 1:
                return "summarize", {"text": text, "variants": 3, "max_chars": 60}
            case 2:
                return "topic", {"text": text[:400], "explain": True}
            case 3:
                return "analyze", {"texts": [text, "", text[::-1]]}
            case 4:
                return "analyze", {"text": 5}
        return "analyze", {"text": text}

    def client(url: str, until: int) -> None:
        with keep_alive(url) as ask:
            while (number := next(numbers)) < until:
                path, asked = body(number)
                seen[ask(f"/api/v1/{path}", asked)] += 1

    step = max(1, count // 20)
    found = {}
    # A real model answers 20,000 requests in hours, in which the watcher looks at the Hub some fifty times.
    with our_server(folder, MODEL_CHECK_SECONDS="3") as (url, process, _):
        for until in range(step, count + count // 4 + 1, step):
            threads = [threading.Thread(target=client, args=(url, until)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            time.sleep(1)
            found[until] = memory_mb(process.pid)
            print(f"memory: {found[until]:.1f} MB after {until} requests", flush=True)
    measured = [reading for until, reading in found.items() if until > count // 4]
    first, last = (
        statistics.median(some) for some in (measured[: len(measured) // 4], measured[-len(measured) // 4 :])
    )
    print(f"memory: {100 * (last / first - 1):+.1f}%, answers by status {dict(seen)}", flush=True)
    return {"readings": found, "first_mb": first, "last_mb": last, "growth": last / first - 1}


def overload(folder: Path, texts: list[str], capacity: float, seconds: float) -> dict:
    """Ten times `capacity` requests a second, whether answered or not; then one more."""
    statuses: Counter[str] = Counter()
    accepted: list[float] = []
    refused: list[float] = []
    probes: list[float] = []
    lock = threading.Lock()

    def one(url: str, text: str) -> None:
        begun = time.monotonic()
        try:
            post(f"{url}/api/v1/summarize", {"text": text})
            status, times = "200", accepted
        except urllib.error.HTTPError as error:
            status, times = str(error.code), refused
            if "Retry-After" not in error.headers:
                status += " without Retry-After"
        except OSError as error:
            status, times = f"no answer: {error}", refused
        with lock:
            statuses[status] += 1
            times.append(time.monotonic() - begun)

    def probe(url: str, end: float) -> None:
        while time.monotonic() < end:
            begun = time.monotonic()
            urllib.request.urlopen(f"{url}/health/ready", timeout=60).close()  # noqa: S310
            probes.append(time.monotonic() - begun)
            time.sleep(1)

    with our_server(folder, CACHE_SIZE="0") as (url, process, _):
        begun = time.monotonic()
        post(f"{url}/api/v1/summarize", {"text": texts[0]})
        alone = time.monotonic() - begun
        end = time.monotonic() + seconds
        threads = [threading.Thread(target=probe, args=(url, end))]
        threads[0].start()
        for text in itertools.cycle(texts):
            if time.monotonic() >= end:
                break
            threads.append(threading.Thread(target=one, args=(url, text)))
            threads[-1].start()
            time.sleep(1 / (10 * capacity))
        ended = time.monotonic()
        for thread in threads:
            thread.join()
        emptied = time.monotonic() - ended
        begun = time.monotonic()
        post(f"{url}/api/v1/summarize", {"text": texts[0]})
        after = time.monotonic() - begun
        assert process.poll() is None
    found = {
        "sent": sum(statuses.values()), "statuses": dict(statuses), "slowest_accepted": max(accepted),
        "slowest_refusal": max(refused, default=0), "slowest_probe": max(probes), "emptied_after": emptied,
        "alone_before": alone, "alone_after": after,
    }  # fmt: skip
    print(f"overload: {found}", flush=True)
    return found


def report(figures: dict[str, dict], arguments: argparse.Namespace) -> int:
    """Tables, and 1 where a figure is below its bar. Most bars are for the full size."""
    missed = []
    full = arguments.layers >= 12 and arguments.seconds >= 20

    def bar(what: str, good: bool, asked: str, count: bool = full) -> str:
        if not good and count:
            missed.append(what)
        return asked if good else f"{asked} MISSED" if count else f"{asked} at full size"

    if each := figures.get("speed"):
        lines = []
        mine, peer = each["ours"], each["peer"]
        for clients, ratio in each["ratio"].items():
            ratio, wanted = Spread(*ratio), TIMES.get(int(clients), 1.0)
            what = f"{clients} clients" if clients != "1" else "1 client"
            asked = bar(what, ratio.median >= wanted, f"{wanted:g}", count=True)
            rates = (Spread(*server["per_second"][clients]) for server in (mine, peer))
            lines.append((f"{what}, summaries/s", *rates, ratio, asked))
            worked = (Spread(*server["processor"][clients]) for server in (mine, peer))
            lines.append(("  processor s a summary", *worked, Spread(*each["processor ratio"][clients]), ""))
            waits = (f"{server['p50'][clients]:.1f}, {server['p99'][clients]:.1f}" for server in (mine, peer))
            tail = mine["p99"][clients] / mine["p50"][clients]
            asked = (
                bar(f"tail at {what}", tail < TAIL, f"{TAIL:g}")
                if clients == max(mine["p50"], key=int)
                else ""
            )
            lines.append(("  p50, p99 in s; ours p99 / p50", *waits, f"{tail:.2f}", asked))
        for figure, what in (
            ("memory_under_load_mb", "under load, the most"), ("memory_in_turns_mb", "under load, in turns"),
            ("memory_mb", "at rest"),
        ):  # fmt: skip
            share = mine[figure] / peer[figure]
            asked = bar(f"memory {what}", share <= MEMORY, f"{MEMORY:.2f}")
            lines.append((f"memory {what}, all processes, MB", f"{mine[figure]:.0f}", f"{peer[figure]:.0f}",
                          f"{share:.2f}", asked))  # fmt: skip
        judged = 0
        for size, alone in each["engine"].items():
            share, peak = Spread(*alone["ours_of_it"]), Spread(*alone["peak_mb"]).greatest
            asked = "too much memory"
            if not full or peak <= MEMORY * peer["memory_under_load_mb"]:
                judged += 1
                what = f"of CTranslate2 alone, {size} together"
                asked = bar(what, share.median >= ALONE_SHARE, f"{ALONE_SHARE:g}")
            lines.append((f"CTranslate2 alone, {size} together; ours of it", f"{peak:.0f} MB",
                          Spread(*alone["per_second"]), share, asked))  # fmt: skip
        bar("of CTranslate2 alone: none in the memory allowed", judged > 0, "")
        asked = bar("ready", each["ready_seconds"] < READY, f"{READY:g}")
        lines.append(("ready from the local copy, s", f"{each['ready_seconds']:.1f}", "", "", asked))
        table(["", "ours", "peer", "ratio", "asked"], lines)
    if each := figures.get("lengths"):
        table(
            ["4 clients, texts of", "characters, median", "ours/s", "peer/s", "ratio"],
            [
                (what, told["characters"], *(Spread(*told[name]) for name in ("ours", "peer", "ratio")))
                for what in LENGTHS
                for told in [each[what]]
            ],
        )
    lines = []
    if each := figures.get("overhead"):
        asked = bar("overhead", each["summarize"] < AROUND, f"{AROUND:g}")
        lines.append(("around an engine that answers at once, ms", f"{each['summarize']:.1f}", asked))
    if each := figures.get("memory"):
        asked = bar("memory after many requests", each["growth"] < LEAK, f"{LEAK:.0%}")
        lines.append(("memory after many requests", f"{each['growth']:+.1%}", asked))
    if each := figures.get("overload"):
        unanswered = each["sent"] - sum(each["statuses"].get(status, 0) for status in ("200", "503"))
        lines.append(
            ("overload: without an answer", unanswered, bar("overload", not unanswered, "0", count=True))
        )
    if lines:
        table(["", "ours", "asked"], lines)
    print(f"missed: {', '.join(missed)}" if missed else "every bar is reached")
    return int(bool(missed))


if __name__ == "__main__":
    at_home("training", "api")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are stopped, too
    try:
        sys.exit(main())
    except urllib.error.HTTPError as error:
        sys.exit(f"error: a server answered {error.code}: {error.read().decode(errors='replace')}")
