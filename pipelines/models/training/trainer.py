"""What the trainings of encoders and rerankers share: seed, schedule, checkpoints, early stopping on dev queries, progress."""

import json
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal

from pipelines.errors import InputError, TryAgain
from pipelines.logs import log, progress
from pipelines.models.backends import cpu_features, has_gpu
from pipelines.models.training.checkpoints import STATE, TrainingCheckpoints
from pipelines.sigterm import defer_sigterm

Precision = Literal["auto", "fp32", "bf16"]
DEV = "dev_ndcg"
"""The measure by which the best epoch is kept: nDCG@10 over the dev queries."""
MOST_LOSSES = 200
"""Losses that a curve keeps, evenly spread over the steps."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a model learns."""

    epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    """Epochs without a better dev measure after which training ends."""
    seed: int
    threads: int = 0
    """Of torch; 0: one for each core."""
    precision: Precision = "auto"
    """auto: bf16 where this machine computes it natively, weights stay fp32."""


@dataclass
class Curve:
    """What was measured while a model learnt."""

    dev: list[tuple[float, float]] = field(default_factory=list)
    """Epoch and nDCG@10 over the dev queries; epoch 0 is the base model."""
    loss: list[tuple[int, float]] = field(default_factory=list)
    """Step and its loss."""

    @property
    def best(self) -> float:
        """The best dev measure of a trained epoch."""
        return max((value for epoch, value in self.dev if epoch > 0), default=0.0)


def check_installed() -> None:
    """Refuse to train without the library's extra.

    Raises:
        InputError: a package of the extra `train` is missing.
    """
    from pipelines.settings import install_command, missing_packages

    if missing := missing_packages("train"):
        raise InputError(f"training without {', '.join(missing)}", "the extra train", f"run `{install_command('train')}`")


def quiet() -> None:
    """Keep the libraries from writing what the step's own log says."""
    from datasets import disable_progress_bars
    from transformers.utils import logging as transformers_logging

    disable_progress_bars()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def training_arguments(arguments: Any, folder: Path, schedule: Schedule, **own: Any) -> Any:
    """The library's arguments, an instance of its class `arguments`."""
    quiet()
    on_gpu = has_gpu()
    return arguments(
        output_dir=str(folder),
        num_train_epochs=schedule.epochs,
        per_device_train_batch_size=schedule.batch_size,
        learning_rate=schedule.learning_rate,
        weight_decay=0.01,
        warmup_steps=0.1,
        max_grad_norm=1.0,
        seed=schedule.seed,
        data_seed=schedule.seed,
        bf16=_bf16(schedule.precision, on_gpu),
        use_cpu=not on_gpu,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        restore_callback_states_from_checkpoint=True,
        metric_for_best_model=f"eval_{DEV}",
        greater_is_better=True,
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to="none",
        dataloader_pin_memory=on_gpu,
        **own,
    )


def _bf16(precision: Precision, on_gpu: bool) -> bool:
    return precision == "bf16" or (precision == "auto" and (on_gpu or "avx512_bf16" in cpu_features()))


