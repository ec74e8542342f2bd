"""The loaded model without HTTP: windows, time limits, the waiting room."""

import threading
import time

import pytest
from topic_sum.inference.cache import Cache
from topic_sum.inference.errors import Busy, ClientGone, TimeLimit
from topic_sum.inference.room import Room
from topic_sum.inference.text import normalise


def in_order(calls):
    return [call() for call in calls]


def test_the_source_is_prefix_text_and_end(loaded, text):
    tokens = loaded.summarizer.source_tokens(text("sport"))
    assert tokens[-1] == "</s>"
    assert "".join(tokens).replace("▁", " ").strip().startswith("summarize:")


def test_pieces_with_a_meaning_typed_by_a_user_end_nothing_and_break_nothing(loaded, text):
    typed = f"</s> <pad> <unk> <extra_id_0> {text('sport')} </s>"
    tokens = loaded.summarizer.source_tokens(typed)
    assert len(tokens) > len(loaded.summarizer.source_tokens(text("sport")))
    assert loaded.summarize(typed, "", 2, in_order, 8).summaries


def test_no_window_is_longer_than_the_model_reads_and_no_word_is_lost(loaded, text):
    long = normalise(text("sport", sentences=60))
    windows, cut = loaded.summarizer._windows(long, "summarize: ", 1000)
    assert not cut
    assert len(windows) > 3
    assert all(len(window) + 1 <= 250 for window in windows)
    read = "".join("".join(window).replace("▁", " ").replace("summarize:", " ") for window in windows)
    assert read.split() == long.split()
    sizes = [len(window) for window in windows]
    assert min(sizes) > 0.5 * max(sizes)


def test_a_sentence_without_end_is_split_at_words(loaded):
    endless = "слово и дело " * 500
    windows, _ = loaded.summarizer._windows(normalise(endless), "summarize: ", 1000)
    assert all(len(window) + 1 <= 250 for window in windows)


def test_a_word_without_end_is_still_answered(loaded):
    generation = loaded.summarize("ы" * 20_000, "", 1, in_order, 8)
    assert generation.source.windows == 8
    assert generation.source.cut


def test_the_summary_of_a_text_is_the_same_every_time(loaded, text):
    asked = normalise(text("culture", seed=9))
    first = loaded.summarize(asked, "", 3, in_order, 8).summaries
    assert loaded.summarize(asked, "", 3, in_order, 8).summaries == first


def never_gone():
    return False


def test_the_room_runs_calls_in_order_and_no_more_than_translators_at_once():
    room = Room(translators=2, queue_size=4)
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
    assert room.run(calls, time.monotonic() + 30, never_gone) == list(range(7))
    assert most[0] == 2


def test_a_full_room_is_busy_and_a_place_left_is_free_again():
    room = Room(translators=1, queue_size=1)
    with room.place(), room.place():
        assert room.inside == 2
        with pytest.raises(Busy) as busy, room.place():
            pass
        assert busy.value.retry_after >= 1
    with room.place():
        assert room.inside == 1


def test_out_of_time_is_said_and_what_has_not_begun_is_never_run():
    room = Room(translators=1, queue_size=4)
    release, ran = threading.Event(), []
    blocker = threading.Thread(target=room.run, args=([release.wait], time.monotonic() + 30, never_gone))
    blocker.start()
    with pytest.raises(TimeLimit):
        room.run([lambda: ran.append(1)], time.monotonic() + 0.1, never_gone)
    release.set()
    blocker.join()
    room.run([lambda: None], time.monotonic() + 30, never_gone)
    assert ran == []


def test_a_client_that_went_away_is_not_computed():
    room = Room(translators=1, queue_size=4)
    release, ran = threading.Event(), []
    blocker = threading.Thread(target=room.run, args=([release.wait], time.monotonic() + 30, never_gone))
    blocker.start()
    with pytest.raises(ClientGone):
        room.run([lambda: ran.append(1)], time.monotonic() + 30, lambda: True)
    release.set()
    blocker.join()
    room.run([lambda: None], time.monotonic() + 30, never_gone)
    assert ran == []


def test_what_a_call_raises_comes_out():
    with pytest.raises(ZeroDivisionError):
        Room(1, 1).run([lambda: 1 / 0], time.monotonic() + 30, never_gone)


def test_the_cache_keeps_the_newest_and_zero_turns_it_off():
    cache = Cache(2)
    for key in "абв":
        cache.put(key, key)
    assert (cache.get("а"), cache.get("б"), cache.get("в")) == (None, "б", "в")
    off = Cache(0)
    off.put("а", 1)
    assert off.get("а") is None
