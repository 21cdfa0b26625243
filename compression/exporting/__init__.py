"""From a built Keras model to a .tflite file: tracing here, conversion in a child process."""
