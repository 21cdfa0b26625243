"""A page that shows .tflite files side by side: what each costs, what it scores, and what is inside."""
