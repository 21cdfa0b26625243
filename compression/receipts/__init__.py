"""Receipts: every number measured on the exported file, and measured again by `verify`."""
