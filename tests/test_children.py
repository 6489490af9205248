"""Children: ended in order, by their id, and never left behind."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stream import __version__, children
from stream.children import Child, free_port, is_free, liveshop, tail
from tests.support import PATIENCE, eventually

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def python(code: str, log: Path) -> Child:
    return Child([sys.executable, "-c", code], log=log)


def gone(pid: int) -> bool:
    """Ended, or ended and not yet collected by whoever inherited it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_stop_lets_it_end_by_itself(tmp_path: Path) -> None:
    code = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); print('up', flush=True)"
    code += "; signal.pause()"
    child = python(code, tmp_path / "log")
    eventually(lambda: child.tail() == "up", what="the child runs")
    assert child.stop() == 7
    assert gone(child.pid)


def test_stop_kills_what_does_not_end(tmp_path: Path) -> None:
    child = python(STUBBORN, tmp_path / "log")
    eventually(lambda: child.tail() == "up", what="the child runs")
    assert child.stop(0.2) == -signal.SIGKILL
    assert gone(child.pid)


def test_stopping_twice_is_fine(tmp_path: Path) -> None:
    child = python("raise SystemExit(3)", tmp_path / "log")
    assert child.wait(PATIENCE) == 3
    assert child.stop() == 3
    assert child.kill() == 3


def test_output_goes_to_files_and_the_tail_shows_the_end(tmp_path: Path) -> None:
    code = "import sys; print('result'); [print(n, file=sys.stderr) for n in range(100)]"
    child = Child([sys.executable, "-c", code], log=tmp_path / "log", stdout=tmp_path / "out")
    assert child.wait(PATIENCE) == 0
    assert (tmp_path / "out").read_text() == "result\n"
    assert child.tail(2) == "98\n99"
    assert tail(tmp_path / "none") == ""


def test_ctrl_c_on_the_terminal_does_not_reach_it(tmp_path: Path) -> None:
    child = python("import time; time.sleep(60)", tmp_path / "log")
    try:
        assert os.getpgid(child.pid) == child.pid != os.getpgid(0)
    finally:
        child.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no death signal")
def test_it_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from stream.children import Child
child = Child([sys.executable, "-c", {STUBBORN!r}], log=Path({str(tmp_path / "log")!r}))
print(child.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        eventually(lambda: tail(tmp_path / "log") == "up", what="the grandchild runs")
        parent.kill()
    eventually(lambda: gone(pid), what="the grandchild is gone")


def test_a_free_port_can_be_listened_on_and_then_is_not_free() -> None:
    port = free_port()
    assert port < children._first_ephemeral()
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))
        server.listen()
        assert not is_free(port)


def test_a_child_liveshop_imports_nothing_from_the_current_folder(tmp_path: Path) -> None:
    for module in ("stream", "json", "typer", "sitecustomize", "encodings"):
        (tmp_path / f"{module}.py").write_text("open('hostile', 'w').close(); raise SystemExit(99)")
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(liveshop("version"), cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, __version__ in done.stdout) == (0, True), done.stderr
    assert not (tmp_path / "hostile").exists()
