"""C code for TFLite Micro, and what its interpreter can run."""
