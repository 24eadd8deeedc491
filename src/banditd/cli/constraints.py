"""The examples of constraints, tried without a daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from banditd.core.errors import ConfigurationError
from banditd.daemon.configs import constraint_of
from banditd.encoders.factory import open_encoder
from banditd.services.constraints import Example, embedded, wrong_examples
from banditd.settings.constraints import ConstraintSettings


def check_examples(policy: str, constraints: Sequence[ConstraintSettings], model: str) -> None:
    """Raise ConfigurationError with the examples that are not as they say. model : of the encoder."""
    wrong = asyncio.run(_wrong(constraints, model))
    if wrong:
        raise ConfigurationError(
            f"policies.{policy}.constraints: "
            + "; ".join(
                f"{name} {'does not hold' if one.holds else 'holds'} for {one.text[:80]!r}, which its example denies"
                for name, one in wrong
            )
        )


async def _wrong(constraints: Sequence[ConstraintSettings], model: str) -> list[tuple[str, Example]]:
    encoder = await open_encoder(model=model)
    try:
        made = await embedded([constraint_of(one) for one in constraints], encoder)
        return [
            (section.name, wrong)
            for section, one in zip(constraints, made, strict=True)
            for wrong in await wrong_examples(
                one, [Example(example.input, example.tags, example.holds) for example in section.examples], encoder
            )
        ]
    finally:
        await encoder.close()
