"""Compression: from a trained Keras model to a small .tflite file whose every number is measured on that file.

Importing this package imports nothing; the commands check their arguments before they import Keras.
"""
