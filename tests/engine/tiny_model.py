"""Makes a Llama small enough for two processor cores, tokenizer included, from nothing: no model hub, no training data.

Run by the engine environment's Python: `python tiny_model.py FOLDER`. The weights are random, so the text is noise;
what counts is that the engine loads, prefills, decodes and streams as it does with any other Llama.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

SEED = 20
CONTEXT_TOKENS = 4096
# The engine's CPU attention accepts head sizes from 32 on: 4 heads of 32.
HIDDEN_SIZE = 128
ATTENTION_HEADS = 4
KEY_VALUE_HEADS = 2
LAYERS = 2
BEGIN, END = "<|begin|>", "<|end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def main(folder: Path) -> None:
    """Write config.json, model.safetensors and the tokenizer's files to `folder`, all or nothing."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    try:
        write_model(work)
        # mkdtemp and safetensors write for their own user only; a pod may run as another.
        work.chmod(0o755)
        for path in work.iterdir():
            path.chmod(0o644)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def write_model(folder: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = byte_tokenizer()
    tokenizer.save_pretrained(folder)
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN_SIZE,
        intermediate_size=2 * HIDDEN_SIZE,
        num_hidden_layers=LAYERS,
        num_attention_heads=ATTENTION_HEADS,
        num_key_value_heads=KEY_VALUE_HEADS,
        max_position_embeddings=CONTEXT_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        dtype="bfloat16",
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)


def byte_tokenizer():  # type: ignore[no-untyped-def]  # transformers is only in the engine's environment
    """One token per byte, so that any text has a known number of tokens: its length in UTF-8."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: index for index, symbol in enumerate([BEGIN, END, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END,
        model_max_length=CONTEXT_TOKENS,
        chat_template=CHAT_TEMPLATE,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
