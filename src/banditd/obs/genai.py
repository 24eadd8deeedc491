"""Calls of models under the names of OpenTelemetry's conventions for generative AI, as Prometheus spells them.

For dashboards that know these names already; ``banditd_*`` says the same by policy and arm.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry

from banditd.core.attempts import Attempt
from banditd.obs.tally import TallyHistogram

# The buckets are those that the conventions advise.
_DURATION_S: Final = tuple(0.01 * 2**power for power in range(14))
_FIRST_S: Final = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
_TOKENS: Final = tuple(float(4**power) for power in range(14))
_CALL: Final = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")


class GenAiMetrics:
    """Raised by the event loop, for every call of an upstream."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._duration = TallyHistogram(
            "gen_ai_client_operation_duration_seconds",
            "From a call of a model to the end of its answer, or to its failure.",
            _DURATION_S,
            (*_CALL, "error_type"),
            registry,
        )
        self._first = TallyHistogram(
            "gen_ai_client_operation_time_to_first_chunk_seconds",
            "From a call of a model to its first content, of streams.",
            _FIRST_S,
            _CALL,
            registry,
        )
        self._tokens = TallyHistogram(
            "gen_ai_client_token_usage",
            "Tokens of a call.",
            _TOKENS,
            (*_CALL, "gen_ai_token_type"),
            registry,
        )

    def called(self, attempt: Attempt, *, operation: str, provider: str, model: str) -> None:
        """A call has ended.

        Parameters
        ----------
        operation : ``chat`` or ``embeddings``. provider : as the upstream's kind tells. model : the upstream's name.
        """
        call = (operation, provider, model)
        if attempt.latency_ms is not None:
            self._duration.labels(*call, attempt.error or "").observe(attempt.latency_ms / 1e3)
        if attempt.first_token_ms is not None:
            self._first.labels(*call).observe(attempt.first_token_ms / 1e3)
        for kind, tokens in (("input", attempt.input_tokens), ("output", attempt.output_tokens)):
            if tokens is not None:
                self._tokens.labels(*call, kind).observe(tokens)
