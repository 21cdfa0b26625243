"""Parts of networks that draw images."""
