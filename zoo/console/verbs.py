"""Every command by a short name, its verb. Standard library only."""

# By purpose: the module that `python -m` runs, a file or a package with __main__.py, and what it does.
PURPOSES: dict[str, dict[str, tuple[str, str]]] = {
    "Train and use": {
        "make": ("zoo.make", "make a verified .tflite file from data with one command"),
        "run": ("zoo.pipeline", "run the commands that a file lists, and resume where they stopped"),
        "train": ("zoo.train", "train a model and write its run folder"),
        "fetch": ("zoo.fetch", "get trained weights that training can start from"),
        "evaluate": ("zoo.evaluate", "measure a run on its own data or on other data"),
        "predict": ("zoo.predict", "predict classes, numbers, boxes, masks, forecasts and more"),
        "generate": ("zoo.generate", "translate or continue texts, or draw images"),
        "sweep": ("zoo.sweep", "train a grid of settings side by side and compare them"),
        "ensemble": ("zoo.ensemble", "join several classifiers into one run"),
        "calibrate": ("zoo.calibrate", "fit the temperature of a classifier's probabilities"),
        "online": ("zoo.online", "keep training a classifier on a stream"),
    },
    "Compress": {
        "compress": ("compression.compress", "turn a run into a small .tflite file with a measured receipt"),
        "search": ("compression.search", "find the recipes whose files fit a budget"),
        "sensitivity": ("compression.sensitivity", "measure what quantizing each layer costs"),
        "recipe-words": ("compression", "list the words of a recipe and their arguments"),
    },
    "Prove": {
        "verify": ("compression.verify", "measure a .tflite file again and compare it with its receipt"),
        "attack": ("zoo.attack", "measure the accuracy of a run on adversarial examples"),
        "attack-file": ("compression.attack", "measure .tflite files on the same adversarial examples"),
        "card": ("zoo.card", "fill in a model card from what was measured"),
    },
    "Deploy": {
        "publish": (
            "zoo.publish",
            "put a run with its card and files on Hugging Face, Kaggle or in a folder",
        ),
        "export": ("compression.export", "write a SavedModel or an ONNX file, checked against Keras"),
        "to-c": ("compression.to_c", "write a .tflite file as a C array for microcontrollers"),
        "snippets": (
            "compression.snippets",
            "write code that runs a .tflite file on Android, iOS or a microcontroller",
        ),
        "demo": ("zoo.demo", "serve a page that runs .tflite files in the browser"),
    },
    "Scale": {
        "strategies": ("strategies", "list the strategies that this machine can run"),
        "launch": ("strategies.launch", "start a cluster of processes on this machine"),
        "tpu-check": ("strategies.tpu_check", "compile a training step for TPUs without having one"),
    },
    "Look": {
        "completion": ("zoo.completion", "print a script that lets a shell complete commands and options"),
        "list": ("zoo.list", "list models, data sets, strategies, recipes and pretrained runs"),
        "augment": ("zoo.augment", "list the random changes of training images, or draw what they do"),
        "explain": ("zoo.explain", "draw attention, saliency and attributions of a run"),
        "compare": ("zoo.compare", "draw a page that compares .tflite files"),
        "profile": ("compression.profile", "show flash, arena and cycles of a .tflite file on a device"),
        "inspect": ("compression.inspect", "show what takes the bytes of a .tflite file"),
    },
}
VERBS = {verb: module for commands in PURPOSES.values() for verb, (module, _) in commands.items()}
