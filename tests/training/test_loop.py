import copy
import errno
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hpa.progress import Silent, set_reporter
from hpa.training import (
    BEST,
    LAST,
    CheckpointError,
    History,
    LoopConfig,
    MachineConfig,
    TrainingDivergedError,
    load_weights,
    make_accelerator,
    train,
)
from hpa.training.checkpoints import load_tensors, save_tensors

HERE = MachineConfig(loaders=0, checkpoint_seconds=None)
CONFIG = LoopConfig(
    epochs=4, batch_size=8, learning_rate=0.05, ema_decay=0.8, monitor="loss", mode="min", accumulate=2, clip=0.5
)


class Killed(BaseException):
    """Stands for a kill: nothing in the loop may catch it."""


def killed_at(task, call):
    """The task, dying in the given call of its loss."""
    calls = iter(range(10**9))
    loss = task.loss

    def dying(model, batch, step):
        if next(calls) == call:
            raise Killed
        return loss(model, batch, step)

    task.loss = dying
    return task


def without_times(history):
    plain = json.loads(history.model_dump_json())
    for row in plain["epochs"]:
        row.pop("seconds"), row.pop("samples_per_second")
    return plain


def assert_same_run(one, other):
    for name in (LAST, BEST):
        tensors, others = load_tensors(one / name)[0], load_tensors(other / name)[0]
        assert tensors.keys() == others.keys()
        assert all(torch.equal(tensors[key], others[key]) for key in tensors), name
    assert without_times(History.read(one)) == without_times(History.read(other))


# --- what a step computes ---------------------------------------------------------------------------------------


def test_it_does_what_a_plain_loop_does(tmp_path, toy_task, toy_model):
    config = LoopConfig(
        epochs=2, batch_size=8, learning_rate=0.05, clip=0.5, weight_decay=0.1, warmup=0.0, final_factor=1.0
    )
    task, model = toy_task(mixing=False), toy_model(dropout=0.0)
    plain = copy.deepcopy(model)
    history = train(model, task, config, tmp_path, HERE)

    decayed = [parameter for parameter in plain.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in plain.parameters() if parameter.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed}, {"params": others, "weight_decay": 0.0}], 0.05, weight_decay=0.1
    )
    losses = []
    for epoch in range(2):
        for indices in np.array_split(task.order(epoch), 3):
            batch = task.collate([task.sample(int(index), epoch) for index in indices])
            loss = nn.functional.binary_cross_entropy_with_logits(plain(batch["inputs"]), batch["targets"])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
            optimizer.step()
            losses.append(loss.item())
    assert np.concatenate(history.step_losses) == pytest.approx(losses, rel=1e-5)
    for name, value in plain.state_dict().items():
        assert torch.allclose(model.state_dict()[name], value, atol=1e-6), name


def test_accumulation_changes_nothing_but_rounding(tmp_path, toy_task, toy_model):
    curves = []
    for accumulate in (1, 3, 20):  # 20 parts of 7 samples: most parts are empty
        config = LoopConfig(epochs=2, batch_size=8, learning_rate=0.05, accumulate=accumulate)
        model = toy_model(dropout=0.0, norm=False)
        history = train(model, toy_task(mixing=False), config, tmp_path / str(accumulate), HERE)
        curves.append(np.concatenate(history.step_losses))
    assert curves[1] == pytest.approx(curves[0], rel=1e-5)
    assert curves[2] == pytest.approx(curves[0], rel=1e-5)


