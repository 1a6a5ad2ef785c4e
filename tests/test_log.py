"""What is said of a phase, and when: after its first second, and in a sweep's job only while it lasts."""

import sys
import threading
import time

import pytest

from aelab import log


@pytest.fixture
def soon(monkeypatch):
    """A second is over at once."""
    real = threading.Timer
    monkeypatch.setattr(log.threading, "Timer", lambda _, *rest: real(0.01, *rest))


def test_a_phase_that_lasts_is_a_line(soon, capsys):
    with log.phase("testing"):
        time.sleep(0.1)
    assert capsys.readouterr().out == "testing …\n"


def test_without_a_stdout_there_is_no_bar(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert not log.has_bars()


def test_a_short_one_is_none(capsys):
    with log.phase("testing"):
        pass
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("terminal", "shown"), [(True, "testing …" + log.ERASED), (False, "")])
def test_in_a_job_it_goes_away_again(terminal, shown, soon, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setenv("TERM", "xterm")
    with log.quietly(bars=True), log.phase("testing"):
        time.sleep(0.1)
    assert capsys.readouterr().out == shown
