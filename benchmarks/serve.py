"""How many summaries a second the API gives, next to a server as a careful user would write it.

    .venv/bin/python benchmarks/serve.py [--layers 12] [--seconds 60] [--clients 1 4 16] [--output-tokens 80]

Both servers run here, one after the other, on the same texts and random weights in ruT5-base's shape
(--layers 2 for a quick look), with beams 4 and a fixed number of output tokens. The peer is Django REST
framework around transformers under gunicorn's sync workers, its threads set as well as they can be. Needs
the training environment (torch, transformers) beside the API's. Texts are the news of ../shared where it is
there, else invented ones of the same lengths.
Read the ratios, not the seconds: they hold for one machine and one moment.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ["HF_HUB_DISABLE_XET"] = "1"  # read when the Hub's client is imported
ROOT = Path(__file__).resolve().parent.parent
REPO = "bench/rut5-shaped"
TOKEN = "bench-token"  # noqa: S105  the stand-in Hub's own

PEER = """
import os, sys
import django, torch
from django.conf import settings
settings.configure(
    SECRET_KEY="x", ROOT_URLCONF="peer", ALLOWED_HOSTS=["*"], INSTALLED_APPS=["rest_framework"],
    REST_FRAMEWORK={"DEFAULT_AUTHENTICATION_CLASSES": [], "UNAUTHENTICATED_USER": None})
django.setup()
torch.set_num_threads(int(os.environ["PEER_THREADS"]))
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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=60, help="length of each measurement")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--output-tokens", type=int, default=80)
    parser.add_argument("--input-tokens", type=int, default=600)
    parser.add_argument("--skip-peer", action="store_true")
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        texts = news()
        print(
            f"{cores} cores, {arguments.layers} + {arguments.layers} layers, {len(texts)} texts", flush=True
        )
        build(folder, arguments, texts)
        figures: dict[str, dict] = {}
        with our_server(folder, max(arguments.clients)) as (url, process, ready_after):
            print(f"ours: ready {ready_after:.1f} s after its start from the local copy", flush=True)
            figures["ours"] = measure("ours", url, process, texts, arguments)
            figures["ours"]["overhead_ms"] = overhead(url, texts)
        figures["engine"] = {"per_second": engine_alone(folder, arguments, texts, cores)}
        if not arguments.skip_peer:
            with peer_server(folder, arguments, cores) as (url, process):
                figures["peer"] = measure("peer", url, process, texts, arguments)
    report(figures, arguments)


def news(count: int = 200) -> list[str]:
    path = ROOT.parent / "shared" / "data" / "tg2019_ru_fulltext.jsonl.gz"
    if path.exists():
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            texts = [json.loads(line)["text"] for line in lines]
    else:
        sys.path.insert(0, str(ROOT / "demo"))
        from news import generate

        texts = [" ".join([row["summary"], *row["paragraphs"]]) for row in generate(1000)]
    chance = random.Random(1)
    # Up to one window: how long texts are windowed is our own choice, the peer would cut them.
    texts = [text for text in texts if 300 < len(text) < 2000]
    return chance.sample(texts, min(count, len(texts)))


