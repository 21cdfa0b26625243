"""Pretrained models of KerasHub, by preset: a local folder or a name on a hub. Needs the extra `hub`."""