def test_the_average_follows_its_formula_and_is_what_is_judged(tmp_path, toy_task, toy_model):
    config = LoopConfig(epochs=2, batch_size=8, learning_rate=0.1, ema_decay=0.7)
    model = toy_model(dropout=0.0, norm=False)
    seen = []

    class Watching(toy_task):
        def loss(self, model, batch, step):
            seen.append(model[0].weight.detach().clone())
            return super().loss(model, batch, step)

        def validate(self, model, accelerator):
            self.judged = model[0].weight.detach().clone()
            return {}

    task = Watching(samples=40, mixing=False)
    train(model, task, config, tmp_path, HERE)
    seen.append(load_tensors(tmp_path / LAST)[0]["model/0.weight"])
    average = seen[0]
    for update, weight in enumerate(seen[1:], start=1):
        decay = 0.0 if update == 1 else min(0.7, 1 - update ** (-2 / 3))  # timm's: 1 - (1 + update - 1)^(-2/3)
        average = decay * average + (1 - decay) * weight
    assert torch.allclose(task.judged, average, atol=1e-6)
    assert torch.equal(model[0].weight, task.judged)
    assert not torch.allclose(task.judged, seen[-1])


def test_the_learning_rate_of_the_history_is_the_optimizers(tmp_path, toy_task, toy_model):
    config = LoopConfig(epochs=3, batch_size=8, learning_rate_factors={"4": 0.1})
    history = train(toy_model(), toy_task(), config, tmp_path, HERE)
    assert [row.learning_rate for row in history.epochs] == sorted(
        (row.learning_rate for row in history.epochs), reverse=True
    )
    groups = json.dumps(load_tensors(tmp_path / LAST)[1]["optimizer"])
    rates = {float(rate) for rate in re.findall(r'\["lr", ([^\]]+)\]', groups)}
    assert sorted(rates) == pytest.approx([0.1 * history.epochs[-1].learning_rate, history.epochs[-1].learning_rate])


def test_frozen_batch_norm_keeps_its_statistics(tmp_path, toy_task, toy_model):
    for kind, is_kept in (("frozen", True), ("train", False)):
        model = toy_model()
        before = model[1].running_mean.clone()
        train(model, toy_task(), LoopConfig(epochs=1, batch_size=8, batch_norm=kind), tmp_path / kind, HERE)
        assert torch.equal(model[1].running_mean, before) == is_kept
        assert not torch.equal(model[1].weight, torch.ones(8))  # its scale trains all the same


def test_channels_last_resumes_with_the_same_bits(tmp_path, toy_task):
    class Images(toy_task):
        def sample(self, index, epoch):
            pixels = np.random.default_rng([index, epoch]).normal(size=(3, 8, 8)).astype(np.float32)
            return {"inputs": pixels, "targets": np.float32([index % 2])}

        def validate(self, model, accelerator):
            return {}

    def build():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(), nn.Linear(180, 1))

    config = LoopConfig(epochs=2, batch_size=4, channels_last=True)
    machine = HERE.model_copy(update={"checkpoint_steps": 1})
    train(build(), Images(), config, tmp_path / "whole", machine)
    with pytest.raises(Killed):
        train(build(), killed_at(Images(), 8), config, tmp_path / "killed", machine)
    model = build()
    train(model, Images(), config, tmp_path / "killed", machine)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


def test_bf16_trains_with_float32_weights_and_gives_the_model_back_unwrapped(tmp_path, toy_task, toy_model):
    dtypes = set()

    class Watching(toy_task):
        def loss(self, model, batch, step):
            handle = model[0].register_forward_hook(lambda module, inputs, output: dtypes.add(output.dtype))
            loss = super().loss(model, batch, step)
            handle.remove()
            return loss

    model = toy_model()
    history = train(model, Watching(), LoopConfig(epochs=2, batch_size=8, precision="bf16"), tmp_path, HERE)
    assert dtypes == {torch.bfloat16}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert "forward" not in vars(model)
    assert len(history.epochs) == 2
    model = toy_model()
    train(model, toy_task(), LoopConfig(epochs=1, batch_size=8), tmp_path / "next", HERE)
    assert make_accelerator("no").mixed_precision == "no"


# --- resume -----------------------------------------------------------------------------------------------------