def build(folder: Path, arguments: argparse.Namespace, texts: list[str]) -> None:
    """The checkpoint for the peer, the model revision for us, on a stand-in Hub."""
    import ctranslate2
    import sentencepiece
    import sklearn
    import torch
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from skops.io import dump
    from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer

    checkpoint, revision = folder / "checkpoint", folder / "revision"
    checkpoint.mkdir()
    (folder / "texts.txt").write_text("\n".join(" ".join(text.split()) for text in texts), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "texts.txt"), model_prefix=str(checkpoint / "spiece"), vocab_size=8000,
        hard_vocab_limit=False, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
    tokenizer = T5Tokenizer.from_pretrained(checkpoint)
    torch.manual_seed(1)
    # ruT5-base: 768 wide, 3072 inside, 12 heads, 32,128 pieces.
    config = T5Config(
        vocab_size=32_128, d_model=768, d_kv=64, d_ff=3072, num_layers=arguments.layers, num_heads=12,
        decoder_start_token_id=0,
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
    pipeline = make_pipeline(HashingVectorizer(n_features=2**17), LogisticRegression())
    pipeline.fit(texts, [index % 3 for index in range(len(texts))])
    (revision / "topics").mkdir()
    dump(pipeline, revision / "topics" / "topics.skops")
    length = arguments.output_tokens
    tasks = {
        "format": 1,
        "dataset": {"repo": "bench/none", "revision": "0" * 40},
        "summarize": {
            "prefix": "summarize: ", "eos": "</s>", "engine": "ct2", "compute_type": "int8",
            "tokenizer": "tokenizer.json", "source_max_tokens": arguments.input_tokens,
            "generation": {"beam_size": 4, "max_decoding_length": length, "min_decoding_length": length},
        },
        "topic": {
            "path": "topics/topics.skops", "sklearn": sklearn.__version__,
            "labels": [{"topic": str(number), "name": str(number)} for number in range(3)], "threshold": 0.0,
            "max_chars": 1500, "min_chars": 1, "mask": [], "title_repeat": 2,
        },
    }  # fmt: skip
    (revision / "tasks.json").write_text(json.dumps(tasks))


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


@contextmanager
def our_server(folder: Path, clients: int) -> Iterator[tuple[str, subprocess.Popen, float]]:
    hub_port, port = free_port(), free_port()
    hub = f"http://127.0.0.1:{hub_port}"
    command = [sys.executable, "demo/hub.py", "--root", str(folder / "hub"), "--port", str(hub_port),
               "--token", f"{TOKEN}=bench"]  # fmt: skip
    environment = {
        "MODEL_REPO": REPO, "HF_ENDPOINT": hub, "HF_TOKEN": TOKEN, "PORT": str(port), "LOG_LEVEL": "WARNING",
        "ARTIFACTS_DIR": str(folder / "api"), "CACHE_SIZE": "0", "QUEUE_SIZE": str(clients),
        "REQUEST_SECONDS": "600",
    }  # fmt: skip
    serve = [sys.executable, "-m", "topic_sum"]
    api = ROOT / "topic_sum_api"
    with running(command, {}, ROOT, f"{hub}/"):
        from huggingface_hub import HfApi

        client = HfApi(endpoint=hub, token=TOKEN)
        client.create_repo(REPO)
        commit = client.upload_folder(folder_path=folder / "revision", repo_id=REPO).oid
        client.create_tag(REPO, tag="production", revision=commit)
        url = f"http://127.0.0.1:{port}"
        with running(serve, environment, api, f"{url}/health/ready"):
            pass  # fetched once: the second start is the one from the local copy
        begun = time.monotonic()
        with running(serve, environment, api, f"{url}/health/ready") as process:
            yield f"{url}/api/v1/summarize", process, time.monotonic() - begun


@contextmanager
def peer_server(folder: Path, arguments: argparse.Namespace, cores: int) -> Iterator:
    (folder / "peer.py").write_text(PEER)
    port = free_port()
    environment = {
        "PEER_MODEL": str(folder / "checkpoint"), "PEER_OUTPUT": str(arguments.output_tokens),
        "PEER_INPUT": str(arguments.input_tokens), "PEER_THREADS": str(max(1, cores // 2)),
        "OMP_NUM_THREADS": str(max(1, cores // 2)), "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "gunicorn", "-w", "2", "-t", "3600", "-b", f"127.0.0.1:{port}",
               "--no-control-socket", "peer:application"]  # fmt: skip
    with running(command, environment, folder, f"http://127.0.0.1:{port}/ready") as process:
        yield f"http://127.0.0.1:{port}/summarize", process


def post(url: str, text: str) -> None:
    body = json.dumps({"text": text}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=3600) as answer:  # noqa: S310
        json.load(answer)


def measure(name: str, url: str, process: subprocess.Popen, texts: list[str], arguments) -> dict:
    post(url, texts[0])
    result: dict = {"per_second": {}, "p50": {}, "p99": {}}
    for clients in arguments.clients:
        times: list[float] = []
        chance = random.Random(clients)
        end = time.monotonic() + arguments.seconds

        def client(end: float = end, chance: random.Random = chance, times: list[float] = times) -> None:
            while time.monotonic() < end:
                begun = time.monotonic()
                post(url, chance.choice(texts))
                times.append(time.monotonic() - begun)

        begun = time.monotonic()
        threads = [threading.Thread(target=client) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - begun
        times.sort()
        result["per_second"][clients] = len(times) / took
        result["p50"][clients] = statistics.median(times)
        result["p99"][clients] = times[int(0.99 * (len(times) - 1))]
        print(
            f"{name}: {clients} clients, {len(times) / took:.2f}/s, p50 {statistics.median(times):.2f} s, "
            f"p99 {result['p99'][clients]:.2f} s, {len(times)} answers",
            flush=True,
        )
    result["memory_mb"] = memory_mb(process.pid)
    print(f"{name}: {result['memory_mb']:.0f} MB (proportional set size of all its processes)", flush=True)
    return result


def overhead(url: str, texts: list[str], count: int = 200) -> float:
    """Median milliseconds of a request whose answer needs no summary: HTTP, validation, tokens of topic."""
    times = []
    for text in (texts * count)[:count]:
        begun = time.monotonic()
        post(url.replace("summarize", "topic"), text)
        times.append(1000 * (time.monotonic() - begun))
    print(f"ours: {statistics.median(times):.1f} ms a topic request at the median", flush=True)
    return statistics.median(times)


def engine_alone(folder: Path, arguments: argparse.Namespace, texts: list[str], cores: int) -> float:
    """CTranslate2 without a server: the texts in one call, sorted by length."""
    script = f"""
import json, sys, time
sys.path.insert(0, {str(ROOT / "topic_sum_api")!r})
from pathlib import Path
from topic_sum.inference.engine import Summarizer
folder = Path({str(folder / "revision")!r})
engine = Summarizer(folder, json.loads((folder / "tasks.json").read_text())["summarize"], {cores})
texts = json.loads(sys.stdin.read())
sources = [engine.source_tokens(text) for text in texts]
begun = time.monotonic()
engine._translator.translate_batch(sources, max_input_length=0, max_batch_size=1, **engine._generation)
print(len(texts) / (time.monotonic() - begun))
"""
    count = max(8, min(len(texts), int(arguments.seconds)))
    ended = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(texts[:count]), capture_output=True, text=True,
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}, check=True,
    )  # fmt: skip
    rate = float(ended.stdout)
    print(f"CTranslate2 alone: {rate:.2f}/s over {count} texts in one call", flush=True)
    return rate


def memory_mb(pid: int) -> float:
    """Of a process and its children; pages they share are counted once."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    total = sum(memory_mb(int(child)) for child in children)
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            total += int(line.split()[1]) / 1024
    return total


def report(figures: dict[str, dict], arguments: argparse.Namespace) -> None:
    ours, peer = figures["ours"], figures.get("peer")
    best = max(ours["per_second"].values())
    print(f"\nours / CTranslate2 alone: {best / figures['engine']['per_second']:.2f}")
    for clients in arguments.clients:
        line = f"{clients} clients: p99 / p50 = {ours['p99'][clients] / ours['p50'][clients]:.2f}"
        if peer:
            line += f", ours / peer = {ours['per_second'][clients] / peer['per_second'][clients]:.1f}"
        print(line)
    if peer:
        print(f"memory, ours / peer: {ours['memory_mb'] / peer['memory_mb']:.2f}")


if __name__ == "__main__":
    try:
        main()
    except urllib.error.HTTPError as error:
        sys.exit(f"error: a server answered {error.code}: {error.read().decode(errors='replace')}")
