"""Demo page that runs exported files in the browser."""
