import asyncio
import os
import sys
import threading

import numpy as np
import pytest

from banditd.core.errors import EncoderOverloadedError, EncoderUnavailableError
from banditd.core.types import FloatArray
from banditd.encoders.pool import NICENESS, EncoderPool
from banditd.encoders.static import load_static_encoder


class GatedEncoder:
    """A blocking encoder that waits at a gate, so that tests decide when a text is done."""

    encoder_id = "gated@1"
    dimension = 2

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.seen: list[str] = []
        self.threads: set[str] = set()
        self.niceness: set[int] = set()
        self.entered = threading.Semaphore(0)

    def encode_now(self, text: str) -> FloatArray:
        self.seen.append(text)
        self.threads.add(threading.current_thread().name)
        if sys.platform == "linux":
            self.niceness.add(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        self.entered.release()
        self.gate.wait()
        if text == "fail":
            raise ZeroDivisionError(text)
        return np.array([1.0, 0.0])

    def count_tokens(self, text: str) -> int:
        return len(text.split())


async def open_pool(
    encoder: GatedEncoder, *, threads: int = 1, queue_size: int = 4, deadline_s: float = 30.0
) -> EncoderPool:
    pool = EncoderPool(encoder, threads=threads, queue_size=queue_size, deadline_s=deadline_s)
    await pool.open()
    encoder.gate.clear()
    for _ in range(threads):
        encoder.entered.acquire()
    return pool


async def until_working(encoder: GatedEncoder) -> None:
    await asyncio.to_thread(encoder.entered.acquire)


async def test_a_real_encoder_gives_the_same_vectors_through_the_pool() -> None:
    encoder = load_static_encoder()
    pool = EncoderPool(encoder, threads=2, queue_size=100, deadline_s=30.0)
    await pool.open()
    texts = [f"question number {index}" for index in range(40)]
    vectors = await asyncio.gather(*map(pool.encode, texts))
    np.testing.assert_array_equal(vectors, [encoder.encode_now(text) for text in texts])
    assert (pool.encoder_id, pool.dimension) == (encoder.encoder_id, encoder.dimension)
    assert pool.count_tokens("two words") == 2
    await pool.close()


async def test_one_text_more_than_the_queue_holds_is_refused_with_a_time_to_come_back() -> None:
    encoder = GatedEncoder()
    pool = await open_pool(encoder, threads=1, queue_size=2)
    running = asyncio.create_task(pool.encode("running"))
    await until_working(encoder)
    waiting = [asyncio.create_task(pool.encode(f"waiting {index}")) for index in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(EncoderOverloadedError) as refused:
        await pool.encode("one too many")
    assert refused.value.retry_after_s > 0
    encoder.gate.set()
    await asyncio.gather(running, *waiting)
    assert (await pool.encode("there is room again")).shape == (2,)
    assert "one too many" not in encoder.seen
    await pool.close()


async def test_a_missed_deadline_is_a_timeout_and_expired_texts_are_never_encoded() -> None:
    encoder = GatedEncoder()
    pool = await open_pool(encoder, threads=1, deadline_s=0.05)
    outcomes = await asyncio.gather(pool.encode("slow"), pool.encode("behind it"), return_exceptions=True)
    assert [getattr(outcome, "code", None) for outcome in outcomes] == ["ENCODER_TIMEOUT"] * 2
    encoder.gate.set()
    await pool.close()
    assert "behind it" not in encoder.seen


async def test_a_failing_model_is_reported_and_the_pool_goes_on() -> None:
    encoder = GatedEncoder()
    pool = await open_pool(encoder)
    encoder.gate.set()
    with pytest.raises(EncoderUnavailableError, match="ZeroDivisionError") as failed:
        await pool.encode("fail")
    assert failed.value.code == "ENCODER_FAILED"
    assert isinstance(failed.value.__cause__, ZeroDivisionError)
    assert (await pool.encode("fine")).shape == (2,)
    await pool.close()


async def test_a_cancelled_call_frees_its_place() -> None:
    encoder = GatedEncoder()
    pool = await open_pool(encoder, threads=1, queue_size=1)
    running = asyncio.create_task(pool.encode("running"))
    await until_working(encoder)
    waiting = asyncio.create_task(pool.encode("given up"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    instead = asyncio.create_task(pool.encode("instead"))
    await asyncio.sleep(0)
    encoder.gate.set()
    await asyncio.gather(running, instead)
    assert encoder.seen[1:] == ["running", "instead"]
    await pool.close()


async def test_texts_whose_deadline_passed_leave_the_queue_even_when_a_thread_is_stuck() -> None:
    encoder = GatedEncoder()
    pool = await open_pool(encoder, threads=1, queue_size=2, deadline_s=0.02)
    stuck = asyncio.create_task(pool.encode("stuck"))
    await until_working(encoder)
    for _ in range(5):
        with pytest.raises(EncoderUnavailableError) as late:
            await pool.encode("behind it")
        assert late.value.code == "ENCODER_TIMEOUT"
    assert len(pool._waiting) == 0
    encoder.gate.set()
    await asyncio.gather(stuck, return_exceptions=True)
    await pool.close()


async def test_closing_fails_what_waits_finishes_what_runs_and_ends_the_threads() -> None:
    encoder = GatedEncoder()
    pool = await open_pool(encoder, threads=1)
    running = asyncio.create_task(pool.encode("running"))
    await until_working(encoder)
    waiting = asyncio.create_task(pool.encode("waiting"))
    await asyncio.sleep(0)
    closing = asyncio.create_task(pool.close())
    with pytest.raises(EncoderUnavailableError, match="closing"):
        await waiting
    encoder.gate.set()
    assert (await running).shape == (2,)
    await closing
    assert not any(thread.is_alive() for thread in pool._threads)
    with pytest.raises(EncoderUnavailableError, match="closed"):
        await pool.encode("too late")
    await pool.close()  # twice is harmless


async def test_all_threads_work_at_once_and_at_low_priority() -> None:
    encoder = GatedEncoder()
    pool = await open_pool(encoder, threads=3)
    # All three threads stand at the gate at once.
    tasks = [asyncio.create_task(pool.encode(f"text {index}")) for index in range(3)]
    for _ in tasks:
        await until_working(encoder)
    encoder.gate.set()
    await asyncio.gather(*tasks)
    assert len(encoder.threads) == 3
    if sys.platform == "linux":
        own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        assert encoder.niceness == {min(19, max(own, NICENESS))}
        assert own == os.getpriority(os.PRIO_PROCESS, 0)
    await pool.close()


async def test_the_event_loop_stays_free_while_texts_are_encoded() -> None:
    encoder = GatedEncoder()
    pool = await open_pool(encoder)
    task = asyncio.create_task(pool.encode("long"))
    await until_working(encoder)
    for _ in range(100):  # turns that the loop would not have, were it the loop that encodes
        await asyncio.sleep(0)
    assert not task.done()
    encoder.gate.set()
    await task
    await pool.close()


async def test_a_model_that_fails_at_warm_up_fails_the_start_and_leaves_no_thread() -> None:
    class Broken(GatedEncoder):
        def encode_now(self, text: str) -> FloatArray:
            raise OSError("no such layer")

    pool = EncoderPool(Broken(), threads=2, queue_size=4, deadline_s=1.0)
    with pytest.raises(EncoderUnavailableError, match="OSError"):
        await pool.open()
    assert not any(thread.is_alive() for thread in pool._threads)
