"""The loaded model without HTTP: windows, time limits, the scheduler."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from topic_sum.inference.admission import Job
from topic_sum.inference.batches import Queued
from topic_sum.inference.cache import Cache
from topic_sum.inference.engine import Translation
from topic_sum.inference.errors import Busy, ClientGone, TimeLimit
from topic_sum.inference.scheduler import Scheduler
from topic_sum.inference.served.text import normalise


@pytest.fixture(scope="session")
def engine(loaded):
    return loaded.task("summarize").engine


def in_order(calls):
    return [call() for call in calls]


def test_the_source_is_prefix_text_and_end(engine, text):
    tokens = engine.source_tokens({"text": text("sport")})
    assert tokens[-1] == "</s>"
    assert "".join(tokens).replace("▁", " ").strip().startswith("summarize:")


CONTROL = re.compile(r"</s>|<pad>|<extra_id_\d+>")


@pytest.mark.parametrize(
    "typed", ["</s>", "<pad>", "<extra_id_0>", "слово</s>слово", "\uff1c/s\uff1e", "<<pad>>"]
)
def test_pieces_with_a_meaning_are_text_when_a_user_types_them(engine, text, typed):
    tokens = engine.source_tokens({"text": normalise(f"{typed} {text('sport')} {typed}")})
    assert [token for token in tokens if CONTROL.fullmatch(token)] == ["</s>"]
    assert tokens[-1] == "</s>"
    # They cost pieces like all text does: nothing was swallowed.
    assert len(tokens) > len(engine.source_tokens({"text": text("sport")})) + 2
    assert engine.generate({"text": normalise(typed + text("sport"))}, 2, in_order, 8).texts


def test_no_window_is_longer_than_the_model_reads_and_no_word_is_lost(engine, text):
    long = normalise(text("sport", sentences=60))
    windows, cut = engine._windows({"text": long}, "text", 1000)
    assert not cut
    assert len(windows) > 3
    assert all(len(window) + 1 <= 250 for window in windows)
    read = "".join("".join(window).replace("▁", " ").replace("summarize:", " ") for window in windows)
    assert read.split() == long.split()
    sizes = [len(window) for window in windows]
    assert min(sizes) > 0.5 * max(sizes)


def test_a_sentence_without_end_is_split_at_words(engine):
    endless = "слово и дело " * 500
    windows, _ = engine._windows({"text": normalise(endless)}, "text", 1000)
    assert all(len(window) + 1 <= 250 for window in windows)


def test_a_word_without_end_is_still_answered(engine):
    generation = engine.generate({"text": "ы" * 20_000}, 1, in_order, 8)
    assert generation.source.windows == 8
    assert generation.source.cut


def test_the_summary_of_a_text_is_the_same_every_time(engine, text):
    asked = normalise(text("culture", seed=9))
    first = engine.generate({"text": asked}, 3, in_order, 8).texts
    assert engine.generate({"text": asked}, 3, in_order, 8).texts == first


# Words of all lengths, marks that end sentences and marks that only look so, control pieces, other scripts.
WORDS = st.sampled_from(
    ["слово", "и", "г.", "т. д.", "«Енисей»", "—", "!", "?..", "1 000", "</s>", "<pad>", "ы" * 400, "news",
     "新闻", "3:1", "Москва.", "Рябинин", "\U0001f600", "а́", "ёлка,"]
)  # fmt: skip
TEXTS = st.lists(WORDS, min_size=1, max_size=700).map(" ".join).map(normalise)
often = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@often
@given(TEXTS, st.sampled_from(["", "Заголовок", "Очень длинный заголовок " * 20]))
def test_windows_hold_every_word_once_and_in_order(engine, text, title):
    if not text:
        return
    windows, cut = engine._windows({"text": text, "title": title}, "text", 1000)
    assert not cut
    assert all(len(window) + 1 <= 250 for window in windows)
    read = "".join("".join(window).replace("▁", " ").removeprefix(" summarize:") for window in windows)
    # Only the spaces may differ: a word longer than a window is split.
    assert re.sub(r"\s", "", read) == re.sub(r"\s", "", engine._tokenizer.normalizer.normalize_str(text))


@often
@given(TEXTS, st.integers(1, 5))
def test_variants_are_different_no_more_than_asked_and_begin_with_the_summary(engine, text, count):
    found = engine.generate({"text": text}, count, in_order, 8)
    [summary] = engine.generate({"text": text}, 1, in_order, 8).texts or [""]
    assert len(found.texts) <= count
    assert len(set(found.texts)) == len(found.texts)
    assert found.texts[:1] == ([summary] if summary else found.texts[:1])
    assert all(each == " ".join(each.split()) for each in found.texts)


def test_a_request_out_of_time_ends_while_its_text_is_split(engine, text):
    """Splitting and counting pieces happens outside the scheduler, which keeps the time of the rest."""

    def check():
        raise TimeLimit("out of time")

    with pytest.raises(TimeLimit):
        engine.generate({"text": normalise(text("sport", 200))}, 1, in_order, 8, check)


def test_the_service_ends_a_request_before_its_turn_when_time_or_client_are_gone(
    in_process, loaded, text, monkeypatch
):
    from topic_sum.serving import service

    monkeypatch.setattr(
        service().scheduler, "run", lambda *given: pytest.fail("it was given to a translator")
    )
    asked = normalise(text("sport", 200, seed=31))
    with pytest.raises(TimeLimit):
        service().answer(loaded, loaded.task("summarize"), {"text": asked}, {}, staying(-1))
    with pytest.raises(ClientGone):
        service().answer(loaded, loaded.task("summarize"), {"text": asked}, {}, staying(gone=lambda: True))


def test_no_more_is_split_than_is_read(engine, text):
    looked = []
    asked = normalise(text("sport", 400))
    generation = engine.generate({"text": asked}, 1, in_order, 2, lambda: looked.append(1))
    assert generation.source.windows == 2
    assert generation.source.cut
    assert 0 < len(looked) < 60, "of 400 sentences"


def test_the_calls_of_one_request_can_run_at_the_same_time(engine, text):
    """The same variants, whether its calls are made one after the other or all at once."""
    from concurrent.futures import ThreadPoolExecutor

    asked = normalise(text("economy", seed=3))
    with ThreadPoolExecutor(4) as pool:
        together = engine.generate(
            {"text": asked},
            3,
            lambda calls: [each.result() for each in [pool.submit(call) for call in calls]],
            8,
        )
    assert together.texts == engine.generate({"text": asked}, 3, in_order, 8).texts


ABUSE = """
import json, random, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from topic_sum.inference.engine import Engine
from topic_sum.inference.served.text import normalise
folder = Path(sys.argv[2])
asked = json.loads((folder / "tasks.json").read_text())["tasks"]["summarize"]
in_order = lambda calls: [call() for call in calls]
chance = random.Random(5)
texts = ["а", "\\U0001f600" * 50, "ы" * 3000, "</s>" * 100, "新闻 " * 300, "1 " * 200, "\\u0301" * 99]
for most in [0x500] * 6 + [0x2FFF] * 6:
    texts.append("".join(chr(chance.randrange(32, most)) for _ in range(60)))
