"""Explain the outputs of a trained run: attention, saliency, Grad-CAM and integrated gradients."""
