"""Where trained weights come from: a model file, weights of keras.applications, or a network that zoo.fetch keeps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError, unknown
from zoo.introspection.variables import named
from zoo.isolation import hdf5, models
from zoo.models.detector import Detector
from zoo.models.lraspp import LRASPP
from zoo.models.parts.listening import ListeningModel
from zoo.models.ssd import SSD
from zoo.pretrained import kept, structure
from zoo.system import temporary
from zoo.system.files import sha256

IMAGENET = "imagenet"
SUFFIXES = (".keras", ".h5")
# Side of the pictures that networks of keras.applications are built for.
SIDE = 224


@dataclass(frozen=True)
class Weights:
    """Weights for a model of the zoo.

    Args:
        arrays: Arrays by the names of `zoo.introspection.variables.named`.
        sha256: SHA-256 of the file that they come from.
        said: What was found and copied, in one sentence.
    """

    arrays: Mapping[str, np.ndarray]
    sha256: str
    said: str


@dataclass(frozen=True)
class Application:
    """The network of keras.applications whose weights fit a model of the zoo.

    Args:
        make: Function of keras.applications.
        arguments: Function from the arguments of our model to those of theirs.
        fixed: Values that arguments of our model must have.
        reversed_channels: Whether the network takes blue, green and red in this order, from 0 to 255 (less the mean).
    """

    make: Callable[..., keras.Model]
    arguments: Callable[[Mapping[str, Any]], dict[str, Any]]
    fixed: Mapping[str, Any]
    reversed_channels: bool = False


def _mobilenet_v3(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"alpha": config["alpha"], "include_preprocessing": False}


def _alpha(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"alpha": config["alpha"]}


def _application(model: keras.Model) -> Application | None:
    """Return the network of keras.applications for a model of the zoo, or None."""
    theirs, config = keras.applications, model.get_config()
    if type(model).__name__ == "MobileNetV3":
        make = theirs.MobileNetV3Small if config["size"] == "small" else theirs.MobileNetV3Large
        return Application(make, _mobilenet_v3, {})
    if type(model).__name__ == "ResNet":
        make = {50: theirs.ResNet50, 101: theirs.ResNet101, 152: theirs.ResNet152}.get(config["depth"])
        return make and Application(make, lambda config: {}, {"alpha": 1.0, "std": (1.0,)}, reversed_channels=True)
    return {
        "MobileNet": Application(theirs.MobileNet, _alpha, {"activation": "relu6", "use_bias": False}),
        "MobileNetV2": Application(theirs.MobileNetV2, _alpha, {}),
    }.get(type(model).__name__)


def weights(config: TrainConfig, model: keras.Model, shape: tuple[int, ...]) -> Weights:
    """Return the weights that a configuration names, under the names of a model.

    A model that has the convolutions of a classifier, which its method `classifier` returns, gets their weights.

    Args:
        config: Configuration with `pretrained`.
        model: Built model of the zoo for pictures.
        shape: Shape of the pictures, (height, width, channels).

    Raises:
        UsageError: There are no such weights, or they are of a network of another structure.
    """
    if not isinstance(model, Detector | LRASPP | SSD):
        return _of_network(config.model, config, model, shape)
    network = model.classifier()
    network.build((None, *shape))
    found, mine = _of_network(model.backbone, config, network, shape), named(model)
    places = {name: path for name in found.arrays for path in (name, f"encoder/{name}") if path in mine}
    arrays = {path: found.arrays[name] for name, path in places.items() if mine[path].shape == found.arrays[name].shape}
    return Weights(arrays, found.sha256, f"{found.said}; {len(arrays)} of the arrays are used here")


def _of_network(of: str, config: TrainConfig, model: keras.Model, shape: tuple[int, ...]) -> Weights:
    """Return the weights of a model of classes; see `weights`.

    Args:
        of: Name of the model.
        config: Configuration with `pretrained`.
        model: Built model.
        shape: Shape of the pictures.
    """
    name, said = config.pretrained, f"--pretrained {config.pretrained}"
    if Path(name).is_file():
        return _of_file(Path(name), config, model, shape)
    if name != IMAGENET:
        raise unknown("trained weights: --pretrained", name, [IMAGENET, *(f"a {suffix} file" for suffix in SUFFIXES)])
    if kept.has(of):
        return _of_file(kept.file(of, model), config, model, shape)
    application = _application(model)
    if application is None:
        raise UsageError(f"{said}: expected a model with published weights, {of} has none of this shape")
    _check_fixed(application, model, said)
    try:
        theirs = application.make(weights=IMAGENET, **application.arguments(model.get_config()))
    except Exception as error:  # no network, or no weights of this width
        raise UsageError(
            f"{said}: keras.applications did not give its weights: {' '.join(str(error).split())[:200]}; without a"
            " network, name a .keras or .h5 file of them"
        ) from None
    return _copied(theirs, name, "", config, model, shape, application)


def _of_file(path: Path, config: TrainConfig, model: keras.Model, shape: tuple[int, ...]) -> Weights:
    if path.suffix not in SUFFIXES:
        raise UsageError(f"--pretrained {path}: expected a file that ends in .keras or .h5")
    application = _application(model)
    if path.suffix == ".h5" and not _is_whole(path):
        if application is None:
            raise UsageError(f"--pretrained {path}: expected a whole model for {config.model}, found weights alone")
        theirs = _weights_alone(path, application, model)
    else:
        theirs, application = models.loaded(path), None
    return _copied(theirs, path, sha256(path), config, model, shape, application)


def _is_whole(path: Path) -> bool:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return "model_config" in file.attrs
    except OSError as error:
        raise UsageError(f"--pretrained {path}: expected an HDF5 file: {error}") from None


def _weights_alone(path: Path, application: Application, model: keras.Model) -> keras.Model:
    """Return the network of keras.applications with weights from a file, with or without its classes."""
    import h5py

    _check_fixed(application, model, f"--pretrained {path}")
    with h5py.File(path, "r") as file:
        if reason := hdf5.refusal(file):
            raise UsageError(f"--pretrained {path}: expected the weights of a model: {reason}")
        names = [name.decode() if isinstance(name, bytes) else name for name in file.attrs.get("layer_names", ())]
        last = [file[name] for name in names if len(file[name])][-1:] or [{}]
        classes = [array.shape[-1] for array in last[0].values() if isinstance(array, h5py.Dataset)]
    own = application.arguments(model.get_config())
    reasons = []
    for count in dict.fromkeys([*classes, 1000]):
        for top in (True, False):
            options = {"classes": count} if top else {"pooling": "avg"}
            theirs = application.make(weights=None, include_top=top, input_shape=(SIDE, SIDE, 3), **own, **options)
            try:
                theirs.load_weights(path)
                return theirs
            except Exception as error:  # Keras raises several kinds
                reasons.append(" ".join(str(error).split())[:150])
    raise UsageError(f"--pretrained {path}: expected the weights of {theirs.name}: {reasons[0]}")


def _check_fixed(application: Application, model: keras.Model, said: str) -> None:
    config = model.get_config()
    for name, value in application.fixed.items():
        if config[name] != value:
            raise UsageError(f"{said}: expected --set {name}={value}, received {config[name]}")


def _copied(
    theirs: keras.Model,
    source: object,
    digest: str,
    config: TrainConfig,
    model: keras.Model,
    shape: tuple[int, ...],
    application: Application | None,
) -> Weights:
    """Copy the weights of a network, and say which pixels it takes."""
    factor, flipped = _factor(config, model), False
    if application is not None and application.reversed_channels:
        factor, flipped = 255.0, True
    if "first_stride" not in model.get_config():
        return _copied_whole(theirs, source, digest, config, model, shape)
    if isinstance(model, ListeningModel):
        shape = model.picture_shape((None, *shape))[1:]
    size = _pictures(theirs, shape, source)
    stride = getattr(structure.units(theirs, size)[0].layer, "strides", (1,))[0]
    twin = type(model).from_config(model.get_config() | {"first_stride": stride})
    twin.build((None, *size))
    arrays, said = structure.copied(theirs, twin, size, source=source, factor=factor, flipped=flipped)
    digest = digest or _digest(arrays)
    said += f"; {_pixels(model, factor, flipped)}"
    if (own := model.stride((None, *shape))) != stride:
        said += f"; the first stride is {own} for these pictures, and {stride} there"
    return Weights(arrays, digest, said)


def _copied_whole(
    theirs: keras.Model,
    source: object,
    digest: str,
    config: TrainConfig,
    model: keras.Model,
    shape: tuple[int, ...],
) -> Weights:
    """Copy the weights of a network that takes inputs of the shape of ours as they are."""
    built = theirs.get_build_config() or {}  # a subclassed network has no input_shape
    taken = getattr(theirs, "input_shape", None) or built.get("input_shape")
    if not isinstance(taken, tuple | list) or tuple(taken[1:]) != tuple(shape):
        raise UsageError(f"--pretrained {source}: expected a network that takes inputs of shape {shape}, found {taken}")
    if config.input_range is not None:
        raise UsageError(f"--input-range: expected a model for pictures, {config.model} takes inputs as they are")
    twin = type(model).from_config(model.get_config())
    twin.build((None, *shape))
    arrays, said = structure.copied(theirs, twin, shape, source=source)
    return Weights(arrays, digest or _digest(arrays), f"{said}; inputs reach it as they are")


def _pictures(theirs: keras.Model, shape: tuple[int, ...], source: object) -> tuple[int, ...]:
    """Return the shape of the pictures that a network takes; that of ours along axes where it takes any."""
    built = theirs.get_build_config() or {}  # a subclassed network has no input_shape
    taken = getattr(theirs, "input_shape", None) or built.get("input_shape")
    if not isinstance(taken, tuple | list) or len(taken) != 4 or isinstance(taken[0], tuple | list):
        raise UsageError(f"--pretrained {source}: expected a network that takes pictures, its input is {taken}")
    size = tuple(given or wanted for given, wanted in zip(taken[1:], shape, strict=True))
    if size[-1] != shape[-1]:
        raise UsageError(
            f"--pretrained {source}: expected pictures of {size[-1]} channels, as its own, received {shape[-1]}"
        )
    return size


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    with temporary.folder() as folder:
        np.savez(folder / "weights.npz", **{name.replace("/", "|"): value for name, value in arrays.items()})
        return sha256(folder / "weights.npz")


def _factor(config: TrainConfig, model: keras.Model) -> float:
    """Return what the standardised pixels of our model are multiplied by to be those that a network takes.

    Raises:
        UsageError: A range that the mean of the model does not fit.
    """
    if config.input_range is None:
        return 1.0
    low, high = config.input_range
    if len(model.mean) > 1 or len(model.std) > 1 or abs(low + (high - low) * model.mean[0]) > 1e-5 * (high - low):
        raise UsageError(
            f"--input-range {low:g},{high:g}: expected --set mean={-low / (high - low):.8g}, so that zeros stay zeros"
            f" at the borders; the model has {', '.join(map(str, model.mean))}"
        )
    return (high - low) * model.std[0]


def _pixels(model: keras.Model, factor: float, flipped: bool) -> str:
    lows, highs = ([factor * (end - m) / s for m, s in zip(model.mean, model.std * 3, strict=False)] for end in (0, 1))
    order = ", blue first" if flipped else ""
    return f"pixels in [0, 1] reach it as {min(lows):.4g} to {max(highs):.4g}{order}"