for generation in json.loads(sys.argv[3]):
    print(generation, flush=True)
    engine = Engine(folder, asked | {"generation": asked["generation"] | generation}, 2)
    for text in filter(None, map(normalise, texts)):
        for count in (1, 5):
            engine.generate({"text": text, "title": text[:50]}, count, in_order, 4)
    pieces = [*engine._ids, "", "nothing of the kind", "ы" * 5000]
    for size in (0, 1, 2, 30, 249, 900):
        engine._outputs(chance.choices(pieces, k=size), 3, in_order)
print("alive")
"""


def test_no_input_ends_the_process(model_folder, repo_root):
    """CTranslate2 has ended the process where it should have raised: so this is tried in one of its own."""
    generations = [
        {}, {"beam_size": 1}, {"no_repeat_ngram_size": 1}, {"min_decoding_length": 24},
        {"beam_size": 6, "no_repeat_ngram_size": 2, "repetition_penalty": 3.0}, {"max_decoding_length": 1},
        {"length_penalty": -10}, {"repetition_penalty": 0.01, "coverage_penalty": 10, "patience": 4},
    ]  # fmt: skip
    command = [
        sys.executable, "-c", ABUSE, str(repo_root / "topic_sum_api"), str(model_folder),
        json.dumps(generations),
    ]  # fmt: skip
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, "MODEL_REPO": "a/b"}
    )
    assert (ended.returncode, ended.stdout.split()[-1:]) == (0, ["alive"]), (
        ended.stdout,
        ended.stderr[-2000:],
    )


def staying(seconds=60, gone=lambda: False):
    return Job(time.monotonic() + seconds, gone)


def test_the_scheduler_runs_calls_in_order_and_no_more_than_translators_at_once():
    scheduler = Scheduler(translators=2, queue_size=4)
    running, most = [0], [0]
    lock = threading.Lock()

    def call(number):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.02)
        with lock:
            running[0] -= 1
        return number

    calls = [lambda number=number: call(number) for number in range(7)]
    assert scheduler.run(calls, staying()) == list(range(7))
    assert most[0] == 2


def test_a_closed_scheduler_lets_nobody_wait():
    scheduler, release = Scheduler(translators=1, queue_size=5), threading.Event()
    blocker = threading.Thread(target=scheduler.run, args=([release.wait], staying()))
    blocker.start()
    threading.Timer(0.2, scheduler.close).start()
    with pytest.raises(TimeLimit, match="stopping"):
        scheduler.run([lambda: None], staying())
    release.set()
    blocker.join()
    with pytest.raises(TimeLimit, match="stopping"):
        scheduler.run([lambda: None], staying())


def test_a_full_scheduler_is_busy_and_a_slot_left_is_free_again():
    scheduler = Scheduler(translators=1, queue_size=1)
    with scheduler.slot(staying()), scheduler.slot(staying()):
        assert scheduler.admission.active == 2
        with pytest.raises(Busy) as busy, scheduler.slot(staying()):
            pass
        assert busy.value.retry_after >= 1
    with scheduler.slot(staying()):
        assert scheduler.admission.active == 1


def test_a_request_whose_turn_would_come_too_late_is_busy_at_once():
    scheduler = Scheduler(translators=1, queue_size=100, request_seconds=2)
    for _ in range(60):  # what requests take is learned: 0.02 s each, so 90 could wait
        with scheduler.slot(job := staying()):
            scheduler.run([lambda: time.sleep(0.02)], job)
    with ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(scheduler.slot(staying()))
    for _ in range(60):  # and learned again: 1 s each (said to be, not slept)
        with scheduler.slot(job := staying()):
            job.worked = 1.0
    with ExitStack() as stack:
        stack.enter_context(scheduler.slot(staying()))
        with pytest.raises(Busy) as busy:
            for _ in range(3):
                stack.enter_context(scheduler.slot(staying()))
        assert scheduler.admission.active < 3
        assert 1 <= busy.value.retry_after <= 2
    with scheduler.slot(staying()):  # nobody waits: whatever was learned, one is let in
        pass


def test_a_slow_machine_lets_in_no_crowd_before_it_has_answered_once():
    scheduler = Scheduler(translators=1, queue_size=100, request_seconds=10)
    scheduler.admission.expect(4)
    with ExitStack() as stack:
        for _ in range(2):  # one runs for 4 s, one waits for it; a third would be done after 12
            stack.enter_context(scheduler.slot(staying()))
        with pytest.raises(Busy):
            stack.enter_context(scheduler.slot(staying()))


def test_out_of_time_is_said_and_what_has_not_begun_is_never_run():
    scheduler = Scheduler(translators=1, queue_size=4)
    release, ran = threading.Event(), []
    blocker = threading.Thread(target=scheduler.run, args=([release.wait], staying()))
    blocker.start()
    with pytest.raises(TimeLimit):
        scheduler.run([lambda: ran.append(1)], staying(0.1))
    release.set()
    blocker.join()
    scheduler.run([lambda: None], staying())
    assert ran == []


def test_a_client_that_went_away_is_not_computed():
    scheduler = Scheduler(translators=1, queue_size=4)
    release, ran = threading.Event(), []
    blocker = threading.Thread(target=scheduler.run, args=([release.wait], staying()))
    blocker.start()
    with pytest.raises(ClientGone):
        scheduler.run([lambda: ran.append(1)], staying(gone=lambda: True))
    release.set()
    blocker.join()
    scheduler.run([lambda: None], staying())
    assert ran == []


class Read:
    """A call that the scheduler may put into a batch: it answers with its name."""

    batch_tokens, running_tokens = 1000, 1500

    def __init__(self, name, tokens, made, kind="a", seconds=0.0):
        self.name, self.tokens, self.made, self.kind, self.seconds = name, tokens, made, kind, seconds

    def __call__(self):
        return self.batch([self])[0]

    def batch(self, calls):
        self.made.append([call.name for call in calls])
        time.sleep(self.seconds)
        if any("fails" in call.name for call in calls):
            raise RuntimeError(calls[0].name)
        return [call.name for call in calls]


def queue_up(scheduler, calls, jobs=()):
    """What comes of calls of one request each that all wait when the only translator gets free."""
    release = threading.Event()
    jobs = jobs or [staying() for _ in calls]

    def one(call, job):
        try:
            with scheduler.slot(job):
                return scheduler.run([call], job)[0]
        except Exception as error:
            return type(error)

    with ThreadPoolExecutor(len(calls) + 1) as pool:
        blocker = pool.submit(scheduler.run, [release.wait], staying())
        answers = []
        for waiting, (call, job) in enumerate(zip(calls, jobs, strict=True), 1):
            answers.append(pool.submit(one, call, job))
            until(lambda waiting=waiting: len(scheduler._queue) == waiting or any(a.done() for a in answers))
        until(lambda: not any(job.gone() and not a.done() for job, a in zip(jobs, answers, strict=True)))
        release.set()
        blocker.result()
        return [answer.result() for answer in answers]


def until(true):
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_what_waits_is_made_in_batches_of_the_nearest_in_length_the_oldest_first():
    made: list[list[str]] = []
    lengths = (300, 90, 310, 100, 200, 290, 110, 150, 120)
    scheduler = Scheduler(translators=1, queue_size=50, max_batch_size=3)
    calls = [Read(str(tokens), tokens, made) for tokens in lengths]
    assert queue_up(scheduler, calls) == [str(tokens) for tokens in lengths]
    assert made == [["300", "310", "290"], ["90", "100", "110"], ["200", "150", "120"]]


@pytest.mark.parametrize(
    ("calls", "batches"),
    [
        ([("long", 600, "a"), ("short", 290, "a")], [["long"], ["short"]]),  # more than twice as long
        ([("one", 501, "a"), ("two", 501, "a")], [["one"], ["two"]]),  # more than 1,000 tokens together
        ([("one", 500, "a"), ("two", 400, "a")], [["one", "two"]]),
        ([("old", 100, "a"), ("new", 100, "b"), ("old too", 100, "a")], [["old", "old too"], ["new"]]),
        ([(str(n), 10, "a") for n in range(5)], [["0", "1", "2", "3"], ["4"]]),
    ],
)
def test_a_batch_holds_what_is_alike_and_no_more_than_its_memory(calls, batches):
    made: list[list[str]] = []
    scheduler = Scheduler(translators=1, queue_size=50, max_batch_size=4)
    names = queue_up(scheduler, [Read(name, tokens, made, kind) for name, tokens, kind in calls])
    assert (names, made) == ([name for name, _, _ in calls], batches)


def test_what_cannot_be_batched_is_made_alone_in_its_turn():
    made: list[list[str]] = []
    scheduler = Scheduler(translators=1, queue_size=50, max_batch_size=4)
    read = [Read(name, 100, made) for name in ("first", "second")]
    answers = queue_up(scheduler, [read[0], lambda: made.append(["explained"]), read[1]])
    assert answers == ["first", None, "second"]
    assert made == [["first", "second"], ["explained"]]


def test_a_batch_size_of_one_turns_batches_off():
    made: list[list[str]] = []
    scheduler = Scheduler(translators=1, queue_size=50, max_batch_size=1)
    queue_up(scheduler, [Read(str(n), 100, made) for n in range(3)])
    assert made == [["0"], ["1"], ["2"]]


def test_in_a_batch_nobody_pays_for_anothers_error(caplog):
    made: list[list[str]] = []
    scheduler = Scheduler(translators=1, queue_size=50, max_batch_size=4)
    answers = queue_up(scheduler, [Read(name, 100, made) for name in ("one", "fails", "two")])
    assert answers == ["one", RuntimeError, "two"]
    assert made == [["one", "fails", "two"], ["one"], ["fails"], ["two"]]
    assert "a batch of 3 failed (one): each is computed alone" in caplog.text


def test_a_batch_is_not_made_of_those_who_left():
    made: list[list[str]] = []
    scheduler = Scheduler(translators=1, queue_size=50, max_batch_size=4)
    jobs = [staying(), staying(gone=lambda: True), staying()]
    answers = queue_up(scheduler, [Read(name, 100, made) for name in ("one", "left", "two")], jobs)
    assert answers == ["one", ClientGone, "two"]
    assert made == [["one", "two"]]


@pytest.mark.parametrize(
    ("waiting", "busy", "taken"), [(4, 0, 1), (4, 2, 2), (4, 3, 4), (9, 0, 3), (1, 3, 1)]
)
def test_a_batch_leaves_to_idle_translators_what_they_can_do(waiting, busy, taken):
    scheduler = Scheduler(translators=4, queue_size=50, max_batch_size=4)
    scheduler._queue = [Queued(Read(str(n), 100, []), staying(), Future()) for n in range(waiting)]
    scheduler._running = [[Queued(None, staying(), Future())] for _ in range(busy)]
    assert [one.call.name for one in scheduler._take()] == [str(n) for n in range(taken)]
    assert len(scheduler._queue) == waiting - taken


@pytest.mark.parametrize(("held", "taken"), [(0, 2), (700, 2), (701, 1), (1500, 1)])
def test_a_batch_leaves_to_those_that_run_what_they_hold(held, taken):
    scheduler = Scheduler(translators=2, queue_size=50, max_batch_size=4)
    scheduler._queue = [Queued(Read(str(n), 400, []), staying(), Future()) for n in range(2)]
    scheduler._running = [[Queued(Read("runs", held, []), staying(), Future())]]
    assert [one.call.name for one in scheduler._take()] == [str(n) for n in range(taken)]


def test_what_a_batch_held_is_free_when_it_ends():
    made: list[list[str]] = []
    scheduler = Scheduler(translators=1, queue_size=50, max_batch_size=4)
    seen = []
    calls = [Read(name, tokens, made) for name, tokens in (("one", 500), ("fails", 400), ("long", 1400))]
    for call in calls:
        call.batch = lambda calls, batch=call.batch: (seen.append(scheduler._held), batch(calls))[1]
    queue_up(scheduler, calls)
    # Both in one batch, padded; one by one after its error; and one call for itself, however long.
    assert (seen, scheduler._held) == ([1000, 1000, 1000, 1400], 0)


def asked_again(clients, calls, translators=1, seconds=0.05):
    """Sizes of the batches made of `clients`, each asking for its next text as soon as it has the last."""
    scheduler = Scheduler(translators=translators, queue_size=50, max_batch_size=4)
    made: list[list[str]] = []

    def one(client):
        for number in range(calls):
            time.sleep(0.005 * client)  # one after the other
            scheduler.run([Read(f"{client} {number}", 100, made, seconds=seconds)], staying())

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(one, range(clients)))
    return [len(names) for names in made]


def test_those_a_batch_has_answered_go_together_again(monkeypatch):
    monkeypatch.setattr("topic_sum.inference.scheduler._GATHER_SECONDS", 2)
    monkeypatch.setattr("topic_sum.inference.scheduler._GATHER_SHARE", 10)
    sizes = asked_again(3, calls=5, seconds=0.3)
    assert sum(sizes) == 15
    # The first is taken alone; once the others are there they stay together while all three ask.
    assert sizes.count(3) >= 3


def test_nobody_waits_for_those_who_do_not_come(monkeypatch):
    monkeypatch.setattr("topic_sum.inference.scheduler._GATHER_SECONDS", 2)
    monkeypatch.setattr("topic_sum.inference.scheduler._GATHER_SHARE", 10)
    scheduler = Scheduler(translators=1, queue_size=50, max_batch_size=4)
    made: list[list[str]] = []
    queue_up(scheduler, [Read(str(n), 100, made) for n in range(3)])
    begun = time.monotonic()
    scheduler.run([Read("alone", 100, made)], staying())
    assert made[-1] == ["alone"]
    assert 0.5 < time.monotonic() - begun < 10, "the moment is over: it is taken alone"


@pytest.mark.parametrize("asked", [lambda: None, Read("long", 600, [])], ids=["explanation", "long"])
def test_no_moment_is_waited_for_what_goes_alone_anyway(monkeypatch, asked):
    monkeypatch.setattr("topic_sum.inference.scheduler._GATHER_SECONDS", 60)
    monkeypatch.setattr("topic_sum.inference.scheduler._GATHER_SHARE", 60)
    scheduler = Scheduler(translators=1, queue_size=50, max_batch_size=4)
    queue_up(scheduler, [Read(str(n), 100, []) for n in range(3)])
    begun = time.monotonic()
    scheduler.run([asked], staying())
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("translators", [1, 2])
def test_a_lone_client_waits_for_nobody(monkeypatch, translators):
    monkeypatch.setattr("topic_sum.inference.scheduler._GATHER_SECONDS", 60)
    monkeypatch.setattr("topic_sum.inference.scheduler._GATHER_SHARE", 60)
    begun = time.monotonic()
    assert asked_again(1, 10, translators) == [1] * 10
    assert asked_again(translators, 10, translators) == [1] * 10 * translators
    assert time.monotonic() - begun < 30


def test_how_many_are_inside_is_told_as_it_changes():
    told: list[int] = []
    scheduler = Scheduler(translators=1, queue_size=1, on_active=told.append)
    with scheduler.slot(staying()), scheduler.slot(staying()), pytest.raises(Busy), scheduler.slot(staying()):
        pass
    assert told == [1, 2, 1, 0]


def test_a_batchs_time_is_shared_by_those_in_it():
    made: list[list[str]] = []
    scheduler = Scheduler(translators=1, queue_size=50, request_seconds=60, max_batch_size=4)
    jobs = [staying() for _ in range(4)]
    queue_up(scheduler, [Read(str(n), 100, made, seconds=0.4) for n in range(4)], jobs)
    assert [round(job.worked, 1) for job in jobs] == [0.1] * 4
    assert scheduler.admission._request_average < 1.0 - 3 * 0.1  # four times a fifth of the way from 1 to 0.1


def test_a_call_that_outlives_its_request_is_learned_from():
    scheduler = Scheduler(translators=1, queue_size=50, request_seconds=60)
    scheduler.admission.expect(0.01)
    with pytest.raises(TimeLimit), scheduler.slot(job := staying(0.05)):
        scheduler.run([lambda: time.sleep(0.5)], job)
    assert scheduler.admission._request_average == 0.01
    scheduler.run([lambda: None], staying())  # behind it
    assert scheduler.admission._request_average > 0.09  # a fifth of the way to 0.5


def test_a_request_is_let_in_when_its_batch_will_end_in_time_and_not_its_share_alone():
    scheduler = Scheduler(translators=1, queue_size=50, request_seconds=10)
    scheduler.admission._request_average, scheduler.admission._batch_average = 1.0, 7.0
    with ExitStack() as stack:
        for _ in range(4):  # the last has three seconds of others before it
            stack.enter_context(scheduler.slot(staying()))
        with pytest.raises(Busy):
            stack.enter_context(scheduler.slot(staying()))


def test_a_long_list_has_no_more_in_line_than_its_share():
    made: list[list[str]] = []
    scheduler = Scheduler(translators=2, queue_size=50, max_batch_size=4)
    job, most = staying(), [0]

    class Counted(Read):
        def batch(self, calls):
            most[0] = max(most[0], job.queued)
            return super().batch(calls)

    with ThreadPoolExecutor(scheduler.per_request) as pool:  # as the API asks for a list of long texts
        parts = [
            [Counted(f"{text} {part}", 100, made, seconds=0.01) for part in range(6)] for text in range(4)
        ]
        answers = list(pool.map(lambda calls: scheduler.run(calls, job), parts))
    assert answers == [[call.name for call in calls] for calls in parts]
    assert (
        scheduler.per_request <= most[0] <= scheduler.per_request + 3
    )  # one for each thread, whatever the others have
    assert job.queued == 0


def test_a_batch_gives_the_answers_that_each_text_gets_alone(engine, text):
    ends = ("", "Вчера.", "В Омске, 5 мая.")
    texts = [f"{text(topic)} {end}" for topic in ("sport", "culture") for end in ends]
    calls = [Translation(engine, engine.source_tokens({"text": text})) for text in texts]
    assert len({call.tokens for call in calls}) > 2  # so that some are padded
    alone = [call() for call in calls]
    assert calls[0].batch(calls) == alone
    assert all(len(answer) == 1 and answer[0] for answer in alone)


def test_what_a_call_raises_comes_out():
    with pytest.raises(ZeroDivisionError):
        Scheduler(1, 1).run([lambda: 1 / 0], staying())


def test_the_cache_keeps_the_newest_and_zero_turns_it_off():
    cache = Cache(2)
    for key in "абв":
        cache.put(key, key)
    assert (cache.get("а"), cache.get("б"), cache.get("в")) == (None, "б", "в")
    off = Cache(0)
    off.put("а", 1)
    assert off.get("а") is None
