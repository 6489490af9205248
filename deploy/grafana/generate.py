"""Writes dashboards/*.json from what is said in Python, with the thresholds of deploy/prometheus/values.yaml.

::

    python -m deploy.grafana.generate            writes them
    python -m deploy.grafana.generate --check    exit code 1 when one of them is not what it would write
"""

import json
import sys
from pathlib import Path
from typing import Final

from deploy.grafana.board import Board
from deploy.grafana.pipeline import PIPELINE
from deploy.grafana.sdk import rendered
from deploy.grafana.session import SESSION_BOARD
from deploy.grafana.shopping import SHOPPING
from deploy.prometheus.generate import values

FOLDER: Final = Path(__file__).parent / "dashboards"
BOARDS: Final[tuple[Board, ...]] = (SHOPPING, PIPELINE, SESSION_BOARD)


def path(board: Board) -> Path:
    return FOLDER / f"{board.uid}.json"


def files() -> dict[Path, str]:
    """What is to be in each of them."""
    found = values()
    return {
        path(board): json.dumps(rendered(board, found), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        for board in BOARDS
    }


def stale() -> list[Path]:
    """Files that are missing, that say something else, or that nothing is said of."""
    texts = files()
    wrong = [file for file, text in texts.items() if not file.exists() or file.read_text() != text]
    return [*wrong, *(file for file in FOLDER.glob("*.json") if file not in texts)]


def main(arguments: list[str]) -> int:
    wrong = stale()
    if "--check" in arguments:
        for file in wrong:
            print(f"{file.name} is not what its sources say: make dashboards")  # noqa: T201
        return int(bool(wrong))
    texts = files()
    for file in wrong:
        if file in texts:
            file.write_text(texts[file])
        else:
            file.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
