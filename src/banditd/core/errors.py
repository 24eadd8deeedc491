"""Every error that banditd raises on purpose.

    BanditdError
    ├── InvalidInputError        the caller's input is wrong; ``field`` says where
    │   ├── NoEligibleArmError   the constraints of the request exclude every arm
    │   └── EmbeddingShapeError  an embedding of the wrong length
    ├── NotFoundError            no such decision, arm, policy, reward
    ├── ConflictError            the same key with another body, an arm that exists, ...
    ├── GoneError                the reward window has closed and the policy rejects late rewards
    ├── ForbiddenError           the API key lacks the scope
    ├── UnauthenticatedError     no key, or an unknown one
    ├── RateLimitedError         too many requests; ``retry_after_s``
    │   └── BudgetExhaustedError a budget that rejects is used up
    ├── UnavailableError         a needed part does not answer; ``retry_after_s``
    │   ├── EncoderUnavailableError
    │   ├── EncoderOverloadedError
    │   └── StorageUnavailableError
    │       └── OutcomeUnknownError  the connection broke during a commit, which may or may not have happened
    ├── LeaseLostError           another replica has taken over the learner
    ├── ConfigurationError       the configuration cannot work; says what to change
    └── InvariantError           a bug: something that must never happen did

The classes carry data, not HTTP; ``web/problems.py`` holds the only table to status codes.
"""

from __future__ import annotations


class BanditdError(Exception):
    """Base of all banditd errors.

    Parameters
    ----------
    message : what is wrong and how to mend it, safe to show to a client.
    code : stable upper-snake identifier that clients may test, such as ``DECISION_NOT_FOUND``.
    field : JSON pointer of the offending input field, where there is one.
    """

    default_code = "ERROR"

    def __init__(self, message: str, *, code: str | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.field = field


class InvalidInputError(BanditdError):
    default_code = "INVALID_INPUT"


class NoEligibleArmError(InvalidInputError):
    """Every arm is excluded; ``exclusions`` maps each arm to its reason."""

    default_code = "NO_ELIGIBLE_ARM"

    def __init__(self, message: str, *, exclusions: dict[str, str]) -> None:
        super().__init__(message)
        self.exclusions = exclusions


class EmbeddingShapeError(InvalidInputError):
    default_code = "EMBEDDING_SHAPE"


class NotFoundError(BanditdError):
    default_code = "NOT_FOUND"


class ConflictError(BanditdError):
    default_code = "CONFLICT"


class GoneError(BanditdError):
    default_code = "REWARD_WINDOW_CLOSED"


class ForbiddenError(BanditdError):
    default_code = "SCOPE_MISSING"


class UnauthenticatedError(BanditdError):
    default_code = "API_KEY_MISSING"


class RateLimitedError(BanditdError):
    default_code = "RATE_LIMITED"

    def __init__(self, message: str, *, retry_after_s: float, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class BudgetExhaustedError(RateLimitedError):
    """A budget is used up, or cannot pay for one call, and its rule is to reject.

    ``retry_after_s``: until its window ends.
    """

    default_code = "BUDGET_EXHAUSTED"


class UnavailableError(BanditdError):
    default_code = "UNAVAILABLE"

    def __init__(self, message: str, *, retry_after_s: float = 1.0, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class EncoderUnavailableError(UnavailableError):
    """The encoder failed or missed its deadline; routing goes on in degraded mode."""

    default_code = "ENCODER_UNAVAILABLE"


class EncoderOverloadedError(UnavailableError):
    """The encoder's queue is full; the caller should come back."""

    default_code = "ENCODER_OVERLOADED"


class StorageUnavailableError(UnavailableError):
    default_code = "STORAGE_UNAVAILABLE"


class DatabaseDamagedError(StorageUnavailableError):
    """The database file is damaged and cannot be read."""

    default_code = "DATABASE_DAMAGED"


class OutcomeUnknownError(StorageUnavailableError):
    """The connection broke during a commit and the database could not be asked whether it succeeded."""

    default_code = "OUTCOME_UNKNOWN"


class LeaseLostError(BanditdError):
    default_code = "LEASE_LOST"


class ConfigurationError(BanditdError):
    default_code = "CONFIGURATION"


class InvariantError(BanditdError):
    default_code = "INVARIANT"


class DecisionDamagedError(InvariantError):
    """The stored row of a decision differs from what was committed and cannot be recovered."""

    default_code = "DECISION_DAMAGED"

    def __init__(self, decision_id: str, reason: str) -> None:
        super().__init__(f"the stored row of decision {decision_id} is damaged: {reason}")
