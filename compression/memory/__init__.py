"""The memory that a file takes on a device: order of operators, patches, and a plan of the arena."""
