"""Time series of tables: their times, their windows and their splits."""
