"""The convolutional networks in a small size; without TensorFlow, for child processes on JAX."""

# Arguments that make them small, where a test does not depend on their size.
SMALL = {
    "resnet": {"depth": 8, "alpha": 0.5},
    "mobilenet": {"alpha": 0.125},
    "mobilenet_v2": {"alpha": 0.1},
    "mobilenet_v3": {"alpha": 0.1},
    "efficientnet_lite": {"alpha": 0.1},
    "proxyless": {"alpha": 0.1},
    "ds_cnn": {"filters": 8, "num_blocks": 2, "dropout": 0.0},
    "tc_resnet": {"alpha": 0.25, "dropout": 0.0},
    "streaming_wakeword": {"filters": (16, 16, 16, 16), "dropout": 0.0},
}
