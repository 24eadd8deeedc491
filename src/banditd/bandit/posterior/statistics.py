"""Sufficient statistics of one arm's linear reward model: the truth that everything else is rebuilt from.

With contexts x (length d, x[0] = 1), weights w and rewards r the sums are

    gram = sum w x x',  xr = sum w r x,  weight = sum w,  wr = sum w r,  wrr = sum w r^2,  n = sum sign(w).

They are additive: they can be merged, scaled (forgetting) and subtracted exactly. There is no prior in
them and no posterior; ``posterior.py`` adds those.
"""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from typing import Final

import numpy as np

from banditd.core.errors import InvalidInputError, InvariantError
from banditd.core.types import FloatArray, IntArray

_MAGIC: Final = b"BDSU"
_FORMAT: Final = 1
_HEADER: Final = struct.Struct("<4sHHI")  # magic, format, d, CRC-32 of the body


@lru_cache(maxsize=4)
def _lower_triangle(d: int) -> tuple[IntArray, IntArray]:
    """Row and column indices, cached because computing them costs more than packing."""
    return np.tril_indices(d)


class ArmSums:
    """Sums over the rewards of one arm (see the module for their meaning).

    gram : float64, shape (d, d), symmetric. xr : float64, shape (d,).
    n : net number of rewards folded (float, since forgetting scales it).
    """

    __slots__ = ("gram", "n", "weight", "wr", "wrr", "xr")

    def __init__(self, n_features: int) -> None:
        self.gram: FloatArray = np.zeros((n_features, n_features))
        self.xr: FloatArray = np.zeros(n_features)
        self.weight = 0.0
        self.wr = 0.0
        self.wrr = 0.0
        self.n = 0.0

    @property
    def n_features(self) -> int:
        return int(self.xr.shape[0])

    def add(self, x: FloatArray, weight: float, reward: float, *, scale: float = 1.0) -> None:
        """Fold one reward in; a negative ``weight`` removes an earlier one.

        Parameters
        ----------
        x : float64, shape (d,).
        weight : precision weight, not 0.
        reward : in [0, 1].
        scale : forgetting factor in (0, 1] that applies to this row by now.
        """
        w = weight * scale
        self.gram += np.multiply.outer(w * x, x)
        self.xr += (w * reward) * x
        self.weight += w
        self.wr += w * reward
        self.wrr += w * reward * reward
        self.n += scale if weight > 0 else -scale

    def merge(self, other: ArmSums, *, scale: float = 1.0) -> None:
        """Add ``scale`` times the sums of ``other``."""
        self.gram += scale * other.gram
        self.xr += scale * other.xr
        self.weight += scale * other.weight
        self.wr += scale * other.wr
        self.wrr += scale * other.wrr
        self.n += scale * other.n

    def subtract(self, other: ArmSums) -> None:
        self.merge(other, scale=-1.0)

    def rescale(self, factor: float) -> None:
        """Multiply everything by ``factor``: forgetting by age."""
        self.gram *= factor
        self.xr *= factor
        self.weight *= factor
        self.wr *= factor
        self.wrr *= factor
        self.n *= factor

    def copy(self) -> ArmSums:
        other = ArmSums(self.n_features)
        other.merge(self)
        return other

    def pack(self) -> bytes:
        """Versioned, checksummed little-endian bytes; the lower triangle of ``gram`` only."""
        d = self.n_features
        values = np.concatenate([[self.weight, self.wr, self.wrr, self.n], self.xr, self.gram[_lower_triangle(d)]])
        body = values.astype("<f8").tobytes()
        return _HEADER.pack(_MAGIC, _FORMAT, d, zlib.crc32(body)) + body

    @classmethod
    def unpack(cls, data: bytes) -> ArmSums:
        """Inverse of ``pack``.

        Raises
        ------
        InvariantError : not such bytes, another format, or damaged.
        """
        if len(data) < _HEADER.size:
            raise InvariantError("Packed sums are too short.")
        magic, version, d, checksum = _HEADER.unpack_from(data)
        if magic != _MAGIC or version != _FORMAT:
            raise InvariantError(f"Not packed sums of format {_FORMAT} (found {magic!r}, {version}).")
        body = data[_HEADER.size :]
        if len(body) != 8 * (4 + d + d * (d + 1) // 2) or zlib.crc32(body) != checksum:
            raise InvariantError("Packed sums are damaged: length or checksum does not match.")
        values = np.frombuffer(body, dtype="<f8").astype(np.float64)
        sums = cls(d)
        sums.weight, sums.wr, sums.wrr, sums.n = (float(v) for v in values[:4])
        sums.xr[:] = values[4 : 4 + d]
        lower = _lower_triangle(d)
        sums.gram[lower] = values[4 + d :]
        sums.gram.T[lower] = values[4 + d :]
        return sums


def check_row(x: FloatArray, n_features: int, weight: float, reward: float) -> None:
    """Refuse a row that would corrupt the sums.

    Raises
    ------
    InvalidInputError : wrong length, not finite, weight 0, or a reward outside [0, 1].
    """
    if x.shape != (n_features,):
        raise InvalidInputError(f"A context of {n_features} features is needed, got shape {x.shape}.")
    total = float(x.sum()) + weight + reward
    if not np.isfinite(total):
        raise InvalidInputError("Context, weight and reward must be finite numbers.")
    if weight == 0.0 or not 0.0 <= reward <= 1.0:
        raise InvalidInputError("A weight must not be 0 and a reward must lie in [0, 1].")
