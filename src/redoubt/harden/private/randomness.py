"""Randomness that privacy hangs on: the ChaCha20 key stream, from a key of the operating system."""

import hashlib
import math
import secrets

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms
from numpy.typing import NDArray
from torch import Tensor

_FIFTY_THREE = 2**53
_THIRTY_TWO = 2**32
_BLOCK = 8192  # Gaussians at a time: what is made on the way stays in the processor's cache


class PrivateRandom:
    """A stream of Gaussians and coins that nobody can predict or repeat who does not hold its key.

    Whoever can guess the noise can take it off again; so the key comes from the operating system, and is never kept.

    Not covered: Gaussians are rounded to floats, and which floats can occur depends a little on what the noise is
    added to (Mironov 2012).  Each is the sum of four, which makes it very hard to take apart (Holohan and Braghin
    2021), and proves nothing.
    """

    def __init__(self) -> None:
        self._stream = _key_stream(secrets.token_bytes(32))

    @classmethod
    def insecure(cls, seed: int) -> "PrivateRandom":
        """The same stream for the same seed, for tests and benches.  Anybody who tries seeds finds what it hides."""
        made = cls()
        made._stream = _key_stream(hashlib.sha256(f"redoubt insecure seed {seed}".encode()).digest())
        return made

    def gaussians(self, count: int) -> Tensor:
        """`count` independent standard Gaussians, float64."""
        parts = [self._gaussians(min(_BLOCK, count - start)) for start in range(0, count, _BLOCK)]
        return torch.cat(parts) if parts else torch.empty(0, dtype=torch.float64)

    def _gaussians(self, count: int) -> Tensor:
        # Box and Muller, from 53-bit uniforms in (0, 1]: no Gaussian beyond 8.6 occurs, and one in 10**17 would.
        radius, angle = self._uniforms(4 * (count + count % 2)).chunk(2)
        radius.log_().mul_(-2.0).sqrt_()
        angle.mul_(2 * math.pi)
        # Turned round, so that no sum holds both of a pair: together they would be one Gaussian again, and no two.
        drawn = torch.cat([angle.cos().mul_(radius), angle.sin_().mul_(radius).flip(0)])
        return drawn.view(4, -1).sum(dim=0)[:count] / 2

    def coins(self, count: int, probability: float) -> NDArray[np.bool_]:
        """`count` independent coins that fall true with `probability`, rounded down to a multiple of 2**-32."""
        words = np.frombuffer(self._bytes(4 * count), np.uint32)
        tossed: NDArray[np.bool_] = words < np.uint64(math.floor(probability * _THIRTY_TWO))
        return tossed

    def _uniforms(self, count: int) -> Tensor:
        """Float64 in (0, 1], multiples of 2**-53."""
        words = torch.frombuffer(self._bytes(8 * count), dtype=torch.int64)
        return words.bitwise_and_(_FIFTY_THREE - 1).add_(1).double().mul_(1 / _FIFTY_THREE)

    def _bytes(self, count: int) -> bytearray:
        return bytearray(self._stream.update(bytes(count)))


def random_of(insecure_seed: int | None) -> PrivateRandom:
    """The secure stream, or the one of a seed where the caller asks for it by a name that says what it is."""
    return PrivateRandom() if insecure_seed is None else PrivateRandom.insecure(insecure_seed)


def _key_stream(key: bytes) -> CipherContext:
    return Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
