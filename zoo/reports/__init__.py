"""Reports and pictures: report.html, mosaics, model cards and the table of pretrained runs."""