# Of 4 epochs with 3 steps of 2 micro-batches.
@pytest.mark.parametrize("call", [0, 1, 5, 6, 11, 12, 17, 23])
@pytest.mark.parametrize("every", [1, 2, None])
def test_a_killed_run_ends_with_the_same_bits(tmp_path, toy_task, toy_model, call, every):
    machine = HERE.model_copy(update={"checkpoint_steps": every})
    train(toy_model(), toy_task(), CONFIG, tmp_path / "whole", HERE)
    with pytest.raises(Killed):
        train(toy_model(), killed_at(toy_task(), call), CONFIG, tmp_path / "killed", machine)
    resumed = toy_model()
    train(resumed, toy_task(), CONFIG, tmp_path / "killed", machine)
    assert_same_run(tmp_path / "whole", tmp_path / "killed")
    best = toy_model()
    load_weights(tmp_path / "killed" / BEST, best)
    assert all(torch.equal(best.state_dict()[name], value) for name, value in resumed.state_dict().items())


def test_the_run_goes_on_where_it_was_and_does_not_start_again(tmp_path, toy_task, toy_model):
    seen = []

    class Watching(toy_task):
        def loss(self, model, batch, step):
            seen.append((step.epoch, step.step))
            return super().loss(model, batch, step)

    config = LoopConfig(epochs=2, batch_size=8)
    with pytest.raises(Killed):
        train(toy_model(), killed_at(Watching(), 4), config, tmp_path, HERE.model_copy(update={"checkpoint_steps": 1}))
    assert seen == [(0, 0), (0, 1), (0, 2), (1, 0)]
    seen.clear()
    train(toy_model(), Watching(), config, tmp_path, HERE)
    assert seen == [(1, 1), (1, 2)]
    seen.clear()
    history = train(toy_model(), Watching(), config, tmp_path, HERE)
    assert seen == []
    assert len(history.epochs) == 2


def test_a_clock_writes_checkpoints_too(tmp_path, toy_task, toy_model):
    machine = MachineConfig(loaders=0, checkpoint_seconds=1e-9)
    with pytest.raises(Killed):
        train(toy_model(), killed_at(toy_task(), 2), LoopConfig(epochs=1, batch_size=8), tmp_path, machine)
    state = load_tensors(tmp_path / LAST)[1]["state"]
    assert (state["epoch"], state["step"]) == (0, 2)


def test_a_kill_during_validation_repeats_no_step(tmp_path, toy_task, toy_model):
    class Dying(toy_task):
        def validate(self, model, accelerator):
            raise Killed

    class Counting(toy_task):
        calls = 0

        def loss(self, model, batch, step):
            self.calls += 1
            return super().loss(model, batch, step)

    config = LoopConfig(epochs=1, batch_size=8)
    machine = HERE.model_copy(update={"checkpoint_steps": 3})
    with pytest.raises(Killed):
        train(toy_model(), Dying(), config, tmp_path / "killed", machine)
    task = Counting()
    train(toy_model(), task, config, tmp_path / "killed", machine)
    assert task.calls == 0
    train(toy_model(), toy_task(), config, tmp_path / "whole", machine)
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


def test_worker_processes_change_nothing(tmp_path, toy_task, toy_model):
    config = CONFIG.model_copy(update={"epochs": 2})
    train(toy_model(), toy_task(), config, tmp_path / "none", HERE)
    train(toy_model(), toy_task(), config, tmp_path / "two", MachineConfig(loaders=2))
    assert_same_run(tmp_path / "none", tmp_path / "two")


def test_a_task_that_remembers_goes_on_with_its_memory(tmp_path, toy_task, toy_model):
    class Remembering(toy_task):
        def __init__(self):
            super().__init__()
            self.losses = torch.zeros(())

        def loss(self, model, batch, step):
            loss = super().loss(model, batch, step)
            self.losses += loss.detach()
            return loss * (1 + 0.1 * torch.tanh(self.losses))

        def state(self, accelerator):
            return {"losses": self.losses}

        def load_state(self, state):
            self.losses = state["losses"].clone()

    machine = HERE.model_copy(update={"checkpoint_steps": 1})
    train(toy_model(), Remembering(), CONFIG, tmp_path / "whole", machine)
    with pytest.raises(Killed):
        train(toy_model(), killed_at(Remembering(), 11), CONFIG, tmp_path / "killed", machine)
    train(toy_model(), Remembering(), CONFIG, tmp_path / "killed", machine)
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


