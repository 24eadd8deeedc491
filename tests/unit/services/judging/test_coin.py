from __future__ import annotations

from banditd.core.ids import new_id
from banditd.services.judging.sampling import Coin


class Secrets:
    def __init__(self, root: bytes) -> None:
        self.root = root

    def key(self, purpose: str) -> bytes:
        return self.root + purpose.encode()


def test_the_coin_is_fair_the_same_everywhere_and_another_one_for_every_judge() -> None:
    ids = [new_id(1_750_000_000_000_000 + i) for i in range(4000)]
    falls = [Coin(Secrets(b"a")).falls("quality", one) for one in ids]
    assert all(0.0 <= one < 1.0 for one in falls)
    for share in (0.05, 0.5):
        assert abs(sum(one < share for one in falls) / len(ids) - share) < 0.03
    assert falls == [Coin(Secrets(b"a")).falls("quality", one) for one in ids]
    for other in (
        [Coin(Secrets(b"b")).falls("quality", one) for one in ids],
        [Coin(Secrets(b"a")).falls("other", one) for one in ids],
    ):
        both = sum(a < 0.5 and b < 0.5 for a, b in zip(falls, other, strict=True))
        assert abs(both / len(ids) - 0.25) < 0.03
