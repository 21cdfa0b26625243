"""Measure the robustness of a trained classifier against adversarial examples."""