def test_epochs_may_differ_in_length(tmp_path, toy_task, toy_model):
    class Growing(toy_task):
        def order(self, epoch):
            return np.arange(5 + 8 * epoch)

    history = train(toy_model(), Growing(), LoopConfig(epochs=3, batch_size=8), tmp_path, HERE)
    assert [len(losses) for losses in history.step_losses] == [1, 2, 3]


# --- the end of an epoch ----------------------------------------------------------------------------------------


def scripted(toy_task, values, **metrics):
    class Scripted(toy_task):
        epoch = 0

        def order(self, epoch):
            self.epoch = epoch
            return super().order(epoch)

        def validate(self, model, accelerator):
            self.weights = [*getattr(self, "weights", []), copy.deepcopy(model.state_dict())]
            return {"score": values[self.epoch], **metrics}

    return Scripted()


@pytest.mark.parametrize(
    ("values", "mode", "epochs", "best"),
    [
        ([0.1, 0.3, 0.2, 0.2, 0.9], "max", 4, 2),
        ([0.1, 0.3, 0.2, 0.2, 0.9], "min", 3, 1),
        ([0.1, 0.3, 0.2, 0.4, 0.4], "max", 5, 4),
        ([float("nan"), float("nan"), float("nan"), 0.2, 0.3], "max", 3, 1),
        ([float("nan"), float("nan"), 0.2, float("nan"), 0.3], "max", 5, 5),
    ],
)
def test_patience_and_the_best_weights(tmp_path, toy_task, toy_model, values, mode, epochs, best):
    config = LoopConfig(epochs=5, batch_size=8, monitor="score", mode=mode, patience=2)
    task, model = scripted(toy_task, values), toy_model()
    history = train(model, task, config, tmp_path, HERE)
    assert len(history.epochs) == epochs
    assert history.best.epoch == best
    assert history.stopped_early == (epochs < 5)
    for name, value in task.weights[best - 1].items():
        assert torch.equal(model.state_dict()[name], value)
    assert not model.training
    assert load_weights(tmp_path / BEST, model)["epoch"] == best


def test_patience_outlives_a_kill(tmp_path, toy_task, toy_model):
    config = LoopConfig(epochs=9, batch_size=8, monitor="score", patience=3)
    values = [0.5, 0.4, 0.3, 0.2, 0.1, 0.9, 0, 0, 0]
    with pytest.raises(Killed):
        train(toy_model(), killed_at(scripted(toy_task, values), 7), config, tmp_path, HERE)
    history = train(toy_model(), scripted(toy_task, values), config, tmp_path, HERE)
    assert (len(history.epochs), history.best.epoch, history.stopped_early) == (4, 1, True)


def test_without_a_monitor_the_last_epoch_is_the_best(tmp_path, toy_task, toy_model):
    history = train(toy_model(), scripted(toy_task, [3, 2, 1]), LoopConfig(epochs=3, batch_size=8), tmp_path, HERE)
    assert history.best.epoch == 3


def test_a_metric_that_is_not_there_is_named(tmp_path, toy_task, toy_model):
    config = LoopConfig(epochs=1, batch_size=8, monitor="macro_ap")
    with pytest.raises(ValueError, match=r"one of the validation's metrics \['score'\], but got 'macro_ap'"):
        train(toy_model(), scripted(toy_task, [1]), config, tmp_path, HERE)


