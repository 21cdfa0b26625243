"""Translate or continue texts with a .tflite file. The script runs on a device with only ai-edge-litert and numpy.

    python generate.py FILE.tflite "ein Hund läuft" --beams 4

`compression.compress` writes such files and the vocabulary next to each. Beam search and sampling follow
`zoo.generate`, one text at a time: if the file computes what the Keras model does, both produce the same text.
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

# Name of the metadata entry that describes the file.
METADATA = "keras_compression_zoo"
CACHE, CONTEXT = ("keys", "values"), ("context_keys", "context_values", "source_mask")
UNKNOWN = 1  # id of out-of-vocabulary tokens


class Unusable(ValueError):
    """A file, vocabulary or text is missing, damaged or does not match the others."""


class Model:
    """A .tflite file that generates text.

    Args:
        path: Path of the .tflite file.
        threads: Number of LiteRT threads.

    Raises:
        Unusable: The file is missing, is not a TFLite file or does not generate text.
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
        """Return the encoder's outputs for a source of at most `source_length` ids."""
        if len(ids) > self.source_length:
            raise Unusable(f"expected a text of at most {self.source_length} tokens, received {len(ids)}")
        source = np.zeros((1, self.source_length), np.int32)
        source[0, : len(ids)] = ids
        return self.signatures["encode"](source=source)

    def step(
        self, token: int, position: int, cache: dict[str, np.ndarray], context: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the logits of the next token, (vocabulary,), and the updated cache."""
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
    """Return the ids of the best translation found by beam search, including the end token if it was reached.

    Args:
        model: Translation model, with the signature `encode`.
        source: Token ids of the source text.
        begin: Id of the token that starts a target.
        end: Id of the token that ends a target.
        beams: Beam width; 1 is greedy decoding.
        length_penalty: Exponent alpha of the length normalisation ((5 + length) / 6) ** alpha, which divides
            log-probabilities (Wu et al., 2016).
        length: Maximum number of target tokens; limited to, and by default, the length of the file's cache.
    """
    context, length = model.encode(source), min(length or model.length, model.length)
    alive, done = [(np.float32(0), [], model.empty)], []

    def penalty(tokens: int) -> float:
        return ((5 + tokens) / 6) ** length_penalty

    position = 0
    while position < length and alive:
        if done and done[0][0] >= alive[0][0] / penalty(length):  # no unfinished hypothesis can still win
            break
        stepped = [model.step(ids[-1] if ids else begin, position, cache, context) for _, ids, cache in alive]
        log_p = np.concatenate(
            [each[0] + log_softmax(logits) for each, (logits, _) in zip(alive, stepped, strict=True)]
        )
        position += 1
        going = []
        # 2 * beams candidates: even if each beam proposes the end token, `beams` hypotheses remain unfinished.
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


def continue_text(
    model: Model, prompt: Sequence[int], length: int, choose: Callable[[np.ndarray], int]
) -> Iterator[int]:
    """Yield the ids that follow a prompt.

    A language model knows only the positions of one window. When the text fills it, the second half of the window
    becomes the prompt of the next one.

    Args:
        model: Language model, without the signature `encode`.
        prompt: Token ids, at least one.
        length: Number of ids to generate.
        choose: Function from logits (vocabulary,) to the id of the next token.
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


def sampler(temperature: float, seed: int) -> Callable[[np.ndarray], int]:
    """Return a function that samples an id from logits at a temperature; temperature 0 takes the most probable id."""
    if not temperature:
        return lambda logits: int(logits.argmax())
    rng = np.random.default_rng(seed)
    # Gumbel-max trick: the argmax of logits plus Gumbel noise is a sample from their softmax (Gumbel, 1954).
    return lambda logits: int((logits / temperature + rng.gumbel(size=logits.shape)).argmax())


class VocabularyFile:
    """Convert text to ids and back by words, characters or subwords, as `zoo.data.text.Vocabulary` does.

    Args:
        path: Path of the vocabulary's JSON file.

    Raises:
        Unusable: The file is missing or damaged.
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
        """Return the ids of a text."""
        pieces: Iterable[str] = text
        if self.tokens == "word":
            composed = unicodedata.normalize("NFC", text)
            # One character at a time: the tokenizer has no rule for a final sigma, `str.lower` has.
            pieces = _words("".join(c.lower() for c in composed) if self._lowercase else composed)
        elif self.tokens == "subword":
            pieces = (part for piece in _pieces(text) for part in self._merged(piece))
        return [self.ids.get(piece, UNKNOWN) for piece in pieces]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids, up to the first end token."""
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
        """Split a piece into subwords by byte-pair encoding (Sennrich et al., 2016)."""
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
    """Yield words and single punctuation marks, like BERT's pre-tokenizer."""
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
    """Join words and punctuation marks with the usual spacing."""
    text = " ".join(words)
    text = re.sub(r" ([.,;:!?%)\]}…]+)(?= |$)", r"\1", text)
    text = re.sub(r"(?<!\S)([(\[{¿¡]) ", r"\1", text)
    text = re.sub(r"(?<=\w) (['’/-]) (?=\w)", r"\1", text)
    return re.sub(r'" (.*?) "', r'"\1"', text)


# GPT-2's pre-tokenizer (Radford et al., 2019) as a pattern of character kinds: a letter, 1 number, s space, . other.
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
    return character.isspace() and character not in "\x1c\x1d\x1e\x1f"  # Unicode does not class these as white space


@functools.cache
def _byte_characters() -> dict[int, str]:
    """Map each byte to a character: printable bytes to themselves, the others to code points from 256 on."""
    seen = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {byte: chr(byte) for byte in seen} | {byte: chr(256 + i) for i, byte in enumerate(hidden)}


def metadata(path: Path) -> dict[str, Any]:
    """Return the project's metadata of a .tflite file; an empty dictionary if they were removed."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    for entry in map(model.Metadata, range(model.MetadataLength())):
        if entry.Name() == METADATA.encode():
            return json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
    return {}


def vocabularies(path: Path, model: Model) -> tuple[VocabularyFile, VocabularyFile]:
    """Load and check the source and target vocabularies next to a file.

    Raises:
        Unusable: A vocabulary is missing or is not the one that the model was trained with.
    """
    about, files = metadata(path), [path.with_suffix(".vocabulary.json"), path.with_suffix(".target_vocabulary.json")]
    reads = VocabularyFile(files[0])
    writes = VocabularyFile(files[1]) if files[1].is_file() else reads
    for vocabulary, key in ((reads, "vocabulary_sha256"), (writes, "target_vocabulary_sha256")):
        if about.get(key) and vocabulary.sha256 != about[key]:
            raise Unusable(
                f"{vocabulary.path}: not the vocabulary that {path.name} was trained with: the SHA-256 differs"
            )
    if len(writes.ids) != model.vocabulary_size:
        raise Unusable(
            f"{writes.path}: not the vocabulary that {path.name} was trained with: expected"
            f" {model.vocabulary_size} tokens, found {len(writes.ids)}"
        )
    return reads, writes


def generate(path: Path, texts: Sequence[str], options: argparse.Namespace) -> Iterator[str]:
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
            choose = sampler(options.temperature, options.seed)
            yield reads.decode([*ids, *continue_text(model, ids, options.length or model.length, choose)])
            continue
        if len(ids) > model.source_length:
            print(f"TEXT {text[:40]!r}: its {len(ids)} tokens are cut to {model.source_length}", file=sys.stderr)
        ends = {"begin": writes.special["[BEGIN]"], "end": writes.special["[END]"]}
        search = {"beams": options.beams, "length_penalty": options.length_penalty, "length": options.length}
        yield writes.decode(translate(model, ids[: model.source_length], **ends, **search))


def main(argv: Sequence[str] | None = None) -> int:
    """Print one line per text; return 2 and print a message for invalid input."""
    parser = argparse.ArgumentParser(description=__doc__.partition(". ")[0] + ".", allow_abbrev=False)
    parser.add_argument("file", type=Path, help=".tflite file, with its vocabulary in the same folder")
    parser.add_argument("texts", nargs="+", metavar="TEXT", help="text to translate or to continue")
    parser.add_argument("--beams", type=int, default=4, help="beam width for translation; 1 is greedy (default: 4)")
    parser.add_argument(
        "--length-penalty", type=float, default=0.6, help="length normalisation; 0 favours short text (default: 0.6)"
    )
    parser.add_argument("--length", type=int, help="maximum number of generated tokens (default: the file's limit)")
    parser.add_argument(
        "--temperature", type=float, default=0.0, help="sampling temperature of a language model (default: 0, greedy)"
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed for sampling (default: 0)")
    parser.add_argument("--threads", type=int, default=1, help="number of LiteRT threads (default: 1)")
    options = parser.parse_args(argv)
    for name, low in (("beams", 1), ("length", 1), ("length_penalty", 0), ("temperature", 0), ("threads", 1)):
        if (value := getattr(options, name)) is not None and not value >= low:
            parser.error(f"--{name.replace('_', '-')} {value}: expected {low} or more")
    try:
        for text in generate(options.file, options.texts, options):
            print(text)
    except Unusable as error:
        print(f"generate.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
