"""Compression: from a trained run to a small TFLite file that is measured as it ships.

Reserved: nothing is exported by this version, which trains.
"""
