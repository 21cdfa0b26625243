"""What a device needs to run a file: memory, operators, and cycles, from tools that run without the device."""
