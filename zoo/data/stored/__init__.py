"""Examples that stay where they are stored, as encoded pictures or as bytes, and are decoded when a batch is made."""
