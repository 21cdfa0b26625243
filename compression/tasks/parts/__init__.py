"""Parts of forms that more than one task needs."""
