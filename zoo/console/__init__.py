"""What every command shares: options from dataclasses, one-sentence errors, typed values, and figures in words."""
