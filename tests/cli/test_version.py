"""``liveshop version``."""

import orjson
import pytest

from stream import __version__, cli
from stream.cli import version
from stream.core.decode import Decodeds, decode_batch
from stream.model.names import Kind


def test_it_shows_the_version_and_what_matters_beneath(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["version"])
    shown = capsys.readouterr().out
    assert shown.startswith(f"liveshop {__version__} (python 3.")
    assert "aiokafka 0.14.0" in shown
    native = not isinstance(decode_batch(Kind.VIEWS, [], 1), Decodeds)
    assert f"core {'native' if native else 'interpreted'}," in shown
    assert "state writes format 5, reads 2, 3, 4 and 5," in shown


def test_json_has_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    version.command(as_json=True)
    assert orjson.loads(capsys.readouterr().out).keys() == {"liveshop", "python", "core", "state", *version.SHOWN}


def test_what_is_not_installed_is_missing() -> None:
    assert version._version("no-such-distribution") == "missing"
