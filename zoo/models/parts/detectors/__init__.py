"""What detectors share: an encoder that gives feature maps, and heads for boxes and scores."""
