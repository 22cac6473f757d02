"""Runs of several processes, and runs that the system kills: the same loop started as programs."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hpa.training import BEST, LAST, History, MachineConfig, train
from hpa.training.checkpoints import load_tensors

PROGRAM = Path(__file__).with_name("run_on_processes.py")
HERE = MachineConfig(loaders=0)


@pytest.fixture(scope="module")
def program():
    """The program as a module, for the same tasks in this process."""
    sys.path.insert(0, str(PROGRAM.parent))
    spec = importlib.util.spec_from_file_location("run_on_processes", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(PROGRAM.parent))
    sys.modules.pop("conftest")
    return module


def start(*arguments, **environment):
    plain = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    return subprocess.Popen(command, env={**plain, **environment}, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """Folder and results of the program on two processes (gloo), as torchrun would start them."""
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    running = [start("cases", folder, RANK=str(rank), LOCAL_RANK=str(rank), **shared) for rank in range(2)]
    errors = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], "\n".join(errors)
    return folder, [json.loads((folder / f"results{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("case", ["plain", "one sample a step", "accumulated", "random"])
def test_two_processes_do_what_one_does_at_the_same_global_batch(two_processes, program, tmp_path, case):
    folder, results = two_processes
    model, task, _, alone = program.CASES[case]
    history = train(program.build(*model), program.ToyTask(**task), alone, tmp_path, HERE)
    assert results[0]["processes"] == 2
    for result in results:
        curve = np.concatenate(result[case]["losses"])
        assert curve == pytest.approx(np.concatenate(history.step_losses), rel=1e-5)
    ours, theirs = load_tensors(tmp_path / LAST)[0], load_tensors(folder / case / LAST)[0]
    assert ours.keys() == theirs.keys()
    # Adam divides by the root of tiny second moments, which makes more of a rounding than the loss does.
    assert all(torch.allclose(ours[key].float(), theirs[key].float(), rtol=1e-3, atol=1e-5) for key in ours)
    rows = [[row.metrics["loss"] for row in History.read(place).epochs] for place in (tmp_path, folder / case)]
    assert rows[0] == pytest.approx(rows[1], rel=1e-4)


def test_all_processes_judge_the_same_model_batch_norms_statistics_included(two_processes):
    _, (first, second) = two_processes
    for case in ("plain", "average of batch norm"):
        assert first[case]["own"] == second[case]["own"]


def test_a_stopped_run_of_two_processes_goes_on_with_the_same_bits(two_processes):
    folder, (first, _) = two_processes
    assert first["stopped"] == 1
    for name in (LAST, BEST):
        whole, stopped = load_tensors(folder / "whole" / name)[0], load_tensors(folder / "stopped" / name)[0]
        assert all(torch.equal(whole[key], stopped[key]) for key in whole)


def test_divergence_on_one_process_stops_all_with_the_same_words(two_processes):
    _, (first, second) = two_processes
    assert first["diverged"] == second["diverged"]
    assert "the loss is nan in epoch 1, step 2" in first["diverged"]


def test_a_folder_that_is_not_shared_is_an_error_and_no_deadlock(two_processes):
    for result in two_processes[1]:
        assert "the processes found different checkpoints (epoch and step [[2, 0], [0, 0]])" in result["not shared"]


def test_inference_gathers_everything_on_every_process_in_order(two_processes):
    for result in two_processes[1]:
        assert result["infer 5"] == [40, 30, 20, 10, 0]
        assert result["infer 1"] == [0]


def test_a_run_that_kill_9_ends_in_the_middle_of_an_epoch_goes_on_with_the_same_bits(program, tmp_path):
    process = start("die", tmp_path / "killed")
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    state = load_tensors(tmp_path / "killed" / LAST)[1]["state"]
    assert (state["epoch"], state["step"]) == (1, 2)
    for name in ("killed", "whole"):
        train(program.build(0.3, True), program.ToyTask(), program.PLAIN, tmp_path / name, HERE)
    for name in (LAST, BEST):
        whole, killed = load_tensors(tmp_path / "whole" / name)[0], load_tensors(tmp_path / "killed" / name)[0]
        assert all(torch.equal(whole[key], killed[key]) for key in whole)


@pytest.mark.slow
def test_torchrun_starts_it_too(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(PROGRAM), "cases", tmp_path]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    subprocess.run(list(map(str, command)), env=environment, check=True, timeout=300)
    assert json.loads((tmp_path / "results1.json").read_text())["processes"] == 2
