"""Trains the byte-level BPE on generated training text. Run: python make_tokenizer.py OUT_DIR"""

import json
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

import lexicon as L
from dialogue import Conversation
from faq import FAQ
from render import CHAT_TEMPLATE, SPECIALS, sections

PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LEARNED = 6000
# GB 2312 level 1 (rows B0 to D7), and what names and chat use beyond it.
CHARACTERS = bytes(b for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF if row < 0xD7 else 0xFA) for b in (row, cell)).decode("gb2312") + "伽呗喽嗨嗯哦嘛咯哟圳婷昊曦柚梓沐烊焱煲琪瑜莞萱馨瓯潍泸衢亳濮漯邕颖骏祺睿铭彤妍嫣翊晗"


def corpus(seed=11, conversations=9000):
    """Every distinct section a few times at most, so that stock answers do not become one token."""
    rng, seen = random.Random(seed), {}
    for i in range(conversations):
        c = Conversation(rng, "train", ("zh", "en")[i % 2]).build().record()
        for _, text in sections(c["messages"], c["tools"]):
            seen[text] = seen.get(text, 0) + 1
            if seen[text] <= 2:
                yield text
    for topic in FAQ.values():
        for language in (topic[3], topic[6]):
            yield from [language] * 20
    characters = sorted(set("".join([L.SURNAMES, L.GIVEN] + L.BRANDS_ZH + L.CITIES_ZH + L.STREETS_ZH)))
    for _ in range(60):
        yield "\n".join(characters)
        yield " ".join(f"{n:03d}" for n in range(1000)) + " " + " ".join(f"{n:02d}" for n in range(100))


def with_characters(text):
    """The model of a tokenizer (its JSON text) with every one of CHARACTERS as
    one token. A name or street is copied token by token; a character of two or three byte tokens, each
    shared with dozens of others, is far harder to copy for a small model than one token of its own."""
    data = json.loads(text)
    vocab, merges = data["model"]["vocab"], data["model"]["merges"]
    encoder = Tokenizer.from_str(text)
    for character in CHARACTERS:
        pieces = encoder.encode(character, add_special_tokens=False).tokens
        while len(pieces) > 1:  # from the left: bytes 1+2 are shared by neighbouring characters
            joint = pieces[0] + pieces[1]
            if joint not in vocab:
                vocab[joint] = len(vocab)
                merges.append([pieces[0], pieces[1]])
            pieces = [joint] + pieces[2:]
    return json.dumps(data, ensure_ascii=False)


def main(out):
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=LEARNED, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), max_token_length=12, show_progress=False))
    assert tokenizer.get_vocab_size() == LEARNED, tokenizer.get_vocab_size()
    save(Tokenizer.from_str(with_characters(tokenizer.to_str())), out)


def save(tokenizer, out):
    base = tokenizer.get_vocab_size()
    # As in glm-4-9b-chat-hf a bare text gets the two prefix tokens; the chat template writes them itself,
    # and apply_chat_template encodes without adding them again.
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIALS])
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="[gMASK] <sop> $A", pair="[gMASK] <sop> $A $B", special_tokens=[
            ("[gMASK]", tokenizer.token_to_id("[gMASK]")), ("<sop>", tokenizer.token_to_id("<sop>"))])])
    tokenizer.save(f"{out}/tokenizer.json")
    config = {
        "added_tokens_decoder": {str(base + i): {"content": t, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True} for i, t in enumerate(SPECIALS)},
        "additional_special_tokens": SPECIALS, "chat_template": CHAT_TEMPLATE, "clean_up_tokenization_spaces": False,
        "do_lower_case": False, "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "model_max_length": 4096,
        "model_input_names": ["input_ids", "attention_mask"], "padding_side": "left", "remove_space": False, "tokenizer_class": "PreTrainedTokenizerFast"}
    with open(f"{out}/tokenizer_config.json", "w") as f:
        json.dump(config, f, ensure_ascii=False, indent=2)


if __name__ == "__main__":
    main(sys.argv[1])
