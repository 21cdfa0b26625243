"""Generate code for microcontrollers and phones, and check what TFLite Micro can run."""
