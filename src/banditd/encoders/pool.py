"""A few threads around a blocking encoder: bounded queue, deadline, clean end. No batching.

On a CPU one single-threaded call per core is several times quicker than micro-batches, which pad to their
longest text. The threads run at lower priority than the event loop, so that a busy encoder does not delay
the answers that need none.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol

from banditd.core.errors import EncoderOverloadedError, EncoderUnavailableError
from banditd.core.types import FloatArray

NICENESS: Final = 10
MIN_RETRY_AFTER_S: Final = 0.1
_SMOOTHING: Final = 0.1
_WARM_UP: Final = "What is the capital of France?"


class BlockingEncoder(Protocol):
    """An encoder whose call blocks, and may be made from several threads."""

    encoder_id: str
    dimension: int

    def encode_now(self, text: str) -> FloatArray: ...

    def count_tokens(self, text: str) -> int: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    text: str
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[FloatArray]


class EncoderPool:
    """The port over a blocking encoder.

    Parameters
    ----------
    encoder : does the work.
    threads : one per core is best.
    queue_size : texts that may wait for a thread; one more is refused.
    deadline_s : longest time from the call to the vector.
    """

    def __init__(self, encoder: BlockingEncoder, *, threads: int, queue_size: int, deadline_s: float) -> None:
        self.encoder_id = encoder.encoder_id
        self.dimension = encoder.dimension
        self.count_tokens = encoder.count_tokens
        self._encoder = encoder
        self._queue_size = queue_size
        self._deadline_s = deadline_s
        # Everything below is guarded by the condition, which is never held for longer than a few operations.
        self._changed = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._idle = 0
        self._mean_s = 0.01
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"banditd-encoder-{index}", daemon=True)
            for index in range(threads)
        ]

    async def open(self) -> None:
        """Start the threads and encode one text for each of them, so that the model is warm."""
        loop = asyncio.get_running_loop()
        jobs = [_Job(_WARM_UP, loop, loop.create_future()) for _ in self._threads]
        self._waiting.extend(jobs)
        for thread in self._threads:
            thread.start()
        try:
            await asyncio.gather(*(job.answer for job in jobs))
        except BaseException:
            await self.close()
            raise

    async def encode(self, text: str) -> FloatArray:
        """Vector of one text.

        Raises
        ------
        EncoderOverloadedError
            The queue is full; ``retry_after_s`` says when it should be empty.
        EncoderUnavailableError
            The deadline passed (``ENCODER_TIMEOUT``), the encoder failed (``ENCODER_FAILED``) or is closed.
        """
        loop = asyncio.get_running_loop()
        job = _Job(text, loop, loop.create_future())
        self._enqueue(job)
        try:
            async with asyncio.timeout(self._deadline_s):
                return await job.answer
        except TimeoutError as error:
            raise EncoderUnavailableError(
                f"The encoder took longer than {self._deadline_s:g} s.", code="ENCODER_TIMEOUT"
            ) from error
        finally:
            # A caller that gives up takes its text along, so that dead texts never fill the queue.
            with self._changed, contextlib.suppress(ValueError):
                self._waiting.remove(job)

    async def close(self) -> None:
        """Refuse new texts, fail the waiting ones, finish the running ones, end the threads.

        A thread that is stuck for longer than the deadline is left behind; it does not keep the process alive.
        """
        with self._changed:
            self._closed = True
            abandoned = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        for job in abandoned:
            _deliver(job, EncoderUnavailableError("The encoder is closing."))
        for thread in self._threads:
            if thread.is_alive():
                await asyncio.to_thread(thread.join, self._deadline_s)

    def _enqueue(self, job: _Job) -> None:
        with self._changed:
            if self._closed:
                raise EncoderUnavailableError("The encoder is closed.")
            if len(self._waiting) - self._idle >= self._queue_size:
                rounds = 1 + len(self._waiting) / len(self._threads)
                raise EncoderOverloadedError(
                    f"The encoder's queue is full ({self._queue_size} queries wait).",
                    retry_after_s=max(MIN_RETRY_AFTER_S, rounds * self._mean_s),
                )
            self._waiting.append(job)
            self._changed.notify()

    # ---------------------------------------------------------------- on the encoder threads

    def _work(self) -> None:
        _lower_priority()
        while (job := self._next()) is not None:
            if not job.answer.done():
                _deliver(job, self._encode(job.text))

    def _next(self) -> _Job | None:
        """The oldest waiting text, or None at the end."""
        with self._changed:
            self._idle += 1
            while not self._waiting and not self._closed:
                self._changed.wait()
            self._idle -= 1
            return self._waiting.popleft() if self._waiting else None

    def _encode(self, text: str) -> FloatArray | EncoderUnavailableError:
        started_s = time.monotonic()
        try:
            vector = self._encoder.encode_now(text)
        except EncoderUnavailableError as error:
            return error
        except Exception as error:  # whatever a model raises, the daemon goes on without it
            failure = EncoderUnavailableError(f"The encoder failed: {type(error).__name__}", code="ENCODER_FAILED")
            failure.__cause__ = error
            return failure
        with self._changed:
            self._mean_s += _SMOOTHING * (time.monotonic() - started_s - self._mean_s)
        return vector


def _deliver(job: _Job, result: FloatArray | EncoderUnavailableError) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
        job.loop.call_soon_threadsafe(_settle, job.answer, result)


def _settle(answer: asyncio.Future[FloatArray], result: FloatArray | EncoderUnavailableError) -> None:
    if answer.done():
        return
    if isinstance(result, EncoderUnavailableError):
        answer.set_exception(result)
    else:
        answer.set_result(result)


def _lower_priority() -> None:
    # Linux keeps the niceness per thread; elsewhere this would slow the whole process.
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
