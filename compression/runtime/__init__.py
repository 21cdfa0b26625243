"""Run .tflite files in child processes, so that a crash of native code is one error message here."""
