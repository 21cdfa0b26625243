"""Readers of data, one module per kind of source: TFDS, tables, texts, pairs, captions, arrays and triples."""
