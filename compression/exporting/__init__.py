"""Export a built Keras model to a .tflite file: tracing in this process, conversion in a child process."""
