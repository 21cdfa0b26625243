import numpy as np
import pytest

from compression.exporting import converter, tflite
from compression.flatbuffers import flatbuffer
from tests.compression.conftest import AS_THEY_ARE, small
from zoo.console.errors import Failed
from zoo.isolation import child


def scales(path):
    """Return the scale of every activation by its tensor's name."""
    found = flatbuffer.read(path)
    return {
        t.name.decode(): float(t.quantization.scale[0])
        for t in found.subgraphs[0].tensors
        if found.buffers[t.buffer].data is None and t.quantization is not None and t.quantization.scale is not None
    }


def test_given_ranges_replace_the_calibrated_ones_and_no_other(tmp_path):
    model, interface, x = small("simplenet")
    tflite.save(model, tmp_path / "saved_model", interface, "auto")
    np.savez(tmp_path / "examples.npz", image=x)

    def converted(ranges):
        path = tmp_path / "model.tflite"
        file = {"output": path, "precision": "int8", "integer_io": True, "integer_input": True, "integer_output": True}
        job = {
            "saved_model": tmp_path / "saved_model",
            "functions": None,
            "rolled_out": False,
            "calibration": tmp_path / "examples.npz",
            "batch": 1,
            "allow_flex": False,
            "ranges": ranges,
            "files": [{**file, "skip": [], "per_tensor": False, **AS_THEY_ARE}],
        }
        child.run("compression.exporting.converter", job, seconds=200)
        return scales(path)

    before = converted({})
    name = next(name for name in before if "hidden" in name or "Relu" in name)
    after = converted({name.split(";")[0]: (0.0, 51.0)})
    assert after.pop(name) == pytest.approx(51 / 255) != before.pop(name)
    assert after == before


def test_a_tensorflow_without_the_calibrator_that_is_replaced_is_one_sentence(monkeypatch):
    from tensorflow.lite.python.optimize import calibrator

    monkeypatch.delattr(calibrator.Calibrator, "calibrate")
    with converter._given_ranges({}, False, list):  # nothing to replace
        pass
    with (
        pytest.raises(Failed, match=r"TensorFlow 2\.21.* has no .*Calibrator\.calibrate.*expected TensorFlow 2\.21"),
        converter._given_ranges({"hidden": (0.0, 1.0)}, False, list),
    ):
        pass
    monkeypatch.delattr(calibrator, "Calibrator")
    with pytest.raises(Failed, match="has no"), converter._given_ranges({}, True, list):
        pass
