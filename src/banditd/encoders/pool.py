"""A few threads around a blocking encoder: bounded queue, deadline, clean end. No batching.

On a CPU one single-threaded call per core is several times quicker than micro-batches, which pad to their
longest text. The threads run at lower priority than the event loop, so that a busy encoder does not delay
the answers that need none.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sys
import threading
import time
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
    expires_s: float  # on time.monotonic


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
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._busy = 0  # texts waiting or being encoded
        self._mean_s = 0.01
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"banditd-encoder-{index}", daemon=True)
            for index in range(threads)
        ]

    async def open(self) -> None:
        """Start the threads; each of them encodes one text before this returns."""
        for thread in self._threads:
            thread.start()
        loop = asyncio.get_running_loop()
        answers = []
        for _ in self._threads:
            answers.append(loop.create_future())
            self._put(_Job(_WARM_UP, loop, answers[-1], float("inf")))
        try:
            await asyncio.gather(*answers)
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
        if self._closed:
            raise EncoderUnavailableError("The encoder is closed.")
        waiting = self._busy - len(self._threads)
        if waiting >= self._queue_size:
            raise EncoderOverloadedError(
                f"The encoder's queue is full ({self._queue_size} queries wait).",
                retry_after_s=max(MIN_RETRY_AFTER_S, self._busy * self._mean_s / len(self._threads)),
            )
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[FloatArray] = loop.create_future()
        self._put(_Job(text, loop, answer, time.monotonic() + self._deadline_s))
        try:
            async with asyncio.timeout(self._deadline_s):
                return await answer
        except TimeoutError as error:
            raise EncoderUnavailableError(
                f"The encoder took longer than {self._deadline_s:g} s.", code="ENCODER_TIMEOUT"
            ) from error

    async def close(self) -> None:
        """Refuse new texts, fail the waiting ones, finish the running ones, end the threads."""
        if not self._closed:
            self._closed = True
            self._fail_waiting()
            for _ in self._threads:
                self._jobs.put(None)
        running = [thread for thread in self._threads if thread.is_alive()]
        for thread in running:
            await asyncio.to_thread(thread.join)
        self._fail_waiting()  # of an encode that slipped in while closing

    def _put(self, job: _Job) -> None:
        with self._lock:
            self._busy += 1
        self._jobs.put(job)

    def _fail_waiting(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    self._release()
                    _deliver(job, EncoderUnavailableError("The encoder is closing."))

    def _release(self) -> None:
        with self._lock:
            self._busy -= 1

    # ---------------------------------------------------------------- on the encoder threads

    def _work(self) -> None:
        _lower_priority()
        while (job := self._jobs.get()) is not None:
            try:
                # Nobody waits any more for a cancelled or expired text.
                if not job.answer.done() and time.monotonic() < job.expires_s:
                    _deliver(job, self._encode(job.text))
            finally:
                self._release()

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
        with self._lock:
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
