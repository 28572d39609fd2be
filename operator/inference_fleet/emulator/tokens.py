"""A stand-in for a tokenizer: deterministic, and near enough to the four letters a token of English text has.

A prompt given as token ids counts exactly; text counts one token for each four bytes begun, plus one for the start.
Written text is one word a token, so that a reader can count it.
"""

from __future__ import annotations

import zlib

_BYTES_PER_TOKEN = 4
_WORDS = (" the", " model", " writes", " one", " word", " for", " every", " token", " it", " counts", " here", " now")


def count_tokens(text: str) -> int:
    """Tokens of a text prompt; at least 1 (the begin-of-sequence token)."""
    return 1 + -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES_PER_TOKEN)


def written_text(start: int, count: int) -> str:
    """The text of output tokens `start` .. `start + count - 1`."""
    return "".join(_WORDS[index % len(_WORDS)] for index in range(start, start + count))


def natural_length(prompt: bytes) -> int:
    """Where the emulated model would end by itself: 16 .. 271 tokens, a function of the prompt alone."""
    return 16 + zlib.crc32(prompt) % 256
