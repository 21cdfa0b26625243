"""Recordings of sensors: tables and arrays of samples in time, and the windows that models take of them."""
