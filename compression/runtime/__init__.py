"""Run .tflite files in child processes, so that a crash of native code becomes one error message."""