def fit(
    make_trainer: Callable[[Path, Any, list[Any]], Any],
    base: float,
    measure: Callable[[], float],
    schedule: Schedule,
    checkpoints: TrainingCheckpoints,
) -> Curve:
    """Train until the epochs are over or dev queries stop to gain; the model is left as it was in its best epoch.

    Args:
        make_trainer: gets a folder for checkpoints, the evaluator and callbacks; gives the library's trainer.
        base: nDCG@10 over the dev queries before training.
        measure: the same of the model as it is now.
        schedule: of the training.
        checkpoints: written after each epoch and on SIGTERM; a later call goes on from them.

    Raises:
        InputError: the loss is not a finite number.
        TryAgain: the process was told to stop, or there is no room for a checkpoint; what is done is kept.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import PrinterCallback

    if schedule.threads:
        torch.set_num_threads(schedule.threads)
    curve = Curve([(0.0, base)])
    with tempfile.TemporaryDirectory(prefix="ratchet-training-") as scratch, defer_sigterm() as stop_requested:
        folder = Path(scratch)
        latest = checkpoints.restore(folder)
        callbacks = _callbacks(schedule.patience, folder, checkpoints, stop_requested)
        trainer = make_trainer(folder, _evaluator(measure), callbacks)
        trainer.remove_callback(PrinterCallback)  # stdout is the step's result alone
        if latest and (ended := _ended(Path(latest), schedule.patience)):
            trainer.args.num_train_epochs = ended
        log().info("dev queries", epoch=0, ndcg10=round(base, 4))
        try:
            trainer.train(resume_from_checkpoint=latest)
        except (OSError, SafetensorError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "writ" not in str(error):  # torch's own writer says no more than that
                raise
            given = f"a checkpoint that can't be written: {str(error).partition(chr(10))[0][:200]}"
            raise TryAgain(given, "room on the disk", "free some, then run the same command again") from None
        _read_history(curve, trainer.state.log_history)
        if stop_requested():
            raise TryAgain(
                f"a step told to stop at step {trainer.state.global_step} of {trainer.state.max_steps}",
                "time for the rest",
                "run it again: what is done is kept",
            )
    return curve


def _ended(checkpoint: Path, patience: int) -> int:
    """The epoch after which a training ended that was killed before its artifact was made; 0: it had not ended."""
    state = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    passed = state["stateful_callbacks"]["EarlyStoppingCallback"]["attributes"]["early_stopping_patience_counter"]
    return int(state["epoch"]) if passed >= patience else 0


def _read_history(curve: Curve, history: list[dict[str, Any]]) -> None:
    """The trainer's history, which a checkpoint carries over, as the curve."""
    curve.dev += [(round(float(row["epoch"]), 3), float(row[f"eval_{DEV}"])) for row in history if f"eval_{DEV}" in row]
    losses = [(int(row["step"]), float(row["loss"])) for row in history if "loss" in row]
    curve.loss += losses[:: 1 + len(losses) // MOST_LOSSES]


def _evaluator(measure: Callable[[], float]) -> Any:
    from sentence_transformers.base.evaluation import BaseEvaluator

    class DevQueries(BaseEvaluator):  # type: ignore[misc]  # the library is not followed by mypy
        """nDCG@10 over the dev queries, for the library's trainer."""

        def __call__(self, model: Any, output_path: Any = None, epoch: float = -1, steps: int = -1) -> dict[str, float]:  # noqa: ARG002
            value = measure()
            log().info("dev queries", epoch=round(epoch, 2), ndcg10=round(value, 4))
            return {DEV: value}

    return DevQueries()


def _check_loss(loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise InputError(
            f"training whose loss is {loss} at step {step}",
            "a finite loss",
            "lower --learning-rate, or check the base model's weights",
        )


def _within_epoch(state: Any) -> bool:
    """Whether the epoch of the trainer's last step goes on after it."""
    return not float(state.epoch).is_integer()


def _callbacks(patience: int, folder: Path, checkpoints: TrainingCheckpoints, stop_requested: Callable[[], bool]) -> list[Any]:
    from transformers import EarlyStoppingCallback, TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]  # the library is not followed by mypy
        """Progress, a loss that must stay finite, SIGTERM, and checkpoints in the store."""

        steps: Iterator[int] = iter(())

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            self.steps = progress(count(), state.max_steps - state.global_step, "steps")
            next(self.steps)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            next(self.steps)
            if stop_requested():
                control.should_training_stop = True
                control.should_save = _within_epoch(state)  # at its end the trainer measures, then saves

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            if _within_epoch(state) and stop_requested():  # saved already; measured now, it would count as an epoch
                control.should_evaluate = control.should_save = False

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:  # noqa: ARG002
            _check_loss(float(logs.get("loss", 0.0)), state.global_step)

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            checkpoints.save(folder)

    return [Watch(), EarlyStoppingCallback(patience)]
