"""Compression: from a trained Keras model to a small .tflite file, with numbers that are measured on that file.

This package imports nothing by itself. The commands check their arguments before they import Keras.
"""
