"""Scores that several tasks share: confidence intervals, subgroups and the quality of generated samples."""
