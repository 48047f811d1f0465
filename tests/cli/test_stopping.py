"""A folder's run that is stopped: what is finished is whole, nothing else is left, and a second run goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from drawn import EXAMPLES
from nets import random_net, small_config
from paths import ROOT
from PIL import Image

from vitmatte.cli import main as cli
from vitmatte.cli import signals
from vitmatte.weights.save import save_net

COUNT = 24
ENDS = [("SIGTERM", 143, "vitmatte: terminated"), ("SIGINT", 130, "vitmatte: interrupted"), ("SIGKILL", -9, "")]

# Says when it is at work, as a command that lists no file for a while does not.
STARTED = """
import sys
from vitmatte.cli import cutout, main, video
def told(register):
    def registered(commands):
        parser = register(commands)
        run = parser.get_default("run")
        parser.set_defaults(run=lambda options: (print("started", flush=True), run(options))[1])
        return parser
    return registered
for module in (cutout, video):
    module.register = told(module.register)
sys.exit(main.program())
"""


@pytest.fixture
def folder(tmp_path):
    """Pictures, trimaps and a small model."""
    save_net(random_net(small_config()), tmp_path / "model")
    random = np.random.default_rng(0)
    for name in ("photos", "trimaps"):
        (tmp_path / name).mkdir()
    for i in range(COUNT):
        Image.fromarray(random.integers(0, 256, (90, 90, 3), dtype=np.uint8)).save(tmp_path / f"photos/{i:02}.png")
        Image.fromarray(np.full((90, 90), 128, np.uint8)).save(tmp_path / f"trimaps/{i:02}.png")
    return tmp_path


def arguments(folder: Path, *more: str) -> list[str]:
    return ["cutout", str(folder / "photos"), "--trimap", str(folder / "trimaps"), "-o", str(folder / "out"), "--alpha",
            str(folder / "alpha"), "--model", str(folder / "model"), *more]


def started(folder: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "vitmatte", *arguments(folder, *more)], cwd=ROOT, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=_heeds_interrupts)


def _heeds_interrupts() -> None:
    """A shell has what it starts in the background ignore them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def written(folder: Path) -> list[str]:
    """The files that are there, all of which must be whole; or nothing but what was being written is hidden."""
    found = [path for name in ("out", "alpha") if (folder / name).exists() for path in (folder / name).iterdir()]
    for path in found:
        if not path.name.startswith("."):
            with Image.open(path) as picture:
                picture.load()
                assert picture.size == (90, 90)
    return sorted(str(path) for path in found)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
@pytest.mark.parametrize(("name", "status", "said"), ENDS[:None if EXAMPLES else 1])
def test_a_stopped_run_goes_on(folder, capsys, name, status, said):
    number = getattr(signal, name)
    running = started(folder)
    listed = [running.stdout.readline().strip() for _ in range(3)]
    running.send_signal(number)
    rest, told = running.communicate(timeout=60)
    assert running.returncode == status, told
    listed = sorted(line for line in [*listed, *rest.split("\n")] if line)
    there = written(folder)
    if name == "SIGKILL":  # nobody can clean up then
        there = [path for path in there if not Path(path).name.startswith(".")]
        assert set(listed) <= set(there)
    else:
        # The end may come between a file and its line.
        assert set(listed) <= set(there) and len(there) - len(listed) <= 1
        assert said in told and "Traceback" not in told
        assert re.search(rf"stopped after \d+ of {COUNT} pictures; --skip-existing goes on with the rest", told)
    assert 3 <= len(there) < 2 * COUNT
    times = {path: Path(path).stat().st_mtime_ns for path in there}
    assert cli.main(arguments(folder, "--skip-existing")) == 0
    output = capsys.readouterr()
    assert f"vitmatte: {len(there) // 2} of {COUNT} pictures are done already" in output.err
    now = [path for path in written(folder) if not Path(path).name.startswith(".")]
    assert len(now) == 2 * COUNT and len(output.out.splitlines()) == 2 * (COUNT - len(there) // 2)
    kept = there if len(there) % 2 == 0 else there[:0]  # a cut-out without its matte is made again
    assert all(Path(path).stat().st_mtime_ns == times[path] for path in kept)
    assert cli.main(arguments(folder, "--skip-existing", "--device", "cpu")) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
@pytest.mark.parametrize(("command", "apart"), [("cutout", 0.0), ("one", 0.03), ("video", 0.0), ("cutout", 0.2)])
def test_many_interrupts_are_like_one(folder, command, apart):
    """Until the process is gone: while it cleans up, and while Python ends."""
    large = ["cutout", str(folder / "large.png"), "--trimap", str(folder / "guide.png"), "-o", str(folder / "cut.png")]
    clip = ["video", str(folder / "photos"), "--trimap", str(folder / "trimaps"), "-o", str(folder / "out")]
    words = {"cutout": arguments(folder), "one": [*large, "--model", str(folder / "model")],
             "video": [*clip, "--model", str(folder / "model")]}[command]
    if command == "one":
        Image.new("RGB", (1500, 1500), (200, 20, 20)).save(folder / "large.png")
        Image.new("L", (1500, 1500), 128).save(folder / "guide.png")
    running = subprocess.Popen([sys.executable, "-c", STARTED, *words], cwd=ROOT, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, preexec_fn=_heeds_interrupts)
    assert running.stdout.readline() == "started\n"
    time.sleep(0.2)
    presses = 0
    while running.poll() is None and presses < 2000:
        running.send_signal(signal.SIGINT)
        presses += 1
        time.sleep(apart or 0.002 * (presses > 3))
    told = running.communicate(timeout=60)[1]
    assert running.returncode == 130, told
    assert "Traceback" not in told and "Exception" not in told and told.endswith("vitmatte: interrupted\n")
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]
    written(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
def test_the_first_signal_raises_and_no_other(monkeypatch):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), signals.signals_raise():  # noqa: PT012
            try:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)
            finally:
                for name in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
                    os.kill(os.getpid(), name)
                    time.sleep(0.01)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        with signals.signals_raise(process_ends=True):
            pass
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
def test_cleaning_up_that_hangs_can_be_ended(tmp_path):
    """As on a disk that does not answer."""
    code = ("import os, signal, time; from vitmatte.cli import signals; signals.PATIENCE = 0.1\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "def press(): os.kill(os.getpid(), signal.SIGINT); time.sleep(0.2)\n"
            "with signals.signals_raise():\n  try: press()\n  finally: press(); press(); time.sleep(60)")
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert ended.returncode == 130 and "while cleaning up" in ended.stderr and "Traceback" not in ended.stderr


