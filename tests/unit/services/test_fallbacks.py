"""Who is called after a call that failed."""

from __future__ import annotations

import pytest

from banditd.ports.upstreams import UpstreamError
from banditd.services.gateway.fallbacks import Fallbacks

FAILED = UpstreamError("connection refused", error_class="transport", code="refused")


def test_a_request_that_one_endpoint_does_not_know_is_anothers_turn() -> None:
    refused = UpstreamError("extra inputs", error_class="request", code="extra_forbidden")
    fallbacks = Fallbacks("ab", windows={}, max_attempts=9, on_policy=False)
    assert fallbacks.after(fallbacks.first().arm, refused, jitter=0.0, avoid={}) is None
    refused.elsewhere = True
    step = fallbacks.after("a", refused, jitter=0.0, avoid={})
    assert step is not None
    assert step.arm == "b"


@pytest.mark.parametrize("avoid", ["", "b", "bc", "bcd"])
def test_every_arm_is_called_and_those_to_be_left_alone_last(avoid: str) -> None:
    fallbacks = Fallbacks("abcd", windows={}, max_attempts=9, on_policy=False)
    called = [fallbacks.first().arm]
    while step := fallbacks.after(called[-1], FAILED, jitter=0.0, avoid=dict.fromkeys(avoid, "breaker_open")):
        called.append(step.arm)
    assert called == ["a", *(arm for arm in "bcd" if arm not in avoid), *avoid]
