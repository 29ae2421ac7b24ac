"""What got worse is said loudly, and ratios are kept only when that is asked for."""

import json

from bench import ratios


def test_a_ratio_that_got_worse_is_said_loudly_and_stored_only_on_demand(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ratios, "STORED", tmp_path / "ratios.json")
    assert ratios.compare("start", {"memory": 1.0, "time": 2.0}, store=True) == []
    before = ratios.STORED.read_text()
    assert json.loads(before) == {"start": {"memory": 1.0, "time": 2.0}}
    capsys.readouterr()
    assert ratios.compare("start", {"memory": 1.19, "time": 2.5, "new": 9.0}, store=False) == ["time"]
    said = capsys.readouterr().out
    assert "WORSE: start, time: ratio 2.500, stored 2.000" in said and "memory" not in said
    assert ratios.STORED.read_text() == before
    ratios.compare("bulk", {"sketches": 0.5}, store=True)
    assert json.loads(ratios.STORED.read_text()).keys() == {"start", "bulk"}