def test_trimaps_skip_what_is_there(folder, capsys):
    options = ["trimap", str(folder / "trimaps"), "-o", str(folder / "made"), "--skip-existing"]
    assert cli.main(options) == 0 and len(capsys.readouterr().out.splitlines()) == COUNT
    (folder / "made" / "07.png").unlink()
    assert cli.main(options) == 0
    output = capsys.readouterr()
    assert output.out.splitlines() == [str(folder / "made" / "07.png")]
    assert f"{COUNT - 1} of {COUNT} pictures are done already" in output.err


@pytest.mark.parametrize("end", [signals.Terminated(15), KeyboardInterrupt(), MemoryError()], ids=repr)
def test_stopped_while_a_file_is_written(folder, monkeypatch, capsys, end):
    """Half a file has been written to the disk when the end comes."""
    real, calls = Path.write_bytes, []

    def write(self, content):
        calls.append(self)
        if len(calls) == 4:
            real(self, content[:len(content) // 2])
            raise end
        return real(self, content)

    monkeypatch.setattr(Path, "write_bytes", write)
    status = cli.main(arguments(folder))
    assert status == {"Terminated": 143, "KeyboardInterrupt": 130, "MemoryError": 1}[type(end).__name__]
    names = [Path(path).name for path in written(folder)]
    assert not any(name.startswith(".") for name in names)
    assert len(names) == (2 * COUNT - 1 if isinstance(end, MemoryError) else 3)
    if isinstance(end, MemoryError):  # of one picture; the others are done
        told = capsys.readouterr().err
        assert "01.png: out of memory" in told and f"1 of {COUNT} pictures failed" in told


def test_signals_that_are_ignored_stay_so():
    """As with nohup."""
    if not hasattr(signal, "SIGHUP"):
        pytest.skip("has no such signal")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.signals_raise():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="pipes break otherwise there")
@pytest.mark.parametrize("command", ["models", "cutout"])
def test_a_reader_that_went_away_ends_it_quietly(folder, command):
    words = arguments(folder) if command == "cutout" else ["models"]
    running = subprocess.Popen([sys.executable, "-m", "vitmatte", *words], cwd=ROOT, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    running.stdout.close()
    told = running.stderr.read()
    assert running.wait(timeout=60) == 141 and told == ""
    assert all(not Path(path).name.startswith(".") for path in written(folder))


@pytest.mark.parametrize(("words", "said"), [
    (["-o", "photos"], "00.png is among the pictures given"),
    (["-o", "trimaps"], "00.png is among the pictures given"),
    (["-o", "out", "--alpha", "out"], "00.png is the name of both a cut-out and a matte"),
    (["-o", "out", "--alpha", "photos/../trimaps"], "00.png is among the pictures given"),
])
def test_results_never_take_the_place_of_what_is_given(folder, monkeypatch, capsys, words, said):
    monkeypatch.chdir(folder)
    before = {path: path.read_bytes() for path in folder.glob("*/*.png")}
    assert cli.main(["cutout", "photos", "--trimap", "trimaps", "--model", "model", *words]) == 1
    assert said in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.glob("*/*.png")} == before


def test_hidden_files_are_no_pictures(folder):
    (folder / "photos" / ".writing-abc.png").write_bytes(b"half")
    (folder / "photos" / "._00.png").write_bytes(b"a system's own")
    start = time.monotonic()
    assert cli.main(arguments(folder, "--skip-existing")) == 0
    assert len(written(folder)) == 2 * COUNT and time.monotonic() - start < 60