def test_the_person_gets_a_line_per_epoch_and_progress_in_samples(tmp_path, toy_task, toy_model):
    class Listening(Silent):
        lines, bars = [], []

        def say(self, text):
            self.lines.append(text)

        def track(self, label, total, done):
            bar = [label, total, done, 0]
            self.bars.append(bar)

            class Bar:
                def __enter__(self):
                    return lambda units: bar.__setitem__(3, bar[3] + units)

                def __exit__(self, *error):
                    return None

            return Bar()

    set_reporter(Listening())
    try:
        config = LoopConfig(epochs=2, batch_size=8, monitor="score")
        train(toy_model(), scripted(toy_task, [0.25, float("nan")]), config, tmp_path, HERE)
    finally:
        set_reporter(Silent())
    assert re.match(
        r"epoch 1/2: loss \d\.\d{4}; validation score 0\.2500 \(best\); rate .* samples/s", Listening.lines[0]
    )
    assert "score undefined; rate" in Listening.lines[1]
    assert Listening.bars == [["epoch 1/2", 21, 0, 21], ["epoch 2/2", 21, 0, 21]]


# --- faults -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_with_its_place_and_keeps_the_last_good_checkpoint(
    tmp_path, toy_task, toy_model, value
):
    class Diverging(toy_task):
        def loss(self, model, batch, step):
            loss = super().loss(model, batch, step)
            return loss * value if (step.epoch, step.step) == (1, 2) else loss

    machine = HERE.model_copy(update={"checkpoint_steps": 2})
    with pytest.raises(TrainingDivergedError, match=rf"the loss is {value} in epoch 2, step 3 .*{LAST}") as caught:
        train(toy_model(), Diverging(), LoopConfig(epochs=3, batch_size=8), tmp_path, machine)
    assert isinstance(caught.value, ValueError)
    assert (caught.value.epoch, caught.value.step) == (2, 3)
    tensors, meta = load_tensors(tmp_path / LAST)
    assert (meta["state"]["epoch"], meta["state"]["step"]) == (1, 2)
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert (tmp_path / BEST).exists()


def test_weights_that_are_not_finite_are_never_kept(tmp_path, toy_task, toy_model):
    class Poisoned(toy_task):
        def loss(self, model, batch, step):
            root = (model(batch["inputs"]).sum() * 0).abs().sqrt()  # finite, with an infinite gradient
            return super().loss(model, batch, step) + (root if step.epoch == 1 and step.step == 1 else 0)

    machine = HERE.model_copy(update={"checkpoint_steps": 1})
    with pytest.raises(TrainingDivergedError, match="a weight is not finite after the update in epoch 2, step 2"):
        train(toy_model(), Poisoned(), LoopConfig(epochs=3, batch_size=8), tmp_path, machine)
    assert all(tensor.isfinite().all() for tensor in load_tensors(tmp_path / LAST)[0].values())


def test_divergence_before_any_checkpoint_says_so(tmp_path, toy_task, toy_model):
    class Diverging(toy_task):
        def loss(self, model, batch, step):
            return super().loss(model, batch, step) * float("nan")

    with pytest.raises(TrainingDivergedError, match="there is no checkpoint yet"):
        train(toy_model(), Diverging(), LoopConfig(epochs=1, batch_size=8), tmp_path, HERE)


def test_a_malicious_checkpoint_is_refused_and_not_executed(tmp_path, toy_task, toy_model):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "victim",))

    (tmp_path / LAST).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match=rf"{LAST}.*looks like a pickle"):
        train(toy_model(), toy_task(), LoopConfig(epochs=1, batch_size=8), tmp_path, HERE)
    assert not (tmp_path / "victim").exists()


