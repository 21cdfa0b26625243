"""`python -m zoo.publish`: put a run with its card, files and receipts where others find it."""
