"""What the image of a model holds where no real engine is: the file by which the emulated one knows a model."""

from __future__ import annotations

import json
from pathlib import Path

# A Llama as small as the one that `make setup-engine` makes, without its weights: nothing here reads them.
_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 128,
    "intermediate_size": 256,
    "max_position_embeddings": 4096,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "torch_dtype": "bfloat16",
    "vocab_size": 258,
}


def write_model_folder(folder: Path) -> Path:
    """Make the folder; containers of any user may read it."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(_CONFIG, indent=2) + "\n", encoding="utf-8")
    return folder