def test_a_full_disk_passes_through_and_the_run_can_go_on(tmp_path, toy_task, toy_model, monkeypatch):
    from hpa.training import snapshot

    config = LoopConfig(epochs=3, batch_size=8)
    train(toy_model(), toy_task(), config, tmp_path / "whole", HERE)
    save, calls = snapshot.save_tensors, iter(range(100))

    def full_in_the_second_epoch(path, tensors, meta):
        if next(calls) == 1:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        save(path, tensors, meta)

    monkeypatch.setattr(snapshot, "save_tensors", full_in_the_second_epoch)
    with pytest.raises(OSError, match="No space left") as caught:
        train(toy_model(), toy_task(), config, tmp_path / "full", HERE)
    assert caught.value.errno == errno.ENOSPC
    assert load_tensors(tmp_path / "full" / LAST)[1]["state"]["epoch"] == 1
    train(toy_model(), toy_task(), config, tmp_path / "full", HERE)
    assert_same_run(tmp_path / "whole", tmp_path / "full")


def test_an_unwritable_folder_passes_through(tmp_path, toy_task, toy_model):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        train(toy_model(), toy_task(), LoopConfig(epochs=1), tmp_path / "file" / "run", HERE)


def test_other_settings_or_another_model_are_refused(tmp_path, toy_task, toy_model):
    config = LoopConfig(epochs=1, batch_size=8)
    train(toy_model(), toy_task(), config, tmp_path, HERE)
    before = (tmp_path / LAST).read_bytes()
    with pytest.raises(CheckpointError, match=r"other settings \(epochs: there 1, now 2; seed: there 0, now 1\)"):
        train(toy_model(), toy_task(), LoopConfig(epochs=2, batch_size=8, seed=1), tmp_path, HERE)
    with pytest.raises(CheckpointError, match=r"another model.*shape"):
        train(toy_model(width=4), toy_task(), config, tmp_path, HERE)
    assert (tmp_path / LAST).read_bytes() == before


def test_weights_alone_are_no_checkpoint_to_resume(tmp_path, toy_task, toy_model):
    config = LoopConfig(epochs=1, batch_size=8)
    train(toy_model(), toy_task(), config, tmp_path, HERE)
    (tmp_path / LAST).write_bytes((tmp_path / BEST).read_bytes())
    with pytest.raises(CheckpointError, match="it may hold weights alone"):
        train(toy_model(), toy_task(), config, tmp_path, HERE)


def test_a_damaged_state_is_refused(tmp_path, toy_task, toy_model):
    config = LoopConfig(epochs=1, batch_size=8)
    train(toy_model(), toy_task(), config, tmp_path, HERE)
    tensors, meta = load_tensors(tmp_path / LAST)
    for damage, problem in (
        ({"format": 99}, "expected a run's checkpoint of format 1, but got 99"),
        ({"state": {"epoch": "x", "surprise": 1}}, "state in it is damaged"),
        ({"optimizer": None}, "optimiser state"),
    ):
        save_tensors(tmp_path / LAST, tensors, {**meta, **damage})
        with pytest.raises(CheckpointError, match=problem):
            train(toy_model(), toy_task(), config, tmp_path, HERE)


def test_a_loss_that_is_no_scalar_is_refused(tmp_path, toy_task, toy_model):
    class PerSample(toy_task):
        def loss(self, model, batch, step):
            return model(batch["inputs"])[:, 0]

    with pytest.raises(ValueError, match=r"task.loss: expected a scalar, but got shape \(7,\)"):
        train(toy_model(), PerSample(), LoopConfig(epochs=1, batch_size=8), tmp_path, HERE)


def test_an_accelerator_of_another_precision_is_refused(tmp_path, toy_task, toy_model):
    with pytest.raises(ValueError, match="expected precision 'no' as in the configuration, but got 'bf16'"):
        train(toy_model(), toy_task(), LoopConfig(), tmp_path, HERE, make_accelerator("bf16"))


def test_an_error_of_a_sample_comes_through(tmp_path, toy_task, toy_model):
    class Broken(toy_task):
        def sample(self, index, epoch):
            raise ValueError(f"image {index} is broken")

    for loaders in (0, 1):
        with pytest.raises(ValueError, match=r"image \d+ is broken"):
            train(toy_model(), Broken(), LoopConfig(epochs=1), tmp_path, MachineConfig(loaders=loaders))
