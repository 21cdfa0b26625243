"""Trained weights from elsewhere: where they are found, and how they are copied into models of the zoo."""
