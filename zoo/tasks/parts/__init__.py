"""What tasks are made of: outputs and their scores, decoding, sampling, drawing, and the options of commands."""
