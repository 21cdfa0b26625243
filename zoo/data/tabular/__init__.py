"""Tables of typed columns: numbers, texts and dates of csv, tsv, jsonl and Parquet files."""
