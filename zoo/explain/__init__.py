"""Explanations of a trained run's outputs: attention, saliency, Grad-CAM and integrated gradients."""
