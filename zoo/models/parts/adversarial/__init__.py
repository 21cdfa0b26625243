"""The two networks of a GAN."""
