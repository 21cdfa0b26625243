"""What autoencoders share: what they reconstruct, and the error of it."""
