"""A revision: the user's intent for the pods of one variant, named by its hash."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from inference_fleet.api.intent import VariantIntent, plain

REVISION_LENGTH: Final = 10


def revision_of(intent: VariantIntent, *, namespace: str, name: str) -> str:
    """Ten hexadecimal characters over namespace, name, variant and the merged intent; nothing else enters.

    An operator upgrade, other data of an engine version or an edited AcceleratorClass leave it as it is.
    """
    value = {"namespace": namespace, "name": name, "intent": plain(intent)}
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:REVISION_LENGTH]
