// Tokenization of texts with the vocabularies of zoo/data/text.py: words, characters or subwords.

const UNKNOWN = 1; // id of tokens that are not in the vocabulary
const MARK = /[\p{P}!-/:-@[-`{-~]/u; // Unicode's punctuation, and all of ASCII that is neither letter nor digit
const SPACE = /\p{White_Space}/u;
// Pre-tokenization of GPT-2 (Radford et al., 2019).
const PIECE = new RegExp(
  "'(?:s|t|re|ve|m|ll|d)| ?\\p{L}+| ?\\p{N}+| ?[^\\p{White_Space}\\p{L}\\p{N}]+" +
    "|\\p{White_Space}+(?!\\P{White_Space})|\\p{White_Space}+",
  "gu",
);

/**
 * Return the tokenizer of a vocabulary file.
 *
 * @param {Object} file JSON content of RECIPE.vocabulary.json.
 * @returns {function(string): {token: string, id: number, known: boolean}[]} Function from a text to its tokens.
 * @throws {Error} If the vocabulary was written by another library.
 */
export function cutter(file) {
  const ids = new Map(Object.entries(file.model?.vocab ?? {}));
  if (!ids.size) throw new Error("its vocabulary was written by another library");
  const kind = { Fuse: characters, ByteLevel: subwords }[file.decoder?.type] ?? words;
  const cut = kind(file);
  return (text) => cut(text).map((token) => ({ token, id: ids.get(token) ?? UNKNOWN, known: ids.has(token) }));
}

/** Return token ids truncated, or padded with 0, to a length. */
export function padded(tokens, length) {
  return Array.from({ length }, (_, i) => tokens[i]?.id ?? 0);
}

function characters() {
  return (text) => Array.from(text);
}

/** Return a tokenizer into words and single punctuation marks (pre-tokenizer of BERT). */
function words(file) {
  const lower = JSON.stringify(file.normalizer ?? null).includes('"Lowercase"');
  return (text) => {
    const found = [];
    let word = "";
    const end = () => {
      if (word) found.push(word);
      word = "";
    };
    for (const one of text.normalize("NFC")) {
      // One character at a time, because the tokenizer does not treat a final sigma specially.
      for (const character of lower ? one.toLowerCase() : one) {
        if (SPACE.test(character)) end();
        else if (MARK.test(character)) {
          end();
          found.push(character);
        } else word += character;
      }
    }
    end();
    return found;
  };
}

/** Return a byte-level BPE tokenizer, which merges the pair learnt first in each piece (Sennrich et al., 2016). */
function subwords(file) {
  const merges = file.model.merges ?? [];
  const ranks = new Map(merges.map((pair, rank) => [Array.isArray(pair) ? pair.join(" ") : pair, rank]));
  const encoder = new TextEncoder();
  return (text) => (text.match(PIECE) ?? []).flatMap((piece) => merged(encoder.encode(piece), ranks));
}

function merged(bytes, ranks) {
  const parts = Array.from(bytes, (byte) => CHARACTERS[byte]);
  while (parts.length > 1) {
    let best = Infinity;
    let place = 0;
    for (let i = 0; i + 1 < parts.length; i++) {
      const rank = ranks.get(`${parts[i]} ${parts[i + 1]}`) ?? Infinity;
      if (rank < best) [best, place] = [rank, i];
    }
    if (best === Infinity) break;
    parts.splice(place, 2, parts[place] + parts[place + 1]);
  }
  return parts;
}

// Character that represents each byte: itself if printable, otherwise one from code point 256.
const CHARACTERS = (() => {
  const seen = (byte) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let hidden = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(seen(byte) ? byte : hidden++));
})();
