"""Killed anywhere and started again with the same command, a chain ends with the bits of one that was not.

The chain runs in processes of their own, which kill themselves at the very place that the test names.
"""

import multiprocessing
import os
import signal
import sys
from pathlib import Path
from pkgutil import resolve_name

import pytest
from tiny_chain import TINY, Chain, assert_same_run

# Chains, velocities, centring's sliding means and drawn bits: everything that a checkpoint could forget.
RANDOM = (
    "data.binarize=bernoulli",
    "model/recipe@chain.rbm.model.recipe=pcd",
    "chain.rbm.model.recipe.momentum=0.5",
    "chain.rbm.model.recipe.n_chains=7",
)
STAGES = ("rbm1", "rbm2", "finetune")  # of each, 2 epochs of 3 minibatches
server = multiprocessing.get_context("forkserver")
server.set_forkserver_preload(
    ["aelab.runs.train", "aelab.runs.chain", "aelab.models.rbm", "aelab.results.evaluation", "aelab.results.figures"]
)


def run_here(overrides: list[str], log: Path, kill: tuple[str, int] | None) -> None:
    """The command in this process, which ends by SIGKILL at the ``kill``: the n-th call of a function.

    ``os.replace:NAME`` is a file NAME on disk under its temporary name, just before it is put in its place.
    """
    from aelab.app import main

    sys.stdout = sys.stderr = log.open("a", buffering=1)
    resolve_name("aelab.results.figures").run_figures = lambda *_: {}
    if kill is not None:
        where, number = kill
        dotted, _, name = where.partition(":")
        owner, attribute = resolve_name(dotted.rpartition(".")[0]), dotted.rpartition(".")[2]
        function, calls = getattr(owner, attribute), []

        def counted(*args, **options):
            if not name or Path(args[1]).name == name:
                calls.append(args)
            if len(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **options)

        setattr(owner, attribute, counted)
    sys.argv = ["aelab", *overrides]
    main()


def chain_in(
    root: Path, name: str = "chain", kill: tuple[str, int] | None = None, extra: tuple[str, ...] = ()
) -> Chain:
    """The chain with its store in ``root``; it must end as it should, killed or not."""
    overrides = [*TINY, *RANDOM, f"chain.store={root / 'store'}", f"hydra.run.dir={root / name}", *extra]
    process = server.Process(target=run_here, args=(overrides, root / "log", kill))
    root.mkdir(exist_ok=True)
    process.start()
    process.join(300)
    assert process.exitcode == (-signal.SIGKILL if kill else 0), (root / "log").read_text()
    return Chain(root / name, None)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Chain:
    return chain_in(tmp_path_factory.mktemp("unbroken"))


@pytest.mark.parametrize(
    "where, number, folder",
    [
        ("aelab.runs.chain.run_stage", 2, "another"),
        ("aelab.models.rbm.RBM.minibatch_step", 2, "chain"),  # before there is any checkpoint
        ("aelab.models.rbm.RBM.minibatch_step", 11, "another"),
        ("aelab.models.deep_autoencoder.DeepAutoencoder.minibatch_step", 5, "chain"),
        ("os.replace:best.ckpt", 2, "chain"),
        ("os.replace:last.ckpt", 6, "chain"),
        ("aelab.results.evaluation.evaluate", 2, "chain"),
        ("os.replace:metrics.json", 3, "chain"),
        ("aelab.runs.chain.record", 1, "chain"),
    ],
)
def test_killed_it_goes_on_to_the_same_bits(unbroken, tmp_path, where, number, folder):
    chain_in(tmp_path, kill=(where, number))

    chain = chain_in(tmp_path, folder)

    for name in STAGES:
        assert_same_run(unbroken.stage(name), chain.stage(name))
    assert (chain.folder / "metrics.json").read_bytes() == (unbroken.folder / "metrics.json").read_bytes()
    assert chain.keys() == unbroken.keys()
    assert not list(tmp_path.rglob("*.part")), "what was being written was left"
    assert len([p for p in (tmp_path / "store").iterdir() if p.is_dir()]) == len(STAGES)


def test_killed_in_the_middle_of_a_file(unbroken, tmp_path):
    """Half a checkpoint under its temporary name, as a kill inside the writing itself leaves it."""
    chain_in(tmp_path, kill=("os.replace:last.ckpt", 4))
    part = next((tmp_path / "store").glob("*/.last.ckpt.part"))
    part.write_bytes(part.read_bytes()[:1000])

    chain = chain_in(tmp_path)

    assert "goes on from" in (tmp_path / "log").read_text()
    for name in STAGES:
        assert_same_run(unbroken.stage(name), chain.stage(name))


def test_a_fresh_chain_that_is_killed_keeps_the_old_stages(unbroken, tmp_path):
    chain_in(tmp_path)
    chain_in(tmp_path, kill=("aelab.models.rbm.RBM.minibatch_step", 11), extra=("chain.fresh=true",))

    assert set(chain_in(tmp_path, "found").found().values()) == {True}
    fresh = chain_in(tmp_path, extra=("chain.fresh=true",))
    assert set(fresh.found().values()) == {False}
    assert not list((tmp_path / "store").glob("*.fresh"))
    for name in STAGES:
        assert_same_run(unbroken.stage(name), fresh.stage(name))
