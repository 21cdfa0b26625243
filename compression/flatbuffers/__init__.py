"""Read and rewrite .tflite files as flatbuffers, without running them."""
