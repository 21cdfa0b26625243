"""Readers of data, one module a kind of source: TFDS, tables, texts, captions, arrays and triples."""
