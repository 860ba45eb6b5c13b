from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from secondlook.config import TrainConfig
from secondlook.doubt import find_doubts, write_doubts


def test_a_wrong_label_is_among_the_first_to_be_read_again(
    tmp_path: Path, write_tiny_corpus: Callable[[Path], TrainConfig]
) -> None:
    config = write_tiny_corpus(tmp_path)
    path = config.data.annotations / "tiny.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    wrong = next(row for row in rows if row["labels"]["told_suspect"])
    wrong["labels"]["told_suspect"] = False
    wrong["evidence"] = [e for e in wrong["evidence"] if e["mode"] != "told_suspect"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    doubts = find_doubts(config)
    assert len(doubts) == 2 * len(rows)
    assert (wrong["id"], "told_suspect", False) in [(d.id, d.mode, d.label) for d in doubts[:5]]
    write_doubts(tmp_path / "d.csv", doubts[:5])
    assert (tmp_path / "d.csv").read_text().count("\n") == 6
