"""The run folder: its files, checkpoints and vocabularies, and inference with a trained run."""
