"""Writes a shape of `../models.py` as an OpenVINO model with weights in int8 or int4.

    python export_openvino.py --shape llama-1b --bits 4 --output DIRECTORY

int8: symmetric, a scale per row. int4: symmetric in groups of 128, head and embedding in int8.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import openvino  # noqa: E402
import openvino_tokenizers  # noqa: E402
import tokenizers  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from optimum.intel import OVModelForCausalLM, OVWeightQuantizationConfig  # noqa: E402
from shapes import llama  # noqa: E402


def tokenizer(size: int) -> transformers.PreTrainedTokenizerFast:
    """One token per word; the pipeline wants a tokenizer, the benchmark does not."""
    words = ["<unk>", "<s>", "</s>"] + [f"w{index}" for index in range(3, size)]
    model = tokenizers.models.WordLevel({word: i for i, word in enumerate(words)}, "<unk>")
    plain = tokenizers.Tokenizer(model)
    plain.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def export(shape: str, bits: int, output: Path) -> None:
    group = {"group_size": 128, "ratio": 1.0} if bits == 4 else {}
    with tempfile.TemporaryDirectory(dir=output.parent) as checkpoint:
        model = llama(shape, torch.bfloat16)
        words = tokenizer(model.config.vocab_size)
        model.save_pretrained(checkpoint)
        words.save_pretrained(checkpoint)
        del model
        converted = OVModelForCausalLM.from_pretrained(
            checkpoint,
            export=True,
            compile=False,
            load_in_8bit=False,
            quantization_config=OVWeightQuantizationConfig(bits=bits, sym=True, **group),
        )
        converted.save_pretrained(output)
    words.save_pretrained(output)
    encoder, decoder = openvino_tokenizers.convert_tokenizer(words, with_detokenizer=True)
    openvino.save_model(encoder, output / "openvino_tokenizer.xml")
    openvino.save_model(decoder, output / "openvino_detokenizer.xml")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", required=True)
    parser.add_argument("--bits", type=int, choices=[4, 8], required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    unfinished = options.output.with_name(options.output.name + ".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    export(options.shape, options.bits, unfinished)
    unfinished.rename(options.output)


if __name__ == "__main__":
    main()
