"""Answers to tables of sensors: windows and votes, against windows that are cut here and the model's own outputs."""

import json

import numpy as np
import pytest

from zoo import predict
from zoo.config.train_config import TrainConfig
from zoo.training.loop import train

pytestmark = pytest.mark.slow

WINDOW, HOP = 8, 4


def table(path, whats, seed=0):
    """Write 40 samples of each subject, of slow or fast waves."""
    rng = np.random.default_rng(seed)
    step = {"slow": 0.2, "fast": 2.0}
    values = {who: np.sin(step[what] * np.arange(40)) + 0.05 * rng.normal(size=40) for who, what in whats.items()}
    rows = [f"{value:.4f},{whats[who]},{who}" for who, own in values.items() for value in own]
    path.write_text("\n".join(["v,label,who", *rows]))
    return values


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("waves")
    table(place / "waves.csv", {f"s{i}": ("slow", "fast")[i % 2] for i in range(12)})
    config = TrainConfig(
        model="conv1d", data=place / "waves.csv", window=WINDOW, hop=HOP, columns=("v",), label_column="label",
        group_column="who", settings={"filters": (8, 8), "kernel_sizes": (5, 3)}, epochs=15, batch_size=8,
        learning_rate=1e-2, output=place / "run",
    )  # fmt: skip
    return train(config, verbose=False)


def answers(run, path, capsys):
    assert predict.main([str(run.run.path), str(path), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_each_group_of_a_table_has_a_vote_of_its_own(run, tmp_path, capsys):
    values = table(tmp_path / "new.csv", {"a": "fast", "b": "slow", "c": "fast"}, seed=5)
    rows = answers(run, tmp_path / "new.csv", capsys)
    windows, voted = rows[:-3], rows[-3:]
    names = run.run.read_config()["data"]["class_names"]
    for place, (who, own) in enumerate(values.items()):
        x = np.stack([own[i : i + WINDOW] for i in range(0, 40 - WINDOW + 1, HOP)]).astype("float32")[..., None]
        own_rows = windows[place * len(x) : (place + 1) * len(x)]
        begin = 40 * place
        assert [row["input"] for row in own_rows] == [
            f"{tmp_path / 'new.csv'} who={who}[{begin + i}:{begin + i + WINDOW}]" for i in range(0, 33, HOP)
        ]
        found = [names[i] for i in np.asarray(run.model(np.round(x, 4))).argmax(-1)]
        assert [row["label"] for row in own_rows] == found
        assert voted[place]["input"] == f"{tmp_path / 'new.csv'} who={who}, vote of 9 windows"
        assert voted[place]["label"] == max(set(found), key=found.count)
        assert voted[place]["probability"] == pytest.approx(found.count(voted[place]["label"]) / 9)
    assert [row["label"] for row in voted] == ["fast", "slow", "fast"]


def test_a_table_without_groups_has_one_vote(run, tmp_path, capsys):
    values = table(tmp_path / "with.csv", {"a": "slow"}, seed=6)
    (tmp_path / "new.csv").write_text("v\n" + "\n".join(f"{value:.4f}" for value in values["a"]))
    rows = answers(run, tmp_path / "new.csv", capsys)
    assert len(rows) == 10 and rows[0]["input"] == f"{tmp_path / 'new.csv'}[0:8]"
    assert (rows[-1]["input"], rows[-1]["label"]) == (f"{tmp_path / 'new.csv'}, vote of 9 windows", "slow")
