"""Objects in pictures: annotations in the layouts of Pascal VOC, COCO and YOLO, and their boxes in a model's input."""
