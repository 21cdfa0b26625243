"""Translate texts, or go on with them, by a .tflite file. To be copied to a device: needs ai-edge-litert and numpy.

    python generate.py FILE.tflite "ein Hund läuft" --beams 4

`compression.compress` writes such files, and beside each its vocabulary. The loops are those of `zoo.generate`, for one
text at a time: the same search finds the same text, as far as the file computes what Keras does.
"""

import argparse
import functools
import hashlib
import json
import re
import string
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# Where a file holds what it says about itself.
METADATA = "keras_compression_zoo"
CACHE, CONTEXT = ("keys", "values"), ("context_keys", "context_values", "source_mask")
UNKNOWN = 1  # the id of every token that is not in a vocabulary


class Unusable(ValueError):
    """A file, a vocabulary or a text that does not go with the others; the message says which."""


class Model:
    """A .tflite file that makes texts.

    Args:
        path: of the file.
        threads: that LiteRT may use.

    Raises:
        Unusable: it is no TFLite file, or none that makes texts.
    """

    def __init__(self, path: Path, threads: int = 1):
        from ai_edge_litert.interpreter import Interpreter

        if not path.is_file():
            raise Unusable(f"{path}: expected a .tflite file, found none")
        try:
            self._interpreter = Interpreter(str(path), num_threads=threads)
        except ValueError as error:
            raise Unusable(f"{path}: expected a .tflite file: {error}") from None
        names = self._interpreter.get_signature_list()
        if "decode_step" not in names:
            raise Unusable(f"{path}: expected a file with the signature decode_step, this one has {', '.join(names)}")
        self.signatures = {name: self._interpreter.get_signature_runner(name) for name in names}
        step = self.signatures["decode_step"]
        shapes = {name: tuple(each["shape"]) for name, each in step.get_input_details().items()}
        self.empty = {name: np.zeros(shapes[name], np.float32) for name in CACHE}
        self.translates = "encode" in names
        self.source_length = (
            int(self.signatures["encode"].get_input_details()["source"]["shape"][1]) if self.translates else 0
        )
        self.length = int(shapes["keys"][3])
        self.vocabulary_size = int(step.get_output_details()["logits"]["shape"][-1])

    def encode(self, ids: Sequence[int]) -> dict[str, np.ndarray]:
        """Return what every step attends to, made of the ids of a source, at most `source_length`."""
        if len(ids) > self.source_length:
            raise Unusable(f"expected a text of at most {self.source_length} tokens, received {len(ids)}")
        source = np.zeros((1, self.source_length), np.int32)
        source[0, : len(ids)] = ids
        return self.signatures["encode"](source=source)

    def step(
        self, token: int, position: int, cache: dict[str, np.ndarray], context: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the logits of the token after this one, (vocabulary,), and the cache with it."""
        made = self.signatures["decode_step"](
            token=np.array([token], np.int32), position=np.array(position, np.int32), **cache, **context
        )
        return made["logits"][0], {name: made[name] for name in CACHE}


def translate(
    model: Model,
    source: Sequence[int],
    *,
    begin: int,
    end: int,
    beams: int = 4,
    length_penalty: float = 0.6,
    length: int | None = None,
) -> list[int]:
    """Return the ids of the best target that a beam search finds, its end included where it has one.

    Args:
        model: that has `encode`.
        source: ids.
        begin: the token before a target.
        end: the token that ends one.
        beams: beginnings that are gone on with; 1 takes the most probable token each time.
        length_penalty: alpha of ((5 + length) / 6) ** alpha, which log-probabilities are divided by (Wu et al., 2016).
        length: most tokens of a target; default and at most, what the file has room for.
    """
    context, length = model.encode(source), min(length or model.length, model.length)
    alive, done = [(np.float32(0), [], model.empty)], []

    def penalty(tokens: int) -> float:
        return ((5 + tokens) / 6) ** length_penalty

    position = 0
    while position < length and alive:
        if done and done[0][0] >= alive[0][0] / penalty(length):  # no beginning can become better
            break
        stepped = [model.step(ids[-1] if ids else begin, position, cache, context) for _, ids, cache in alive]
        log_p = np.concatenate(
            [each[0] + log_softmax(logits) for each, (logits, _) in zip(alive, stepped, strict=True)]
        )
        position += 1
        going = []
        # Twice as many as beams: even if every beam ends, as many go on.
        for place in np.argsort(-log_p, kind="stable")[: 2 * beams]:
            parent, token = divmod(int(place), model.vocabulary_size)
            ids = [*alive[parent][1], token]
            if token == end:
                done.append((log_p[place] / penalty(position), ids))
            else:
                going.append((log_p[place], ids, stepped[parent][1]))
        done = sorted(done, key=lambda each: -each[0])[:beams]
        alive = going[:beams]
    cut = [(each[0] / penalty(position), each[1]) for each in alive[:1]]
    return max([*done[:1], *cut], key=lambda each: each[0])[1]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return log-probabilities of logits, along the last axis."""
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def go_on(model: Model, prompt: Sequence[int], length: int, choose: Callable[[np.ndarray], int]) -> Iterator[int]:
    """Yield the ids that follow a prompt.

    A model has learnt positions of one window. Where a text outgrows it, its last half is the prompt of the next.

    Args:
        model: without `encode`.
        prompt: ids, one or more.
        length: how many to yield.
        choose: from logits (vocabulary,) to an id.
    """
    text = list(prompt)
    while length > 0:
        known = text if len(text) < model.length else text[-(model.length // 2) :]
        cache = model.empty
        for position, token in enumerate(known[:-1]):
            _, cache = model.step(token, position, cache, {})
        for position in range(len(known) - 1, min(model.length, len(known) + length) - 1):
            logits, cache = model.step(text[-1], position, cache, {})
            text.append(choose(logits))
            length -= 1
            yield text[-1]


def drawing(temperature: float, seed: int) -> Callable[[np.ndarray], int]:
    """Return a function that draws an id from logits divided by a temperature; of 0, it takes the most probable."""
    if not temperature:
        return lambda logits: int(logits.argmax())
    rng = np.random.default_rng(seed)
    # The largest of logits with Gumbel noise is a draw from their softmax (Gumbel, 1954).
    return lambda logits: int((logits / temperature + rng.gumbel(size=logits.shape)).argmax())


class Vocabulary:
    """Text to ids and back, of words, characters or subwords, as `zoo.data.text.Vocabulary` has them.

    Args:
        path: of the JSON file.

    Raises:
        Unusable: there is no such file, or it is damaged.
    """

    def __init__(self, path: Path):
        try:
            content = path.read_bytes()
            found = json.loads(content)
            model, decoder = found["model"], found["decoder"] or {}
            self.ids: dict[str, int] = model["vocab"]
            self.special = {added["content"]: added["id"] for added in found["added_tokens"]}
            self.tokens = {"Fuse": "character", "ByteLevel": "subword"}.get(decoder.get("type"), "word")
            pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model.get("merges", ())]
        except OSError:
            raise Unusable(f"{path}: expected a vocabulary, found none") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unusable(f"{path}: expected a vocabulary, this file is damaged ({error!r})") from None
        self.path, self.sha256 = path, hashlib.sha256(content).hexdigest()
        self._lowercase = '"Lowercase"' in json.dumps(found["normalizer"])
        self._ranks = {tuple(pair): rank for rank, pair in enumerate(pairs)}
        self._texts = {i: token for token, i in self.ids.items()}

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, as many as it has."""
        pieces: Iterable[str] = text
        if self.tokens == "word":
            composed = unicodedata.normalize("NFC", text)
            # A character at a time: the tokenizer knows no final sigma.
            pieces = _words("".join(c.lower() for c in composed) if self._lowercase else composed)
        elif self.tokens == "subword":
            pieces = (part for piece in _pieces(text) for part in self._merged(piece))
        return [self.ids.get(piece, UNKNOWN) for piece in pieces]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids up to their end."""
        kept = []
        for i in map(int, ids):
            token = self._texts[i]
            if token == "[END]" and token in self.special:
                break
            if token not in ("[PAD]", "[BEGIN]") or token not in self.special:
                kept.append(token)
        if self.tokens == "word":
            return _spaced(kept)
        if self.tokens == "character":
            return "".join(kept)
        values = {character: byte for byte, character in _byte_characters().items()}
        content = [bytes([values[c] for c in token]) if token not in self.special else token.encode() for token in kept]
        return b"".join(content).decode(errors="replace")

    def _merged(self, piece: str) -> list[str]:
        """Return the subwords of a piece: its bytes, the earliest learnt pair merged first (Sennrich et al., 2016)."""
        parts = [_byte_characters()[byte] for byte in piece.encode()]
        while len(parts) > 1:
            ranks = [self._ranks.get(pair, len(self._ranks)) for pair in zip(parts, parts[1:], strict=False)]
            best = min(ranks)
            if best == len(self._ranks):
                break
            place = ranks.index(best)
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        return parts


def _words(text: str) -> Iterator[str]:
    """Yield words and single punctuation marks (the pre-tokenizer of BERT)."""
    word = ""
    for character in text:
        mark = character in string.punctuation or unicodedata.category(character)[0] == "P"
        if not mark and not _is_space(character):
            word += character
            continue
        yield from filter(None, (word, character if mark else ""))
        word = ""
    if word:
        yield word


def _spaced(words: Iterable[str]) -> str:
    """Return words and punctuation marks as a text with the usual spaces."""
    text = " ".join(words)
    text = re.sub(r" ([.,;:!?%)\]}…]+)(?= |$)", r"\1", text)
    text = re.sub(r"(?<!\S)([(\[{¿¡]) ", r"\1", text)
    text = re.sub(r"(?<=\w) (['’/-]) (?=\w)", r"\1", text)
    return re.sub(r'" (.*?) "', r'"\1"', text)


# How GPT-2 cuts texts (Radford et al., 2019), by the kind of each character: a letter, 1 number, s space, . another.
_CONTRACTION = re.compile("'(?:s|t|re|ve|m|ll|d)")
_PIECE = re.compile(r" ?a+| ?1+| ?\.+|[s ]+(?![a1.])|[s ]+")


def _pieces(text: str) -> Iterator[str]:
    kinds = "".join(map(_kind, text))
    place = 0
    while place < len(text):
        end = (_CONTRACTION.match(text, place) or _PIECE.match(kinds, place)).end()
        yield text[place:end]
        place = end


def _kind(character: str) -> str:
    if character == " ":
        return " "
    category = unicodedata.category(character)[0]
    return {"L": "a", "N": "1"}.get(category, "s" if _is_space(character) else ".")


def _is_space(character: str) -> bool:
    return character.isspace() and character not in "\x1c\x1d\x1e\x1f"  # which Unicode does not count as white space


@functools.cache
def _byte_characters() -> dict[int, str]:
    """Return the character that stands for each byte: itself where it can be seen, else one from 256 on."""
    seen = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {byte: chr(byte) for byte in seen} | {byte: chr(256 + i) for i, byte in enumerate(hidden)}


def noted(path: Path) -> dict[str, Any]:
    """Return what a .tflite file says about itself; nothing where its metadata were left out."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    for entry in map(model.Metadata, range(model.MetadataLength())):
        if entry.Name() == METADATA.encode():
            return json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
    return {}


def vocabularies(path: Path, model: Model) -> tuple[Vocabulary, Vocabulary]:
    """Return the vocabularies beside a file, of what it reads and of what it writes, after they were checked.

    Raises:
        Unusable: one is not there, or is not the one that the file was trained with.
    """
    about, files = noted(path), [path.with_suffix(".vocabulary.json"), path.with_suffix(".target_vocabulary.json")]
    reads = Vocabulary(files[0])
    writes = Vocabulary(files[1]) if files[1].is_file() else reads
    for vocabulary, key in ((reads, "vocabulary_sha256"), (writes, "target_vocabulary_sha256")):
        if about.get(key) and vocabulary.sha256 != about[key]:
            raise Unusable(f"{vocabulary.path}: not the vocabulary that {path.name} was trained with: another SHA-256")
    if len(writes.ids) != model.vocabulary_size:
        raise Unusable(
            f"{writes.path}: not the vocabulary that {path.name} was trained with: expected"
            f" {model.vocabulary_size} tokens, found {len(writes.ids)}"
        )
    return reads, writes


def made(path: Path, texts: Sequence[str], options: argparse.Namespace) -> Iterator[str]:
    """Yield a translation or a continuation of each text."""
    model = Model(path, options.threads)
    reads, writes = vocabularies(path, model)
    for text in texts:
        ids = reads.encode(text)
        if not ids:
            raise Unusable("TEXT: expected a text, received an empty one")
        if unknown := ids.count(UNKNOWN):
            print(f"TEXT {text[:40]!r}: {unknown} of {len(ids)} tokens are not in the vocabulary", file=sys.stderr)
        if not model.translates:
            choose = drawing(options.temperature, options.seed)
            yield reads.decode([*ids, *go_on(model, ids, options.length or model.length, choose)])
            continue
        if len(ids) > model.source_length:
            print(f"TEXT {text[:40]!r}: its {len(ids)} tokens are cut to {model.source_length}", file=sys.stderr)
        ends = {"begin": writes.special["[BEGIN]"], "end": writes.special["[END]"]}
        search = {"beams": options.beams, "length_penalty": options.length_penalty, "length": options.length}
        yield writes.decode(translate(model, ids[: model.source_length], **ends, **search))


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each text; return 2, after one sentence, for a mistake."""
    parser = argparse.ArgumentParser(description=__doc__.partition(". ")[0] + ".", allow_abbrev=False)
    parser.add_argument("file", type=Path, help="the .tflite file, its vocabulary beside it")
    parser.add_argument("texts", nargs="+", metavar="TEXT", help="to translate, or to go on with")
    parser.add_argument("--beams", type=int, default=4, help="beginnings that the search goes on with (4; 1: greedy)")
    parser.add_argument("--length-penalty", type=float, default=0.6, help="0 prefers short translations (0.6)")
    parser.add_argument("--length", type=int, help="most tokens to write (what the file has room for)")
    parser.add_argument("--temperature", type=float, default=0.0, help="of a language model: draw tokens (0: greedy)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument("--threads", type=int, default=1, help="that LiteRT may use")
    options = parser.parse_args(argv)
    for name, low in (("beams", 1), ("length", 1), ("length_penalty", 0), ("temperature", 0), ("threads", 1)):
        if (value := getattr(options, name)) is not None and not value >= low:
            parser.error(f"--{name.replace('_', '-')} {value}: expected {low} or more")
    try:
        for text in made(options.file, options.texts, options):
            print(text)
    except Unusable as error:
        print(f"generate.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
